"""How far the runs of a folder are, read from what they write, for those who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cf.files.text import yaml_of
from cf.runs.run_folder import RunFolder
from cf.system.progress import progress

_POLL = 2.0
"""Seconds between two looks."""
_SOON, _SELDOM = 20.0, 60.0
"""Seconds between two lines where there is no terminal: of minutes, of hours."""
_TAIL = 2**16
"""Bytes at the end of a table among which its last row is."""


def steps_of(run: Path) -> tuple[int, int]:
    """Steps that a run has taken, and those that it was asked for; 0 of 0 before it begins."""
    folder = RunFolder(run)
    try:
        steps = int(yaml_of(folder.config, "run")["trainer"]["max_steps"])
        if folder.summary() is not None:
            return steps, steps
    except (OSError, ValueError, KeyError, TypeError):  # not written yet, or not by a run
        return 0, 0
    return min(_last_step(run / "metrics.csv"), steps), steps


def _last_step(table: Path) -> int:
    """The step after that of the last whole row; 0 without one."""
    try:
        with table.open("rb") as file:
            names = file.readline().decode().strip().split(",")
            begin = file.tell()
            file.seek(max(begin, table.stat().st_size - _TAIL))
            rows = file.read().decode(errors="replace").split("\n")[:-1]  # the last may be half
        return int(rows[-1].split(",")[names.index("step")]) + 1
    except (OSError, ValueError, IndexError):
        return 0


@contextmanager
def watched(folder: Path, what: str, count: int = 0) -> Iterator[None]:
    """While the block runs, show how far all runs in `folder` are together.

    Args:
        folder: whose folders are runs; they may not be there yet.
        what: they are, for the beginning of the line.
        count: runs that there will be, if it is known.
    """

    def steps() -> tuple[float, float]:
        return _together([steps_of(file.parent) for file in folder.glob("*/config.yaml")], count)

    with _watching(steps, what, _SOON):
        yield


@contextmanager
def watched_runs(runs: Sequence[Path], what: str) -> Iterator[None]:
    """While the block runs, show how far some runs are; one not begun counts as the mean of others.

    Args:
        runs: their folders, which may not be there yet.
        what: they are, for the beginning of the line.
    """

    def steps() -> tuple[float, float]:
        return _together([steps_of(run) for run in runs], len(runs))

    with _watching(steps, what, _SELDOM):
        yield


def _together(counts: Sequence[tuple[int, int]], count: int) -> tuple[float, float]:
    """Steps done, and asked for by `count` runs; one not begun counts as the mean of others."""
    begun = [total for _, total in counts if total]
    mean = sum(begun) / max(len(begun), 1)
    return sum(steps for steps, _ in counts), sum(begun) + mean * max(count - len(begun), 0)


@contextmanager
def _watching(
    counted: Callable[[], tuple[float, float]], what: str, every: float
) -> Iterator[None]:
    """Show again and again how many steps are done, and of how many, until the block has ended."""
    ended = threading.Event()

    def look() -> None:
        with progress(0, what, "steps", every=every) as bar:
            bar.initial = bar.n = counted()[0]  # what was done before tells nothing of the pace
            while True:
                last = ended.wait(_POLL)
                steps, bar.total = counted()
                bar.update(steps - bar.n)
                if last:
                    return

    watcher = threading.Thread(target=look, name="watching", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
