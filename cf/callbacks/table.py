"""A run's scalars as one csv file, a row per step, that a resumed run continues."""

import csv
import io
from argparse import Namespace
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from cf.files import write_text


class MetricsTable(Logger):
    """Writes `metrics.csv`, complete after every row.

    Lightning's own csv logger empties its file when a run is resumed.

    Attributes:
        folder: where the file is or will be.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))

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

    def forget_after(self, step: int) -> None:
        """Drop rows of steps that are about to be taken again."""
        self.rows = [row for row in self.rows if int(row["step"]) < step]

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of `step`, wherever it is; a new column is empty above."""
        row = {"step": str(step), **{k: _shortest(v) for k, v in metrics.items() if k != "epoch"}}
        at = bisect_left(self.rows, int(step or 0), key=lambda one: int(one["step"]))
        if at < len(self.rows):
            there = self.rows[at]
            self.rows[at : at + (there["step"] == row["step"])] = [
                {**there, **row} if there["step"] == row["step"] else row
            ]
            self._rewrite()
            return
        known = list(self.rows[0]) if self.rows else []
        self.rows.append(row)
        if self.path.exists() and set(row) <= set(known):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, known).writerow(row)
        else:
            self._rewrite()

    def _rewrite(self) -> None:
        columns = ["step", *sorted({name for row in self.rows for name in row} - {"step"})]
        self.rows = [{name: row.get(name, "") for name in columns} for row in self.rows]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def _shortest(value: float) -> str:
    """The fewest digits that tell a number in single precision from its neighbours."""
    return f"{float(str(np.float32(value))):.9g}"
