"""Temporal consistency: how alike a video stays to itself, over all lags, above chance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.grid import Grid
from cf.metrics.repetition.cross_prompt_collapse import collapse_of
from cf.metrics.result import Result, without_value
from cf.metrics.set_metric import AboveChance, SetMetric

ALIKE = 1e-4  # what chance must leave of a cosine, for anything to be told apart

_SINGLE = "its windows hold one frame each; take a higher rate or longer windows"


def lags_of(windows: int) -> list[int]:
    """0, 1, 2, 4, 8, ... up to half of the duration: every octave has equal weight."""
    lags = [0]
    while (following := 2 * lags[-1] or 1) <= windows / 2:
        lags.append(following)
    return lags


class TemporalConsistencyAbsolute(AboveChance):
    r"""Mean likeness over log-spaced lags above a fixed chance; up, at most 1.

    .. math:: \frac{1}{|L|} \sum_{\tau \in L} \frac{C(\tau) - \kappa}{1 - \kappa},\quad
        L = \{0, 1, 2, 4, \ldots \le K/2\}

    :math:`C(\tau)` is the mean cosine of frames :math:`\tau` windows apart (in one window for 0,
    where a frame is not paired with itself). For one video or few prompts, where
    `TemporalConsistency` is not given; a definition of this project. 1 is a frozen video, 0 a video
    no more alike than two unrelated ones.

    Blind spots: a frozen, looping or blurred video scores well, and so does any degradation that
    makes frames alike (over-exposure, fading to grey), for chance is fixed. Never compare it across
    extractors or durations.

    Attributes:
        kappa: chance likeness, the mean cosine of features of unrelated videos; the extractor's own
            if None.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = TemporalConsistencyAbsolute(MeanColour(), kappa=0.5)
    >>> metric.update(torch.full((32, 3, 8, 8), 0.5), video_id=0, fps=8)
    >>> round(float(metric.compute()), 6)
    1.0
    """

    higher_is_better = True

    @override
    def compare(self, grid: Grid) -> Result:
        return _consistency(self, grid, [self.kappa] * len(lags_of(grid.windows)), {})


class TemporalConsistency(SetMetric):
    r"""Mean likeness over log-spaced lags above chance within the set; up, at most 1.

    .. math:: TC = \frac{1}{|L|} \sum_{\tau \in L}
        \frac{C(\tau) - \kappa(\tau)}{1 - \kappa(\tau)},\quad L = \{0, 1, 2, 4, \ldots \le K/2\}

    :math:`C(\tau)` is the mean cosine of frames :math:`\tau` windows apart (in one window for 0,
    where a frame is not paired with itself), over seeds, then over prompts; :math:`\kappa(\tau)` is
    the same for two videos of different prompts. 1 is perfect, 0 no more alike than two prompts of
    this model, below 0 less alike. A definition of this project; VBench's subject consistency
    (arXiv 2311.17982) is its two ends, neighbours and the first frame, without chance. Where videos
    of different prompts are all alike (chance within 1e-4 of 1), nothing is told apart: 0.

    Needs 16 prompts of equal duration. Its value depends on all videos of the set: models are
    compared on equal prompts, `seconds` and extractor only. `extras` has `TC_short` (lags up to
    1 s), `TC_long` (from 8 s), `CrossPromptCollapse`, `kappa`, the number of prompts and, where
    prompts change in mid-video, `across_prompts`, the mean cosine of neighbouring parts, which is
    in no other number; `curves` has C, kappa and c over the lags in `lag` (seconds). `per_window`
    is the likeness of each window to itself and to those before it, above chance.

    Blind spots: highest for a frozen video, blind to loops and to resets to the beginning; it is
    read with motion, loop rate and sink resets.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = TemporalConsistency(MeanColour())
    >>> for number in range(16):
    ...     still = torch.rand(1, 3, 1, 1).expand(16, 3, 8, 8)
    ...     metric.update(still, video_id=number, fps=8)
    >>> round(float(metric.compute()), 4)
    1.0
    """

    higher_is_better = True
    least_prompts = 16
    for_fewer = "TemporalConsistencyAbsolute"

    @override
    def compare(self, grid: Grid) -> Result:
        kappa = [grid.chance(lag) for lag in lags_of(grid.windows)]
        collapse, _, span = collapse_of(grid)
        more = {} if not span else {"CrossPromptCollapse": float(grid.mean(collapse))}
        return _consistency(self, grid, kappa, more)


def _consistency(
    metric: SetMetric, grid: Grid, kappa: list[float], more: dict[str, float]
) -> Result:
    """Likeness over lags, given chance at each."""
    lags = lags_of(grid.windows)
    likeness = torch.stack([grid.lagged(lag).nanmean(1) for lag in lags], 1)
    chance = torch.tensor(kappa, dtype=torch.double)
    above = _above(likeness, chance)
    curve = _above(grid.mean(likeness), chance)
    per_video = grid.by_video(above.mean(1))
    per_window, windows = grid.over_time(_before(grid, lags, chance))
    seconds = torch.tensor(lags, dtype=torch.double) * grid.window
    across = grid.across()
    more = more if math.isnan(across) else {**more, "across_prompts": across}
    extras = {
        "TC_short": float(curve[seconds <= 1].mean()),
        "TC_long": float(curve[seconds >= 8].mean()),
        "kappa": float(chance.mean()),
        "num_prompts": float(grid.prompts),
        "seconds": grid.windows * grid.window,
        **more,
    }
    value = float(curve.mean())
    reasons = without_value(per_video, _SINGLE, value)
    curves = {"lag": seconds, "c": curve, "C": grid.mean(likeness), "kappa": chance}
    return metric.answer(
        value,
        per_video,
        reasons=reasons,
        per_window=per_window,
        windows=windows,
        curves=curves,
        extras=extras,
    )


def _above(likeness: Float[Tensor, "*v n"], chance: Float[Tensor, " n"]) -> Float[Tensor, "*v n"]:
    """Above chance; 0 where chance leaves nothing to be told apart."""
    room = 1 - chance
    return ((likeness - chance) / room.clamp(min=ALIKE)).where(room > ALIKE, 0.0)


def _before(grid: Grid, lags: list[int], chance: Float[Tensor, " n"]) -> Float[Tensor, "v k"]:
    """Likeness of each window to itself and to those at all lags before it, above chance."""
    rows = torch.full((len(lags), *grid.count.shape), math.nan, dtype=torch.double)
    for number, lag in enumerate(lags):
        rows[number, :, lag:] = _above(grid.lagged(lag)[..., None], chance[number : number + 1])[
            ..., 0
        ]
    return rows.nanmean(0)
