"""A run's scalars as one csv file, a row per step, that a resumed run continues."""

import csv
import io
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from cf.files.atomic import replacing, sync

Row = dict[str, str]
_TAIL = 64  # last rows that late values find their place in at no cost of the whole file


class MetricsTable(Logger):
    """Writes `metrics.csv`, complete after every row, at the same cost however long it is.

    Lightning's own csv logger empties its file when a run is resumed.

    Attributes:
        path: the file.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] = []
        # The last rows, and the bytes before each: what comes late for one of them is added to it.
        self._tail: deque[tuple[int, Row]] = deque(maxlen=_TAIL)

    @property
    def name(self) -> str:
        """Of this logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """There is only one."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> "MetricsTable":
        """Itself."""
        return self

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """They are in `config.yaml`."""

    def go_on(self, step: int) -> None:
        """Keep the rows of the steps before `step`; the others are about to be written again.

        Raises:
            ValueError: if a kept row cannot be read; names its line.
        """
        self._write_all(row for row in read_rows(self.path) if int(row["step"]) < step)

    def latest(self) -> dict[str, float]:
        """The last value that each column has.

        Raises:
            ValueError: if a row cannot be read; names its line.
        """
        rows = read_rows(self.path)
        return {name: float(row[name]) for row in rows for name in row if row[name]}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of `step`, wherever it is; a new column is empty above."""
        row = {"step": str(step), **{k: _shortest(v) for k, v in metrics.items() if k != "epoch"}}
        fits = self.path.exists() and set(row) <= set(self._columns)
        if not fits or not self._tail or int(row["step"]) < int(self._tail[0][1]["step"]):
            rows = {entry["step"]: entry for entry in read_rows(self.path)}
            rows[row["step"]] = {**rows.get(row["step"], {}), **row}
            self._write_all(sorted(rows.values(), key=lambda entry: int(entry["step"])))
            return
        end, later = self.path.stat().st_size, list[Row]()
        while self._tail and int(self._tail[-1][1]["step"]) >= int(row["step"]):
            end, last = self._tail.pop()
            if last["step"] == row["step"]:
                row = {**last, **row}
            else:
                later.append(last)
        self._append(end, [row, *reversed(later)])

    @rank_zero_only
    def save(self) -> None:
        """Leave all rows on the disk, whatever befalls the machine."""
        if self.path.exists():
            sync(self.path)

    def _append(self, end: int, rows: Sequence[Row], path: Path | None = None) -> None:
        """Make these the last rows, in place of what stands behind the first `end` bytes."""
        written = [_text(self._columns, [row]).encode() for row in rows]
        with (path or self.path).open("r+b") as file:
            file.seek(end)
            file.write(b"".join(written))
            file.truncate()
        for row, text in zip(rows, written, strict=True):
            self._tail.append((end, row))
            end += len(text)

    def _write_all(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self._columns = ["step", *sorted({name for row in rows for name in row} - {"step"})]
        self._tail.clear()
        if not rows:
            self.path.unlink(missing_ok=True)
            self._columns = []
            return
        head = _text(self._columns, [dict(zip(self._columns, self._columns, strict=True))])
        split = max(len(rows) - _TAIL, 0)
        before = (head + _text(self._columns, rows[:split])).encode()
        with replacing(self.path) as temporary:
            temporary.write_bytes(before)
            self._append(len(before), rows[split:], temporary)


def read_rows(path: Path) -> list[Row]:
    """The rows of a `metrics.csv`, without a last one that was cut off; none if there is no file.

    Raises:
        ValueError: if a row cannot be read; names its line.
    """
    if not path.exists():
        return []
    text = path.read_bytes().decode(errors="replace")
    lines = text[: text.rfind("\n") + 1].splitlines()
    rows = csv.reader(lines)
    columns = next(rows, [])
    records = []
    for number, cells in enumerate(rows, 2):
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns) or not row.get("step", "").isdecimal():
            raise ValueError(
                f"{path}, line {number}: {lines[number - 1][:40]!r} is no row of {len(columns)} "
                "cells that begins with a step; mend or delete that line"
            )
        records.append(row)
    return records


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    written = io.StringIO(newline="")
    csv.DictWriter(written, columns, restval="").writerows(rows)
    return written.getvalue()


def _shortest(value: float) -> str:
    """The fewest digits that tell a number in single precision from its neighbours."""
    return f"{float(str(np.float32(value))):.9g}"
