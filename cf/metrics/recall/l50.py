"""Usable context in seconds: the lag at which half of recall is gone (L50)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest

from cf.files.tables import number
from cf.metrics.bootstrap import resample_counts

ENOUGH_PROBES = 64
"""Per lag: with fewer the interval is wider than half an octave."""
_TINY = 1e-12


@dataclass(frozen=True)
class Horizon:
    """Where recall has fallen half way to chance.

    Attributes:
        seconds: NaN if the gate is not passed; the last lag if it lies beyond, the first if
            it lies before.
        censored: 1 beyond the last lag, -1 before the first, else 0.
        low, high: bounds of its interval; infinity and 0 where a bound is censored.
        gate: p of guessing as well as at the shortest lag.
        fitted: falling fit of accuracy at each lag.
        thin: lags with fewer probes than ENOUGH_PROBES.
    """

    seconds: float
    censored: int
    low: float
    high: float
    gate: float
    fitted: Float[np.ndarray, " lags"]
    thin: tuple[float, ...]

    def __str__(self) -> str:
        if math.isnan(self.seconds):
            return "none"
        sign = {1: ">", -1: "<", 0: ""}[self.censored]
        return f"{sign}{number(self.seconds, '.3g')} s"


def recall_horizon(
    lags: Float[np.ndarray, " lags"],
    right: Int[np.ndarray, "worlds lags"],
    asked: Int[np.ndarray, "worlds lags"],
    chance: float,
    *,
    significance: float = 0.01,
    resamples: int = 1000,
    seed: int = 0,
) -> Horizon:
    """L50: the lag at which accuracy crosses chance + (accuracy at the shortest lag - chance) / 2.

    A falling isotonic fit weighted by probes, read off linearly in the logarithm of the lag. The
    interval is a percentile bootstrap over worlds.

    Args:
        lags: seconds, rising.
        right: probes that were answered rightly, of each world at each lag.
        asked: all probes, likewise.
        chance: accuracy of a guess, in [0, 1].
        significance: level of the binomial test at the shortest lag; without a pass there is no
            horizon.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    lags = np.asarray(lags, np.float64)
    if len(lags) < 2 or (np.diff(lags) <= 0).any() or lags[0] <= 0:
        raise ValueError(f"lags={lags.tolist()} must be two or more rising, positive seconds")
    if not 0 <= chance < 1:
        raise ValueError(f"chance={chance} must lie in [0, 1)")
    hits, probes = right.sum(0), asked.sum(0)
    thin = tuple(float(lag) for lag, n in zip(lags, probes, strict=True) if n < ENOUGH_PROBES)
    fitted = falling(hits, probes)
    gate = 1.0
    if probes[0]:
        gate = float(binomtest(int(hits[0]), int(probes[0]), chance, alternative="greater").pvalue)
    if not gate < significance:
        return Horizon(math.nan, 0, math.nan, math.nan, gate, fitted, thin)
    where = crossing(lags, fitted, chance)
    low, high = crossing_interval(lags, right, asked, chance, resamples, seed)
    censored = int(where == math.inf) - int(where == 0)
    seconds = float(np.clip(where, lags[0], lags[-1]))
    return Horizon(seconds, censored, low, high, gate, fitted, thin)


def falling(
    hits: Int[np.ndarray, " lags"] | Float[np.ndarray, " lags"],
    probes: Int[np.ndarray, " lags"] | Float[np.ndarray, " lags"],
) -> Float[np.ndarray, " lags"]:
    """Accuracy as a falling curve, each lag weighted by its probes; lags without any follow."""
    probed = probes > 0
    fitted = np.full(len(probes), math.nan)
    if probed.any():
        share = hits[probed] / probes[probed]
        fit = isotonic_regression(share, weights=probes[probed].astype(float), increasing=False)
        fitted[probed] = fit.x
    return fitted


def crossing(
    lags: Float[np.ndarray, " lags"], fitted: Float[np.ndarray, " lags"], chance: float
) -> float:
    """Seconds at which a falling curve crosses half way to chance; infinity if it never does.

    0 if the curve starts at chance or below, so that there is nothing to lose.
    """
    finite = ~np.isnan(fitted)
    lags, fitted = lags[finite], fitted[finite]
    if not len(fitted) or fitted[0] <= chance + _TINY:
        return 0.0
    level = chance + (fitted[0] - chance) / 2
    below = np.flatnonzero(fitted <= level)
    if not len(below):
        return math.inf
    after = int(below[0])
    high, low = fitted[after - 1], fitted[after]
    part = (high - level) / (high - low)
    return float(math.exp((1 - part) * math.log(lags[after - 1]) + part * math.log(lags[after])))


def crossing_interval(
    lags: Float[np.ndarray, " lags"],
    right: Int[np.ndarray, "worlds lags"] | Float[np.ndarray, "worlds lags"],
    asked: Int[np.ndarray, "worlds lags"] | Float[np.ndarray, "worlds lags"],
    chance: float,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Percentiles of the crossing over worlds drawn with replacement."""
    weights = resample_counts(len(right), resamples, seed)
    hits, probes = weights @ right, weights @ asked
    crossings = [crossing(lags, falling(h, p), chance) for h, p in zip(hits, probes, strict=True)]
    low, high = np.quantile(crossings, (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)
