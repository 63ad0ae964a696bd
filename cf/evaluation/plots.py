"""Every metric over the time of the video, a panel each."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cf.evaluation.measure import Measured
from cf.metrics.result import Result
from cf.stats.paired import interval

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#6B6B00")
"""Colours that colour-blind people tell apart (Okabe and Ito), and two more."""
PLAIN: Any = {"text.parse_math": False}
"""Names are no formulas: a dollar is a dollar."""
_FEW = 12  # videos that are drawn one by one
_RESAMPLES = 1000


def plot_over_time(measured: Measured) -> Figure | None:
    """Means over videos with 95 % intervals; None if no metric tells windows apart."""
    first = measured.results[measured.contestants[0]]
    names = [
        name
        for name in first
        if any(len(c) > 1 for r in measured.results.values() for c in r[name].per_window.values())
    ]
    if not names:
        return None
    across = min(len(names), 3)
    down = math.ceil(len(names) / across)
    with rc_context(PLAIN):
        return _drawn(measured, names, across, down)


def _drawn(measured: Measured, names: Sequence[str], across: int, down: int) -> Figure:
    """A panel for each of the metrics, and who is who if there are several."""
    first, legend = measured.results[measured.contestants[0]], len(measured.contestants) > 1
    figure = Figure(figsize=(4.6 * across, 2.9 * down + 0.4 * legend), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    lines: dict[str, Line2D] = {}  # a panel lacks who has no number in it
    for panel, name in zip(panels, names, strict=False):
        for contestant, colour in zip(measured.contestants, cycle(PALETTE), strict=False):
            line = _draw(panel, measured.results[contestant][name], colour, not legend)
            lines |= {} if line is None else {contestant: line}
        _dress(panel, *first[name].curve_title)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for i, panel in enumerate(panels[: len(names)]):
        if i + across >= len(names):
            panel.set_xlabel("seconds of video")
            panel.tick_params(labelbottom=True)
    if legend:
        shown = [name for name in measured.contestants if name in lines]
        figure.legend(
            [lines[name] for name in shown],
            shown,
            loc="outside upper left",
            ncols=6,
            frameon=False,
            fontsize=9,
        )
    return figure


def _draw(panel: Axes, result: Result, colour: str, alone: bool) -> Line2D | None:
    """A curve with its interval; None if it has no number."""
    at: dict[float, list[float]] = defaultdict(list)
    for video, curve in result.per_window.items():
        if not len(curve):
            continue
        seconds = result.windows[video].double().numpy()
        values = curve.double().reshape(len(curve), -1).mean(1).numpy()
        if alone and len(result.per_window) <= _FEW:
            panel.plot(seconds, values, color=colour, lw=0.7, alpha=0.35)
        for second, value in zip(seconds.round(3).tolist(), values.tolist(), strict=True):
            if math.isfinite(value):
                at[second].append(value)
    if not at:
        return None
    # A mean over the few videos that are longer than the others would jump where the others end.
    most = max(map(len, at.values()))
    times = np.array(sorted(second for second, numbers in at.items() if 2 * len(numbers) >= most))
    means = [interval(at[t], "percentile", resamples=_RESAMPLES) for t in times.tolist()]
    mark = "o" if len(times) == 1 else None
    (line,) = panel.plot(times, [m.value for m in means], color=colour, lw=1.8, marker=mark)
    low, high = ([getattr(m, side) for m in means] for side in ("low", "high"))
    panel.fill_between(times, low, high, color=colour, alpha=0.15, lw=0)
    return line


def _dress(panel: Axes, name: str, higher_is_better: bool | None) -> None:
    better = {True: "  (higher is better)", False: "  (lower is better)", None: ""}
    panel.set_title(f"{name}{better[higher_is_better]}", fontsize=9, loc="left")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", alpha=0.25, lw=0.6)
    panel.tick_params(labelsize=8)
    panel.margins(x=0.01)
