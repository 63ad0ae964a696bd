"""Metrics as heat maps: a row per contestant, a column per bucket of time or lag."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from cf.report.charts import STYLE

_MOST_COLUMNS = 60
_WRITTEN = 14  # columns up to which a cell's value is written into it
_LIGHT = 0.55  # part of the colours' range below which text is white


def over_lags(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], metric: str
) -> bytes | None:
    """A png of contestants by seconds since something was last in view; None if none is known."""
    if not any(np.isfinite(values).any() for _, values in curves.values()):
        return None
    ticks = sorted({lag for lags, _ in curves.values() for lag in lags})
    table = pd.DataFrame(np.nan, index=list(curves), columns=ticks)
    for name, (lags, values) in curves.items():
        table.loc[name, list(lags)] = list(values)
    table.columns = pd.Index([f"{tick:g}+" for tick in ticks])
    return _drawn(table, metric, "seconds since it was last in view")


def heatmap_over_time(windows: pd.DataFrame, metric: str) -> bytes | None:
    """A png of contestants by second of video, mean over prompts; None if nothing has a value.

    Args:
        windows: lines of the metric, as `cf.report.long_tables.per_window` makes them.
        metric: its name, for the title.
    """
    valued = windows.dropna(subset=["value"])
    if valued.empty:
        return None
    last = float(valued["second"].max())
    width = max(1.0, np.ceil(last / _MOST_COLUMNS))
    second = (np.floor(valued["second"] / width + 1e-9) * width).rename("at")
    by_prompt = valued.groupby(["contestant", "prompt", second], sort=False)["value"].mean()
    table = by_prompt.groupby(["contestant", "at"], sort=False).mean().unstack("at")
    table = table.reindex(index=list(dict.fromkeys(valued["contestant"])))
    table = table.reindex(columns=sorted(table.columns))
    table.columns = pd.Index([f"{at:g}" for at in table.columns])
    return _drawn(table, metric, "seconds of video")


def _drawn(table: pd.DataFrame, metric: str, label: str) -> bytes:
    rows, columns = table.shape
    values = table.to_numpy(float)
    written = columns <= _WRITTEN
    with rc_context({**STYLE, "axes.grid": False}):
        size = (2.2 + columns * (0.48 if written else 0.13), 1.1 + 0.3 * rows)
        figure = Figure(figsize=(max(size[0], 4.2), size[1]), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap="cividis")
        axes.set_facecolor("#efefef")  # no value
        axes.set_yticks(range(rows), list(table.index))
        every = max(1, columns // 12)
        axes.set_xticks(range(0, columns, every), list(table.columns)[::every])
        axes.set_xlabel(label)
        axes.set_title(metric, fontsize=9, loc="left")
        if written:
            finite = values[np.isfinite(values)]
            low, span = float(finite.min()), float(np.ptp(finite)) or 1.0
            for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
                value = float(values[row, column])
                colour = "white" if (value - low) / span < _LIGHT else "black"
                centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
                axes.text(column, row, f"{value:.2f}", color=colour, **centred)
        figure.colorbar(image, ax=axes, pad=0.02)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
