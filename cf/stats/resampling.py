"""Resampling of units: bootstrap intervals and the sign-flip test, in bounded memory."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

RESAMPLES = 10_000
PATTERNS = 2**14
"""Sign patterns up to which all are tried; beyond, so many are drawn."""
SEED = 0
_ROUNDING = 1e-12
_AT_ONCE = 2**22
"""Numbers drawn at a time, 32 MB of them, however many units there are."""

IntervalMethod = Literal["bca", "percentile"]
Statistic = Callable[[Float[np.ndarray, "b n"]], Float[np.ndarray, " b"]]


@dataclass(frozen=True)
class Interval:
    """A value with a bootstrap interval over units; bounds are NaN where there are too few.

    Attributes:
        units: with a value.
        missing: units without one, which the value leaves out.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    units: int
    missing: int = 0


def interval(
    values: ArrayLike,
    method: IntervalMethod = "bca",
    level: float = 0.95,
    statistic: Statistic | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """A bootstrap interval over units (Efron 1987). NaN values are left out and counted.

    Where the correction for bias and skewness has no meaning (an infinite value, such as the PSNR
    of two equal videos, or values that are equal up to rounding), bounds are percentiles.

    Args:
        values: of the units, one each.
        method: "bca" (bias-corrected and accelerated) or "percentile".
        level: of confidence, in (0, 1).
        statistic: of each row; the mean if None.
        resamples: how many sets of units are drawn.
        seed: of the draws.
    """
    array = np.asarray(values, np.float64).ravel()
    numbers = array[~np.isnan(array)]
    of = statistic or _mean
    n, missing = len(numbers), int(np.isnan(array).sum())
    if not n:
        return Interval(math.nan, math.nan, math.nan, level, method, 0, missing)
    with np.errstate(invalid="ignore"):  # infinity less infinity: no value
        value = float(of(numbers[None])[0])
    if n == 1:
        return Interval(value, math.nan, math.nan, level, method, 1, missing)
    if (numbers == numbers[0]).all():
        return Interval(value, value, value, level, method, n, missing)
    low, high = _bounds(numbers, method, level, of, resamples, seed)
    return Interval(value, low, high, level, method, n, missing)


def _mean(rows: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    means: Float[np.ndarray, " b"] = rows.mean(-1)
    return means


def _bounds(
    numbers: Float[np.ndarray, " n"],
    method: IntervalMethod,
    level: float,
    of: Statistic,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    """The bounds that scipy computes, in pieces of bounded memory."""

    def statistic(rows: Float[np.ndarray, "*b n"], axis: int) -> Any:
        return of(rows) if rows.ndim > 1 else of(rows[None])[0]

    corrected = method == "bca" and bool(np.isfinite(numbers).all())
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (numbers,),
            statistic,
            n_resamples=resamples,
            batch=max(1, _AT_ONCE // len(numbers)),
            confidence_level=level,
            method="BCa" if corrected else "percentile",
            rng=np.random.default_rng(seed),
        )
    low, high = map(float, result.confidence_interval)
    if math.isnan(low + high):
        low, high = percentiles(result.bootstrap_distribution, level)
    return low, high


def percentiles(drawn: Float[np.ndarray, " b"], level: float) -> tuple[float, float]:
    """Bounds that are among the values drawn, so that infinite ones do no harm."""
    ordered = np.sort(drawn[~np.isnan(drawn)])
    if not len(ordered):
        return math.nan, math.nan
    places = [int((1 - level) / 2 * len(ordered)), int((1 + level) / 2 * len(ordered))]
    low, high = ordered[np.minimum(places, len(ordered) - 1)]
    return float(low), float(high)


def sign_flip(differences: ArrayLike, patterns: int = PATTERNS, seed: int = SEED) -> float:
    """Two-sided p of the mean of paired differences under random signs.

    Exact if there are at most `patterns` sign patterns; else so many are drawn, and the observed
    one counts as one more.

    >>> sign_flip([1.0, 2.0, 3.0])
    0.25
    """
    d = _finite(np.asarray(differences, np.float64).ravel())
    if not len(d):
        return math.nan
    scale = np.abs(d).sum()
    if not scale:
        return 1.0
    exact = is_exact(len(d), patterns)
    least, as_far, count = abs(d.sum()) - _ROUNDING * scale, 0, 0
    for signs in _signs(len(d), patterns, seed):
        as_far += int((np.abs(signs @ d) >= least).sum())
        count += len(signs)
    return as_far / count if exact else (as_far + 1) / (count + 1)


def _finite(differences: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """An infinite difference counts as more than all finite ones together."""
    infinite = np.isinf(differences)
    if not infinite.any():
        return differences
    more = 2 * np.abs(differences[~infinite]).sum() or 1.0
    return np.where(infinite, np.sign(differences) * more, differences)


def is_exact(n: int, patterns: int = PATTERNS) -> bool:
    """Whether `sign_flip` tries all sign patterns of so many pairs."""
    return n < 63 and 2**n <= patterns


def _signs(n: int, patterns: int, seed: int) -> Iterator[Float[np.ndarray, "p n"]]:
    """All sign patterns, or so many drawn ones; at once if they are few, else piece by piece."""
    if n * patterns <= _AT_ONCE:
        yield _few_signs(n, patterns, seed)
    else:
        yield from _pieces(n, patterns, seed, max(1, _AT_ONCE // n))


@lru_cache(maxsize=4)
def _few_signs(n: int, patterns: int, seed: int) -> Float[np.ndarray, "p n"]:
    return next(_pieces(n, patterns, seed, patterns))


def _pieces(n: int, patterns: int, seed: int, most: int) -> Iterator[Float[np.ndarray, "p n"]]:
    exact, random = is_exact(n, patterns), np.random.default_rng(seed)
    count = 2**n if exact else patterns
    for start in range(0, count, most):
        stop = min(start + most, count)
        if exact:
            bits = (np.arange(start, stop)[:, None] >> np.arange(n)) & 1
        else:
            bits = random.integers(0, 2, (stop - start, n))
        yield 2.0 * bits - 1


def least_p(pairs: int) -> float:
    """The smallest two-sided p that so many pairs can give; 0.0 below the smallest float."""
    return 2.0 ** (1 - pairs)
