"""One bar for a long command: drawn over itself in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import os
import sys
from io import StringIO
from typing import Any, TextIO

from tqdm import tqdm

_EVERY = 20.0
"""Seconds between two lines where there is no terminal."""
_SHARE = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit}"
_BAR = f"{_SHARE} [{{elapsed}}<{{remaining}}{{postfix}}]"
_LINE = (
    "{desc}: {percentage:.0f} %, {n:.0f} of {total:.0f} {unit}, {elapsed} gone, {remaining} to go"
    "{postfix}"
)


class _Lines(tqdm):  # type: ignore[type-arg]
    """Each state on a line of its own, for a log that keeps all that was written."""

    _told: tuple[float, float | None] | None = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write the state, unless it is not known yet or nothing was done since it was written."""
        if self.total and (self.n, self.total) != self._told:
            self._told = self.n, self.total
            self.fp.write(f"{self}\n")
            self.fp.flush()

    def close(self) -> None:
        """Write how it ended."""
        if not self.disable:
            self.display()
            self.fp = StringIO()  # a bar would end its line here
        super().close()


def progress(
    total: float,
    what: str,
    unit: str,
    disable: bool = False,
    file: TextIO | None = None,
    every: float = _EVERY,
) -> tqdm[Any]:
    """How far a command is and how long it still takes, on stderr.

    Args:
        total: of units that are to be done.
        what: is done, for the beginning of the line.
        unit: in the plural.
        disable: show nothing, for where nothing is left to do.
        file: instead of stderr.
        every: seconds between two lines where `file` is no terminal.

    Returns:
        A bar of tqdm: `update(n)` moves it, and it is a context manager.
    """
    place = sys.stderr if file is None else file
    common: dict[str, Any] = {"desc": what, "unit": unit, "disable": disable, "file": place}
    if place.isatty() and os.environ.get("TERM") != "dumb":
        return tqdm(total=total, bar_format=_BAR, **common)
    return _Lines(
        total=total, bar_format=_LINE, mininterval=every, maxinterval=max(every, 1), **common
    )
