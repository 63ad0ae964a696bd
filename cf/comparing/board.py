"""Training runs side by side in TensorBoard: curves, settings that differ, last values."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from cf.comparing.settings_diff import SettingsDifferences
from cf.comparing.trainings import Method, Training
from cf.report.hparams import write_hparams


def write_training_board(
    sides: Sequence[Method], found: SettingsDifferences, scalars: Sequence[str], folder: Path
) -> Path:
    """A run of TensorBoard per training, under its name; the folder is written anew."""
    root = folder / "tensorboard"
    shutil.rmtree(root, ignore_errors=True)
    numbers = {
        name: all(isinstance(value, int | float) for value in values.values())
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
            last = {f"last/{scalar}": run.last(scalar) for scalar in scalars}
            write_hparams(writer, described, last, int(run.table["step"].iloc[-1]))
            writer.close()
    return root


def _seed(run: Training) -> int:
    return -1 if run.seed is None else run.seed


def _curves(writer: SummaryWriter, run: Training, scalars: Sequence[str]) -> None:
    for scalar in scalars:
        curve = run.curve(scalar)
        for step, value in zip(curve.index.tolist(), curve.tolist(), strict=True):
            writer.add_scalar(scalar, value, step)
