"""Kills commands at random moments, goes on with each, and compares what is left with a whole run.

    python benchmarks/kills.py --kills 100 --seed 0 --commands fit benchmark recall

Every command runs in a fork of this process, which has imported what they need, so that kills fall
into the work; what a command starts itself starts as always. A moment is drawn over the time from
the first file written to the end, or just after a file appears. What goes on may be killed again,
and may lie elsewhere by then: its folder is moved, or copied, and then the original stays.
Prints a row per command, and ends with status 1 if anything differs, is left behind, lives on or is
not told, or if a command was not killed at all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from kills_cases import Case, cases, prepare
from kills_compared import differences, held, unsteady
from warm import begin, run

from cf.system.signals import ASKED

_ORPHANED = 60.0  # seconds after which whoever is left of a killed command is an orphan
_HANGS = 300.0  # seconds in which a command ends after it was asked to, and in which one begins
_SOON = 0.4  # seconds after a file appeared
_AGAIN = 0.7  # probability that what goes on is killed as well
_ELSEWHERE = 0.3  # probability that what goes on lies in another folder
_MOST = 5  # kills of one run
_LEAST = 5  # kills of each command before the others are given time instead
_ENDS = ("go on with: ", "begins again", "is finished: ")  # one of which an asked command says


@dataclass
class Whole:
    """A run without a kill: what it leaves, the seconds of its work, and its files.

    Attributes:
        named: files that differ between two such runs, compared by name alone; None: not known.
    """

    held: dict[str, Any]
    seconds: float
    files: int
    named: set[str] | None = None


@dataclass
class Tally:
    """What came of the kills of a command."""

    kills: int = 0
    equal: int = 0
    leftovers: int = 0
    orphans: int = 0
    elsewhere: int = 0
    attempts: int = 0
    spent: float = 0.0  # seconds
    told: list[str] = field(default_factory=list)

    def turn(self) -> tuple[bool, float]:
        """The least is next: whoever was killed rarely, then whoever took little time."""
        enough = self.kills >= _LEAST or self.attempts >= 4 * _LEAST
        return enough, self.spent if enough else self.kills


def wholly(case: Case, folder: Path, work: Path) -> Whole:
    """The command without a kill."""
    shutil.rmtree(folder, ignore_errors=True)
    with begin(case.start(folder), work / "log") as running:
        running.until(lambda: files(folder) > 0, _HANGS)
        began = time.monotonic()
        status = running.ended(_HANGS)
    if status != 0:
        raise RuntimeError(f"status {status}\n{(work / 'log').read_text()[-1500:]}")
    seconds = time.monotonic() - began
    whole = Whole(held(folder), seconds, files(folder))
    shutil.rmtree(folder)
    return whole


def files(folder: Path, since: float = 0.0) -> int:
    """How many files there are now that were written or locked since some time."""
    found = 0
    for place, _, names in os.walk(folder):  # unlike rglob, goes on where a folder has gone
        for file in (Path(place, name) for name in names):
            with suppress(OSError):
                found += file.is_file() and file.stat().st_mtime >= since
    return found


def kill(case: Case, folder: Path, whole: Whole, work: Path, tally: Tally) -> bool:
    """Start or go on with a command and kill it; whether it still ran."""
    first = not folder.exists()
    drawn = random.random()
    number = signal.SIGKILL if drawn < 0.64 else ASKED[int(drawn * 100) % len(ASKED)]
    group = random.random() < 0.4
    wanted = random.randint(1, whole.files) if first and random.random() < 0.5 else 0
    waits = random.uniform(0, _SOON if wanted else whole.seconds)
    began = time.time()
    with begin((case.start if first else case.again)(folder), work / "log") as running:
        if not running.until(lambda: files(folder, began) >= max(wanted, 1), _HANGS):
            return False
        if running.ended(waits) is not None:
            return False
        count = files(folder)
        running.send(number, group)
        status = running.ended(_HANGS)
        if status == 0:  # it was done by then
            return False
        left = running.outlived(_ORPHANED)
    how = f"{number.name} of {'the group' if group else 'the parent'} at {count} files"
    tally.kills += 1
    tally.orphans += left
    tally.told += [f"{how}: {left} orphans"] * (left > 0)
    if number != signal.SIGKILL:
        said = (work / "log").read_text(errors="replace")
        at_end = status == -number and count >= whole.files and "Traceback" not in said
        wrong = "" if at_end else untold(status, number, said)
        tally.told += [f"{how}: {wrong}"] * bool(wrong)
    return True


def untold(status: int | None, number: int, said: str) -> str:
    """What is wrong with how a command that was asked to end did so; empty: nothing."""
    if status != 128 + number:
        return f"status {status}: {said[-600:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-600:]}"
    return "" if any(one in said for one in _ENDS) else f"no message: {said[-600:]}"


def attempt(case: Case, folder: Path, whole: Whole, work: Path, tally: Tally, most: int) -> None:
    """Kills of one run, the command that goes on to the end, and the comparison."""
    kills, kept, place = 0, dict[Path, str](), folder
    while kill(case, place, whole, work, tally):
        kills += 1
        if random.random() < _ELSEWHERE:
            place = elsewhere(place, kept)
            tally.elsewhere += 1
        if kills >= most or random.random() > _AGAIN:
            break
    if not kills:
        return
    try:
        run(case.again(place), work)
        mine = held(place)
        changed, left = differences(whole.held, mine, whole.named or set())
        if changed and whole.named is None:
            whole.named = unsteady(whole.held, wholly(case, work / "twice", work).held)
            say(f"two runs without a kill differ in {sorted(whole.named)}\n")
            changed, left = differences(whole.held, mine, whole.named)
    except RuntimeError as error:
        changed, left = [str(error)], []
    changed += [f"{one.name}, which was left" for one, was in kept.items() if was != whole_of(one)]
    tally.leftovers += len(left)
    tally.equal += 0 if changed else kills
    if changed or left:
        tally.told.append(f"after {kills} kills differs: {changed[:4]}; left: {left[:4]}")


def elsewhere(folder: Path, kept: dict[Path, str]) -> Path:
    """Move or copy a folder, with a note of what lies at its old place from now on."""
    place = folder.with_name(f"{folder.name}-{len(kept)}")
    if random.random() < 0.5:
        folder.rename(place)
    else:
        shutil.copytree(folder, place, symlinks=True)
    kept[folder] = whole_of(folder)
    return place


def whole_of(folder: Path) -> str:
    """The hash of all that lies in a folder."""
    made = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        made.update(f"{file.relative_to(folder)}\0".encode())
        made.update(file.read_bytes() if file.is_file() else b"")
    return made.hexdigest()


def main() -> None:
    """Kill, go on, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", default=None)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after")
    given = parser.parse_args()
    random.seed(given.seed)
    ends = time.monotonic() + 60 * given.minutes
    work = Path(tempfile.mkdtemp(prefix="kills"))
    try:
        known = cases(work)
        names = list(given.commands or known)
        prepare(work, names)
        tallies = {name: Tally() for name in names}
        wholes: dict[str, Whole] = {}
        while names and sum(one.kills for one in tallies.values()) < given.kills:
            name = min(names, key=lambda one: tallies[one].turn())
            if (began := time.monotonic()) > ends or tallies[name].attempts > 4 * given.kills:
                break
            tallies[name].attempts += 1
            folder, tally = work / "runs" / name, tallies[name]
            if name not in wholes:
                try:
                    wholes[name] = wholly(known[name], folder, work)
                except RuntimeError as error:
                    tally.told.append(f"without a kill: {error}")
                    names.remove(name)
                    continue
                say(f"{name}: {wholes[name].seconds:.1f} s of work, {wholes[name].files} files\n")
            before = tally.kills, len(tally.told)
            most = given.kills - sum(one.kills for one in tallies.values())
            attempt(known[name], folder, wholes[name], work, tally, min(most, _MOST))
            shutil.rmtree(folder.parent, ignore_errors=True)
            tally.spent += time.monotonic() - began
            say(f"{name}: {tally.kills - before[0]} kills {tally.told[before[1] :]}\n")
        report(tallies)
    finally:
        shutil.rmtree(work)


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def report(tallies: dict[str, Tally]) -> NoReturn:
    """The table; exit status 1 if anything is wrong or a command was not killed."""
    say("| command | kills | moved or copied | resumed equal | leftovers | orphans |\n")
    say("|---|---|---|---|---|---|\n")
    for name, one in tallies.items():
        counts = (one.kills, one.elsewhere, one.equal, one.leftovers, one.orphans)
        say(f"| {name} | {' | '.join(map(str, counts))} |\n")
    told = [f"{name}: {line}\n" for name, one in tallies.items() for line in one.told]
    told += [f"{name}: never killed\n" for name, one in tallies.items() if not one.kills]
    say("".join(told))
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
