"""Gives every command inputs that cannot be right, and counts what it answers.

    python benchmarks/malformed.py              every input, in one process
    python benchmarks/malformed.py --processes  each in a process of its own, as a user gives it
    python benchmarks/malformed.py generate     those of one command
    python benchmarks/malformed.py --every 4    every fourth, from the one after --skip

Right is one message that names what is wrong, an exit status that is not 0, no traceback, and
nothing left behind.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path

from malformed_files import LISTS, VIDEOS, WEIGHTS, write
from malformed_measures import BENCHMARK, COMPARE, DEMO, EVALUATE, MEMORY_MAP, RECALL
from malformed_networks import BARE, FIT, GENERATE


@dataclass(frozen=True)
class Case:
    """A command line that cannot be right.

    Attributes:
        words: one of them must be in the message; several between bars.
        begun: the work begins before the mistake is found, so that its folder stays.
    """

    command: str
    arguments: tuple[str, ...]
    words: str
    begun: bool = False


@dataclass(frozen=True)
class Answer:
    """What a command made of it."""

    status: int | str | None
    message: str
    seconds: float
    left: tuple[str, ...]

    def faults(self, case: Case) -> list[str]:
        """What is not right about it."""
        found = []
        if self.status in (0, None):
            found.append("it succeeded")
        if "Traceback" in self.message:
            found.append("a traceback")
        if not any(word in self.message for word in case.words.split("|")):
            found.append(f"no word of {case.words!r}")
        if self.message.count(f"cf.{case.command}: ") > 1:
            found.append("more than one message")
        if self.left and not case.begun:
            found.append(f"left behind: {', '.join(self.left[:3])}")
        return found


def _of(command: str, table: str, *base: str) -> list[Case]:
    """A case a line: arguments, two spaces, words."""
    cases = []
    for line in table.strip().splitlines():
        given, _, words = line.strip().rpartition("  ")
        cases.append(Case(command, (*base, *given.strip().split(" ; ")), words.strip()))
    return cases


_TERMS = ("asked.fps=8", "asked.size=[32,32]", "contestants=smoke", "~contestants.untrained")
CASES = [
    *_of("generate", GENERATE, "checkpoint=."),
    *_of("generate", BARE),
    *_of("fit", FIT, "callbacks.samples.every_steps=1000"),
    *_of("evaluate", EVALUATE),
    *_of("benchmark", BENCHMARK, "suite=smoke"),
    *_of("recall", RECALL, "oracle=."),
    *_of("recall", "seed=1  students must be given"),
    *_of("memory_map", MEMORY_MAP),
    *_of("demo", DEMO),
    *_of("compare", COMPARE),
    *(Case("generate", (f"checkpoint={name}", "seconds=1"), name) for name in WEIGHTS),
    *(Case("evaluate", (f"videos={name}",), name, name in VIDEOS) for name in chain(VIDEOS, LISTS)),
    *(
        Case("benchmark", ("suite=vbench", f"asked.file={name}", *_TERMS), name)
        for name in LISTS
        if name != "no_path.csv"  # it has prompts, which are all that is wanted
    ),
]
"""Everything that is tried."""


def answered(case: Case, folder: Path, processes: bool = False) -> Answer:
    """What the command answers, given in `folder`."""
    before = _there(folder)
    began = time.perf_counter()
    status, message = (_started if processes else _called)(case, folder)
    seconds = time.perf_counter() - began
    return Answer(status, message, seconds, tuple(sorted(_there(folder) - before)))


def _started(case: Case, folder: Path) -> tuple[int | str | None, str]:
    command = [sys.executable, "-m", f"cf.{case.command}", *case.arguments]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.returncode, done.stderr


def _called(case: Case, folder: Path) -> tuple[int | str | None, str]:
    arguments, place = sys.argv, Path.cwd()
    sys.argv = [case.command, *case.arguments]
    os.chdir(folder)
    told = io.StringIO()
    status: int | str | None = 0
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            import_module(f"cf.{case.command}").main()
    except SystemExit as left:
        status = left.code
    except Exception as error:
        told.write(f"Traceback: {type(error).__name__}: {error}")
        status = 1
    finally:
        sys.argv = arguments
        os.chdir(place)
    return status, told.getvalue()


def _there(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*")}


def main() -> None:
    """Try everything, print what is not right, and count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*")
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0)
    given = parser.parse_args()
    chosen = [one for one in CASES if not given.commands or one.command in given.commands]
    chosen = chosen[given.skip :: given.every]
    logging.raiseExceptions = False
    warnings.simplefilter("ignore")
    tally: dict[str, int] = {"right": 0}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as place:
        write(Path(place))
        for case in chosen:
            answer = answered(case, Path(place), given.processes)
            faults = answer.faults(case)
            slowest = max(slowest, answer.seconds)
            for fault in faults:
                kind = fault.split(":")[0].split(" of ")[0]
                tally[kind] = tally.get(kind, 0) + 1
            tally["right"] += not faults
            if faults:
                line = f"cf.{case.command} {' '.join(case.arguments)}"
                told = " ".join(answer.message.split())[-300:]
                sys.stdout.write(f"{line}\n  {'; '.join(faults)}\n  {told}\n")
                sys.stdout.flush()
    sys.stdout.write(json.dumps({"cases": len(chosen), **tally, "slowest": round(slowest, 1)}))
    sys.stdout.write("\n")
    sys.exit("a traceback" in tally)


if __name__ == "__main__":
    main()
