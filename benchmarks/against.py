"""What this tree's rollout takes against another commit's, and a late block against an early one.

    python benchmarks/against.py                                  # every case against c81b5e8
    python benchmarks/against.py --cases tiny/slow_fast/100 wide/sliding/8 --rounds 15
    python benchmarks/against.py --flat 2000                      # bounded memories, late / early
    python benchmarks/against.py --flat 10000 --memories sliding slow_fast

Each side has a process of its own with its own PYTHONPATH, one thread and the same weights; the
other commit is laid out in a temporary folder. Both are brought to the same block and then take
turns, the first of a round in turn. Ratios are of processor time within a round: median (least to
greatest). What else the machine does only adds time, so under load the ratio of each side's least
time says more.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CASES = [
    *(
        f"tiny/{name}/{at}"
        for at in (100, 400)
        for name in ("slow_fast", "sliding", "infinity_rope", "full")
    ),
    "wide/sliding/8",
]
_EARLY = 50  # blocks after which every bounded memory is full


class Case(NamedTuple):
    """A network (`against_side.SIZES`), a memory of `configs/memory`, and a block from 1."""

    size: str
    memory: str
    block: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """A case as it is written in a command."""
        size, memory, block = text.split("/")
        return cls(size, memory, int(block))


class Side:
    """A tree of the project that streams in a process of its own."""

    def __init__(self, tree: Path, case: Case) -> None:
        environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "against_side.py"), str(tree), *map(str, case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, blocks: int) -> None:
        """Begin so many blocks; 0: none, but an answer once the stream has come to its block."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{blocks}\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Seconds of the processor for a block, and what the last block is like."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a side ended without an answer; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def race(first: Side, second: Side, rounds: int, seconds: float) -> dict[str, Any]:
    """Ratios of the first side's time to the second's, one for each round."""
    sides = (first, second)
    for side in sides:
        side.ask(0)
    for side in sides:
        side.answer()
    for side in sides:  # untimed, and the length of a turn
        side.ask(2)
        taken = side.answer()["seconds"]
    blocks = max(round(seconds / taken), 1)
    ratios, mine, theirs = [], [], []
    for turn in range(rounds):
        answers = {}
        for i in (0, 1) if turn % 2 else (1, 0):
            sides[i].ask(blocks)
            answers[i] = sides[i].answer()
        mine.append(answers[0]["seconds"])
        theirs.append(answers[1]["seconds"])
        ratios.append(mine[-1] / theirs[-1])
    last = [answers[i]["last"] for i in (0, 1)]
    differs = max(abs(a - b) for a, b in zip(*last, strict=True))
    peaks = [answers[i]["rss"] for i in (0, 1)]
    return {
        "ratio": median(ratios),
        "spread": (min(ratios), max(ratios)),
        "least": min(mine) / min(theirs),
        "milliseconds": (1e3 * median(mine), 1e3 * median(theirs)),
        "blocks": blocks,
        "differs": differs,
        "mebibytes": [round(peak / 2**20) for peak in peaks],
    }


def lay_out(commit: str, folder: Path) -> Path:
    """The files of a commit, in a folder."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "cf", "configs"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def bounded() -> list[str]:
    """Every memory with a bound."""
    names = sorted(path.stem for path in (ROOT / "configs" / "memory").glob("*.yaml"))
    return [name for name in names if name != "full"]


def _shown(name: str, found: dict[str, Any]) -> str:
    low, high = found["spread"]
    mine, theirs = found["milliseconds"]
    return (
        f"| {name} | {found['ratio']:.3f} | {low:.3f} to {high:.3f} | {found['least']:.3f} "
        f"| {mine:.2f} | {theirs:.2f} "
        f"| {found['blocks']} | {found['differs']:.1e} | {found['mebibytes']} |"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(given: Sequence[str] | None = None) -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", default="c81b5e8", help="what this tree is compared with")
    parser.add_argument("--cases", nargs="+", default=CASES, help="size/memory/block")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a side in a round")
    parser.add_argument("--flat", type=int, help="the late block, compared with block 50")
    parser.add_argument("--memories", nargs="+", default=bounded(), help="for --flat")
    parser.add_argument("--size", default="tiny", help="for --flat")
    args = parser.parse_args(given)
    head = ["", "ratio", "least to greatest", "of least times", "ms", "ms of the other"]
    head += ["blocks a round", "outputs differ by", "MiB resident at most"]
    _say("| " + " | ".join(head) + " |")
    _say("|" + "---|" * len(head))
    with tempfile.TemporaryDirectory() as folder:
        pairs: list[tuple[str, tuple[Path, Case], tuple[Path, Case]]] = []
        if args.flat:
            for memory in args.memories:
                late, early = (Case(args.size, memory, at) for at in (args.flat, _EARLY))
                pairs.append((f"{memory}, {args.flat} / {_EARLY}", (ROOT, late), (ROOT, early)))
        else:
            other = lay_out(args.commit, Path(folder))
            cases = [Case.parse(text) for text in args.cases]
            pairs = [("/".join(map(str, case)), (ROOT, case), (other, case)) for case in cases]
        for name, mine, theirs in pairs:
            with ExitStack() as both:
                first, second = (both.enter_context(Side(*one)) for one in (mine, theirs))
                _say(_shown(name, race(first, second, args.rounds, args.seconds)))


if __name__ == "__main__":
    main()
