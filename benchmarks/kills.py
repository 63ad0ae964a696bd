"""Kills commands at random moments, goes on with each, and compares what is left with a whole run.

    python benchmarks/kills.py --kills 100 --seed 0 --commands fit benchmark recall

Prints a row per command, and ends with status 1 if anything differs or is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from commands import ROOMS, STUDENT, command  # noqa: E402
from test_benchmark import FEW, SMALL  # noqa: E402
from test_fit import TINY  # noqa: E402
from test_recall import QUICK  # noqa: E402

from cf.data.shapes import draw_clips  # noqa: E402

_TIMED = ("speed/", "seconds", "frames_per_second", "cost", "peak", "real_time")
_TEMPORARY = (".cf-tmp", ".tmp", ".partial")
_ORPHANED = 5.0  # seconds after which whoever is left of a killed command is an orphan


@dataclass(frozen=True)
class Case:
    """A command: how it is started in a folder, and how it goes on there."""

    start: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    watched: str = ""  # of which the folder has one before a kill is worth it; empty: any moment


@dataclass
class Tally:
    """What came of the kills of a command."""

    kills: int = 0
    equal: int = 0
    leftovers: int = 0
    orphans: int = 0
    told: list[str] = field(default_factory=list)


def cases(work: Path) -> dict[str, Case]:
    """Every command with small settings; `work` holds its inputs."""
    clips, rooms, net = work / "clips", work / "rooms", work / "net"
    out = "hydra.run.dir={}".format
    small = [one for one in SMALL if not one.startswith("workers=")]

    def same(module: str, *settings: str) -> Case:
        def made(folder: Path) -> list[str]:
            return command(module, *settings, out(folder))

        return Case(made, made)

    def resumed(module: str, *settings: str) -> Case:
        def again(folder: Path) -> list[str]:
            if (folder / "config.yaml").is_file() or (folder / "phases.yaml").is_file():
                return command(module, f"resume={folder}")
            return command(module, *settings, out(folder))

        return Case(lambda folder: command(module, *settings, out(folder)), again)

    phase = "module.warmup_steps=2"
    phases = f"phases={{one:[{phase}],two:[{phase},'start.student.path=${{folder}}/../one']}}"
    swept = ("-m", *ROOMS, "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")

    def sweep(folder: Path) -> list[str]:
        return command("cf.fit", *swept, f"hydra.sweep.dir={folder}")

    return {
        "fit": resumed("cf.fit", *ROOMS, "trainer.max_steps=8"),
        "distil": resumed(
            "cf.fit",
            *ROOMS,
            *STUDENT,
            f"start.teacher.path={rooms}",
            f"start.student.path={rooms}",
        ),
        "phases": resumed("cf.fit", *ROOMS, phases),
        "sweep": Case(sweep, sweep),
        "benchmark": same("cf.benchmark", *small, "workers=2", *FEW, "tensorboard=false"),
        "evaluate": same(
            "cf.evaluate",
            f"videos={clips}",
            "metrics=none",
            "+metrics.a._target_=cf.metrics.flickering.TemporalFlickeringVBench",
        ),
        "recall": same("cf.recall", *QUICK, f"students={{one:'{rooms}'}}"),
        "generate": same("cf.generate", f"checkpoint={net}", "seconds=3", "samples=2"),
    }


def prepare(work: Path, names: list[str]) -> None:
    """Inputs that the commands need: clips and two small networks."""
    draw_clips(work / "clips", count=3, seconds=2.0, fps=8.0, size=(32, 32))
    if {"distil", "recall"} & set(names):
        run(command("cf.fit", *ROOMS, "trainer.max_steps=1", f"hydra.run.dir={work / 'rooms'}"))
    if "generate" in names:
        given = (*TINY, f"data.folder={work / 'clips'}", "trainer.max_steps=1")
        run(command("cf.fit", *given, f"hydra.run.dir={work / 'net'}"))


def run(given: list[str]) -> float:
    """Seconds that a command takes to its end.

    Raises:
        RuntimeError: it failed.
    """
    began = time.monotonic()
    done = subprocess.run(given, capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(given)}: {done.returncode}\n{done.stderr[-2000:]}")
    return time.monotonic() - began


def environment() -> dict[str, str]:
    """Of the commands."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def kill(given: list[str], after: float, number: int, group: bool) -> tuple[bool, int]:
    """Start a command and kill it: whether it was running still, and how many outlived it."""
    process = subprocess.Popen(
        given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(),
    )
    try:
        process.wait(after)
        return False, 0
    except subprocess.TimeoutExpired:
        pass
    (os.killpg if group else os.kill)(process.pid, number)
    process.wait()
    until = time.monotonic() + _ORPHANED
    while (left := living(process.pid)) and time.monotonic() < until:
        time.sleep(0.1)
    for one in left:
        os.kill(one, signal.SIGKILL)
    return True, len(left)


