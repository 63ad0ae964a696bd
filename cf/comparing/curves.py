"""Logged scalars over training steps, as pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cf.comparing.trainings import Method
from cf.files.figures import save_figure
from cf.report.charts import STYLE, Look, looks

_ACROSS = 3  # panels
_WIDE = 20.0  # ratio of largest to smallest from which an axis is logarithmic
_OUTLIERS = 0.02  # share of the values that may lie outside of that


def draw_curves(sides: Sequence[Method], scalars: Sequence[str], folder: Path) -> list[Path]:
    """`curves/SCALAR` for each, and `curves` with all of them, as png and svg each."""
    look = looks([side.name for side in sides], [])
    paths = []
    with rc_context(STYLE):
        for scalar in scalars:
            figure = Figure(figsize=(5.6, 3.4), layout="constrained")
            _panel(figure.subplots(), sides, look, scalar)
            _legend(figure, sides, look)
            paths += _save(figure, folder / "curves" / re.sub(r"[^\w.-]+", "_", scalar))
        across = min(len(scalars), _ACROSS)
        down = math.ceil(len(scalars) / across)
        figure = Figure(figsize=(4.2 * across, 2.6 * down + 0.5), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, scalar in zip(panels, scalars, strict=False):
            _panel(axes, sides, look, scalar)
        for axes in panels[len(scalars) :]:
            axes.set_axis_off()
        _legend(figure, sides, look)
        return [*_save(figure, folder / "curves"), *paths]


def _panel(axes: Axes, sides: Sequence[Method], look: Mapping[str, Look], scalar: str) -> None:
    shown = []
    for side in sides:
        style = look[side.name]
        curves = [curve for curve in (run.curve(scalar) for run in side.runs) if len(curve)]
        shown += curves
        thin = len(side.runs) > 1
        for curve in curves:
            axes.plot(
                curve.index,
                curve,
                color=style.colour,
                ls=style.dashes,
                lw=0.7 if thin else 1.6,
                alpha=0.4 if thin else 1,
                marker="." if len(curve) == 1 else None,
            )
        if len(curves) > 1:
            _band(axes, curves, style)
    axes.set_title(scalar, fontsize=9, loc="left")
    axes.set_xlabel("step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if _spans(np.concatenate([curve.to_numpy() for curve in shown])):
        axes.set_yscale("log")


def _band(axes: Axes, curves: Sequence[pd.Series[float]], style: Look) -> None:
    """Mean and range, over the steps that every run has logged."""
    joined = pd.concat(curves, axis=1, join="inner").sort_index()
    at, values = joined.index.to_numpy(float), joined.to_numpy(float)
    marker = "o" if len(at) == 1 else None
    axes.plot(at, values.mean(1), color=style.colour, ls=style.dashes, lw=1.8, marker=marker)
    axes.fill_between(at, values.min(1), values.max(1), color=style.colour, alpha=0.13, lw=0)


def _spans(values: np.ndarray) -> bool:
    """Whether positive values span so much that a logarithmic axis is needed."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, (_OUTLIERS, 1 - _OUTLIERS))
    return bool(high / low > _WIDE)


def _legend(figure: Figure, sides: Sequence[Method], look: Mapping[str, Look]) -> None:
    handles = []
    for side in sides:
        runs = len(side.runs)
        label = side.name if runs == 1 else f"{side.name}: mean and range of {runs} runs"
        style = look[side.name]
        handles.append(Line2D([], [], color=style.colour, ls=style.dashes, lw=1.8, label=label))
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=8)


def _save(figure: Figure, path: Path) -> list[Path]:
    files = [path.with_name(path.name + suffix) for suffix in (".png", ".svg")]
    for file in files:
        save_figure(figure, file, dpi=144)
    return files
