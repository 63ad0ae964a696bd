"""The numbers of recall, each with an interval over worlds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cf.data.world.recall import Tally

Statistic = Callable[[Tally], Float[Tensor, " resamples"]]


class Estimate(NamedTuple):
    """A value and the bounds of its 95 % interval; NaN where nothing could be counted."""

    value: float
    low: float
    high: float


def recall(counts: Tally) -> Float[Tensor, " resamples"]:
    """Share of given cells that are painted right at a revisit, over all lags; up."""
    return counts.hits.sum(-1) / counts.seen.sum(-1)


def recall_at(lag: int) -> Statistic:
    """The same at one bin of lags."""
    return lambda counts: counts.hits[..., lag] / counts.seen[..., lag]


def self_recall(counts: Tally) -> Float[Tensor, " resamples"]:
    """Share of cells that are painted as the model itself did at its last visit; up."""
    return counts.own_hits / counts.own_seen


def cross_room(counts: Tally) -> Float[Tensor, " resamples"]:
    """Share of cells that look alike in two rooms: as low as the truth's; 1 is collapse."""
    return counts.cross_hits / counts.cross_seen


def entropy(counts: Tally) -> Float[Tensor, " resamples"]:
    """Bits per cell of what is painted where nothing was known, mean over rows; as the truth's.

    With few cells it is below that of the distribution they are drawn from.
    """
    share = counts.painted / counts.painted.sum(-1, keepdim=True)
    bits = torch.where(share > 0, -share * share.clamp(min=1e-12).log2(), share)
    return bits.sum(-1).mean(-1)


def novel_quality(counts: Tally) -> Float[Tensor, " resamples"]:
    """Decibels (PSNR) between novel cells and the nearest clean picture; up."""
    return _decibels(counts.novel_error, counts.novel_seen)


def drift(counts: Tally) -> Float[Tensor, " resamples"]:
    """Decibels of that quality lost from the first to the last quarter, over all cells; down."""
    early = _decibels(counts.early_error, counts.early_seen)
    return early - _decibels(counts.late_error, counts.late_seen)


STATISTICS: dict[str, Statistic] = {
    "recall": recall,
    "self_recall": self_recall,
    "cross_room": cross_room,
    "entropy": entropy,
    "novel_quality": novel_quality,
    "drift": drift,
}


def estimate(counts: Tally, statistic: Statistic, resamples: int = 2000, seed: int = 0) -> Estimate:
    """The statistic over all worlds, and its percentile bootstrap interval, worlds being the unit.

    A collapsed or constant statistic has an interval of no width: the bootstrap cannot tell how
    far 64 successes out of 64 may be from the truth.
    """
    worlds = len(counts.own_seen)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(worlds, np.full(worlds, 1 / worlds), resamples)
    ones = torch.ones(1, worlds, dtype=torch.double)
    value = float(statistic(counts.weighted(ones)))
    drawn = statistic(counts.weighted(torch.from_numpy(weights).double()))
    drawn = drawn[torch.isfinite(drawn)]
    if not len(drawn) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"))
    low, high = (float(drawn.quantile(q)) for q in (0.025, 0.975))
    return Estimate(value, low, high)


def _decibels(error: Tensor, seen: Tensor) -> Tensor:
    return -10 * (error / seen).clamp(min=1e-8).log10()