def living(group: int) -> list[int]:
    """Processes of a group that still run; those that ended and wait to be counted do not."""
    told = subprocess.run(
        ["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split() for line in told.splitlines())
    return [int(pid) for pid, of, state in rows if int(of) == group and state[0] != "Z"]


def held(folder: Path) -> dict[str, Any]:
    """What a folder holds: names, and contents as far as they may not differ."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if not file.is_file() or "events.out" in name or file.suffix == ".log":
            continue
        found[name] = content(file)
    return found


def content(file: Path) -> Any:
    """A file's content without times, places and where it was made."""
    if file.suffix == ".safetensors":
        return {k: v.numpy().tobytes() for k, v in load_file(file).items()}
    if file.suffix == ".ckpt":
        state = torch.load(file, weights_only=True, map_location="cpu")["state_dict"]
        return {k: v.numpy().tobytes() for k, v in state.items()}
    if file.name in ("metrics.csv", "per_video.csv", "per_window.csv", "recall.csv"):
        table = pd.read_csv(file)
        kept = [name for name in table if not any(one in str(name) for one in _TIMED)]
        return table[[*kept]].to_csv()
    if file.name == "row.json":
        row = json.loads(file.read_text())
        return {name: row[name] for name in ("status", "durations", "digest", "prompt", "seed")}
    if file.suffix == ".mp4":
        return file.read_bytes()
    return None  # its name alone


def differences(whole: dict[str, Any], mine: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of what differs, and of what was left behind."""
    left = [one for one in mine if any(part in one for part in _TEMPORARY)]
    names = (whole.keys() | mine.keys()) - set(left)
    return sorted(one for one in names if whole.get(one, 0) != mine.get(one, 0)), left


def attempt(case: Case, folder: Path, whole: dict[str, Any], after: float, tally: Tally) -> None:
    """One kill, the command that goes on, and the comparison."""
    drawn = random.random()
    number = signal.SIGKILL if drawn < 0.7 else signal.SIGTERM if drawn < 0.85 else signal.SIGINT
    group = random.random() < 0.4
    how = f"{number.name} of {'the group' if group else 'the parent'} after {after:.1f} s"
    running, orphans = kill(case.start(folder), after, number, group)
    tally.kills += running
    tally.orphans += orphans
    if orphans:
        tally.told.append(f"{how}: {orphans} orphans")
    try:
        run(case.again(folder))
        changed, left = differences(whole, held(folder))
    except RuntimeError as error:
        changed, left = [str(error)], []
    tally.leftovers += len(left)
    tally.equal += running and not changed
    if changed or left:
        tally.told.append(f"{how}: differs: {changed[:4]}; left: {left[:4]}")


def main() -> None:
    """Kill, go on, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", default=None)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no kill after")
    given = parser.parse_args()
    random.seed(given.seed)
    ends = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        known = cases(work)
        names = given.commands or list(known)
        prepare(work, names)
        tallies = {name: Tally() for name in names}
        wholes: dict[str, tuple[dict[str, Any], float]] = {}
        for i in range(given.kills):
            name = names[i % len(names)]
            if time.monotonic() > ends:
                break
            folder = work / "runs" / name
            if name not in wholes:
                seconds = run(known[name].start(folder))
                wholes[name] = held(folder), seconds
                shutil.rmtree(folder)
            whole, seconds = wholes[name]
            after = random.uniform(0.1, 1.0) * seconds
            attempt(known[name], folder, whole, after, tallies[name])
            shutil.rmtree(folder, ignore_errors=True)
        report(tallies)


def report(tallies: dict[str, Tally]) -> None:
    """The table; exit status 1 if anything is wrong."""
    say = sys.stdout.write
    say("| command | kills | resumed equal | leftovers | orphans |\n|---|---|---|---|---|\n")
    for name, one in tallies.items():
        say(f"| {name} | {one.kills} | {one.equal} | {one.leftovers} | {one.orphans} |\n")
    told = [f"{name}: {line}\n" for name, one in tallies.items() for line in one.told]
    say("".join(told))
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
