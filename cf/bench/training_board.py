"""Training runs side by side in TensorBoard: curves, settings that differ, last values."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from cf.bench.differing import Differing
from cf.bench.runs import Method, Training


def write_board(
    sides: Sequence[Method], found: Differing, scalars: Sequence[str], folder: Path
) -> Path:
    """A run of TensorBoard per training, under its name; the folder is written anew."""
    root = folder / "tensorboard"
    shutil.rmtree(root, ignore_errors=True)
    numbers = {
        name: all(isinstance(one, int | float) for one in values.values())
        for name, values in found.settings.items()
    }
    for side in sides:
        for run in side.runs:
            title = side.title(run)
            described: dict[str, Any] = {"method": side.name, "seed": _seed(run)}
            for name, values in found.settings.items():
                described[name] = values[title] if numbers[name] else str(values[title])
            writer = SummaryWriter(str(root / title))
            _curves(writer, run, scalars)
            _described(writer, described, run, scalars)
            writer.close()
    return root


def _seed(run: Training) -> int:
    return -1 if run.seed is None else run.seed


def _curves(writer: SummaryWriter, run: Training, scalars: Sequence[str]) -> None:
    for scalar in scalars:
        curve = run.curve(scalar)
        for step, value in zip(curve.index.tolist(), curve.tolist(), strict=True):
            writer.add_scalar(scalar, value, step)


def _described(
    writer: SummaryWriter, described: Mapping[str, Any], run: Training, scalars: Sequence[str]
) -> None:
    """Settings and last values; TensorBoard takes the columns of its table from any one run.

    `SummaryWriter.add_hparams` would leave a column out where the run it takes lacks a value.
    """
    last = {f"last/{scalar}": run.last(scalar) for scalar in scalars}
    file = writer._get_file_writer()
    for summary in hparams(dict(described), last):
        file.add_summary(summary)
    for name, value in last.items():
        if math.isfinite(value):
            writer.add_scalar(name, value, int(run.table["step"].iloc[-1]))
