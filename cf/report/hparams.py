"""Settings beside values, as TensorBoard's HParams table shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams


def write_hparams(
    writer: SummaryWriter,
    described: Mapping[str, float | str],
    values: Mapping[str, float],
    step: int,
) -> None:
    """A line of the table; values that are no number leave their cell empty.

    TensorBoard takes the columns of its table from any one run, and `SummaryWriter.add_hparams`
    would leave a column out where that run lacks a value.
    """
    file = writer._get_file_writer()
    for summary in hparams(dict(described), dict(values)):
        file.add_summary(summary)
    for name, value in values.items():
        if math.isfinite(value):
            writer.add_scalar(name, value, step)
