"""Names of checkpoints, which say after how many steps they were written."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"step=(\d{1,18})\.ckpt")


def checkpoint(folder: Path, step: int) -> Path:
    """The file of the state after so many steps."""
    return folder / f"step={step:08d}.ckpt"


def steps_in(path: Path | None) -> int:
    """Steps taken by the time of a checkpoint: step=00000100.ckpt -> 100; none: 0."""
    match = None if path is None else _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def checkpoints(folder: Path) -> list[Path]:
    """Those of a folder in the order of their steps; files of other names are somebody's own."""
    checkpoints = [path for path in folder.glob("*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(checkpoints, key=steps_in)


def outlived(there: list[Path], every: int, keep: int) -> list[Path]:
    """Those that are needed no longer: all but the newest and the last before it.

    A checkpoint between two that were due was written because the run was asked to end. It is the
    newest then, and goes as soon as a newer one is there, so that the run leaves what it would have
    left without a stop.

    Args:
        there: checkpoints, in the order of their steps.
        every: steps between two that are due.
        keep: how many are left.

    >>> [steps_in(one) for one in outlived([checkpoint(Path(), n) for n in (2, 3, 4)], 2, 2)]
    [3]
    >>> [steps_in(one) for one in outlived([checkpoint(Path(), n) for n in (2, 4, 5)], 2, 2)]
    [2]
    """
    before, kept = there[:-1], there[-1:]
    due = [path for path in before if steps_in(path) % every == 0]
    other = [path for path in before if path not in due]
    kept += [*other, *due][-(keep - 1) :] if keep > 1 else []
    return [path for path in there if path not in kept]
