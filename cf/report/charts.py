"""Pictures of a report, as SVG: curves over time, recall by lag, consistency against motion."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from cf.bench.ranking import Cell
from cf.bench.results import ContestantResults
from cf.evaluation.plots import PALETTE, PLAIN

_GREYS = ("#8a8a8a", "#b9b2a3", "#55606b")
_DASHES = ("-", "--", "-.", ":")
_SIDES = (("left", 1), ("right", -1))
STYLE: Any = {
    **PLAIN,
    "svg.fonttype": "none",  # text stays text: searchable, small, in the page's own face
    "svg.hashsalt": "cf",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}


@dataclass(frozen=True)
class Look:
    """Colour and dashes of a contestant, alike in all charts."""

    colour: str
    dashes: str


def looks(names: Sequence[str], controls: Sequence[str]) -> dict[str, Look]:
    """A look for each contestant; controls are grey."""
    styles, index = {}, 0
    for name in names:
        if name in controls:
            place = list(controls).index(name)
            styles[name] = Look(_GREYS[place // 3 % 3], _DASHES[1 + place % 3])
        else:
            around, place = divmod(index, len(PALETTE))
            styles[name] = Look(PALETTE[place], _DASHES[around % 4])
            index += 1
    return styles


def chart_over_time(table: pd.DataFrame, look: Mapping[str, Look], given: float) -> str | None:
    """A metric over the seconds of video, mean over trainings or prompts, 95 % interval."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.4, 2.5), layout="constrained")
        axes = figure.subplots()
        drawn = 0
        for name, style in look.items():
            drawn += _curve(axes, table[table["contestant"] == name], style)
        if not drawn:
            return None
        if given > 0:
            axes.axvspan(0, given, color="#f1efe8", lw=0)
        axes.set_xlabel("seconds of video")
        axes.set_xlim(left=0)
        return _svg(figure)


def _curve(axes: Axes, table: pd.DataFrame, style: Look) -> bool:
    if table.empty:
        return False
    second = np.floor(table["second"] + 1e-9).rename("at")
    unit = "training" if table["training"].nunique() > 1 else "prompt"
    grid = table.groupby([unit, second])["value"].mean().unstack("at")
    times, values = grid.columns.to_numpy(float), grid.to_numpy(float)
    if not np.isfinite(values).any():
        return False
    finite = np.isfinite(values).any(0)
    times, values = times[finite], values[:, finite]
    mark = "o" if len(times) == 1 else None
    mean = np.nanmean(values, 0)
    axes.plot(times, mean, color=style.colour, ls=style.dashes, lw=1.6, marker=mark, ms=3.5)
    if len(values) > 2 and np.isfinite(values).all():
        draws = np.random.default_rng(0).integers(0, len(values), (1000, len(values)))
        low, high = np.quantile(values[draws].mean(1), (0.025, 0.975), axis=0)
        axes.fill_between(times, low, high, color=style.colour, alpha=0.13, lw=0)
    return True


def lag_curves(
    made: Mapping[str, ContestantResults], metric: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Lags in seconds, and a metric's values there, of contestants that have such a curve."""
    by_name = {name: contestant.longest[metric].curves for name, contestant in made.items()}
    return {
        name: (curves["lags"].tolist(), curves["by_lag"].tolist())
        for name, curves in by_name.items()
        if {"lags", "by_lag"} <= set(curves)
    }


def by_lag(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    look: Mapping[str, Look],
    label: str,
) -> str:
    """A metric by lag: a curve (lags in seconds, values) per contestant."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.4, 2.8), layout="constrained")
        axes = figure.subplots()
        ticks = sorted({lag for lags, _ in curves.values() for lag in lags})
        for name, (lags, values) in curves.items():
            style, at = look[name], [ticks.index(lag) for lag in lags]
            axes.plot(at, values, color=style.colour, ls=style.dashes, marker="o", ms=3.5, lw=1.6)
        axes.set_xticks(range(len(ticks)), [f"{tick:g}+" for tick in ticks])
        axes.set(xlabel="seconds since it was last in view", ylabel=label)
        return _svg(figure)


def against(
    across: Mapping[str, Cell],
    up: Mapping[str, Cell],
    ranked: Set[str],
    look: Mapping[str, Look],
    label: str,
) -> str:
    """One metric against another; a contestant that is not ranked is a cross."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.subplots()
        points = {}
        for name in across:
            x, y = across[name].mean, up[name].mean
            if not (math.isfinite(x.value) and math.isfinite(y.value)):
                continue
            colour = look[name].colour
            axes.errorbar(
                x.value,
                y.value,
                xerr=_bars(x.value, x.low, x.high),
                yerr=_bars(y.value, y.low, y.high),
                fmt="o" if name in ranked else "x",
                color=colour,
                ms=6,
                lw=1,
            )
            points[name] = (x.value, y.value)
        first, second = label.split(" | ")
        axes.set(xlabel=first, ylabel=second)
        _name_points(axes, points, look)
        return _svg(figure)


def _name_points(
    axes: Axes, points: Mapping[str, tuple[float, float]], look: Mapping[str, Look]
) -> None:
    """Each beside its point, in the first of a few places that no name or point has taken."""
    figure = cast(Figure, axes.figure)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()  # settles where things lie
    renderer, half = canvas.get_renderer(), 3 * figure.dpi / 72
    boxes = [
        Bbox.from_bounds(x - half, y - half, 2 * half, 2 * half)
        for x, y in axes.transData.transform(list(points.values()))
    ]
    for name, point in points.items():
        text = axes.annotate(
            name,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            color=look[name].colour,
            va="center",
        )
        text.set_in_layout(False)  # the points stay where they are
        tried = []
        for step, up, (side, right) in product(range(4), (1, -1), _SIDES):
            place = 6 * right, up * (4 + 9 * step)
            text.set(position=place, ha=side)
            box = text.get_window_extent(renderer)
            outside = not (
                axes.bbox.x0 <= box.x0
                and box.x1 <= figure.bbox.x1
                and axes.bbox.y0 <= box.y0
                and box.y1 <= figure.bbox.y1
            )
            clashes = sum(box.overlaps(earlier) for earlier in boxes) + len(points) * outside
            tried.append((clashes, place, side, box))
            if not clashes:
                break
        _, place, side, box = min(tried, key=lambda option: option[0])
        text.set(position=place, ha=side)
        boxes.append(box)


def _bars(value: float, low: float, high: float) -> list[list[float]] | None:
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return [[max(value - low, 0)], [max(high - value, 0)]]


def _svg(figure: Figure) -> str:
    """The SVG element alone, for a page, as wide as its place."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', text, count=1)
