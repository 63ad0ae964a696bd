"""Intervals, paired comparisons and rankings whose unit is the prompt, not the frame."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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
_SEED = 0
_ROUNDING = 1e-12

Method = Literal["bca", "percentile"]
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


@dataclass(frozen=True)
class Comparison:
    """How two contestants differ on the units that both have.

    Attributes:
        difference: mean of first less second.
        p: two-sided, of a sign-flip permutation test; NaN without a pair.
        least_p: p cannot fall below this with so few pairs, whatever the difference.
        exact: whether all sign patterns were tried.
        effect: mean of the differences in their standard deviations (Cohen's d_z).
        win_rate: share of all units that the first wins, ties half; a unit without a value loses.
            NaN if neither direction is better.
        detectable: difference that a test at .05 would find in 80 % of repetitions.
        dropped: units that one of the two lacks; not part of the difference.
        note: what a reader must know; empty if nothing.
    """

    difference: Interval
    p: float
    least_p: float
    exact: bool
    effect: float
    win_rate: float
    detectable: float
    dropped: tuple[Hashable, ...]
    note: str


@dataclass(frozen=True)
class Standing:
    """A contestant's place.

    Attributes:
        mean: over the units with a value.
        ranked: mean over all units, those without a value counted as the worst value anyone had.
        place: 1 is best; equals share it.
    """

    name: str
    mean: Interval
    ranked: float
    place: int


def averaged(units: Iterable[Hashable], values: Iterable[float]) -> dict[Hashable, float]:
    """The mean of each unit over its seeds; NaN if none of them has a value.

    >>> averaged(["a", "a", "b"], [1.0, 3.0, 5.0])
    {'a': 2.0, 'b': 5.0}
    """
    found: dict[Hashable, list[float]] = {}
    for unit, value in zip(units, values, strict=True):
        known = found.setdefault(unit, [])
        if not math.isnan(value):
            known.append(value)
    return {u: math.fsum(known) / len(known) if known else math.nan for u, known in found.items()}


def interval(
    values: ArrayLike,
    method: Method = "bca",
    level: float = 0.95,
    statistic: Statistic | None = None,
    resamples: int = RESAMPLES,
    seed: int = _SEED,
) -> Interval:
    """A bootstrap interval over units, a value each (Efron 1987); NaN values are left out, counted.

    Attributes:
        statistic: of each row; the mean if None.
    """
    given = np.asarray(values, np.float64).ravel()
    known = given[~np.isnan(given)]
    of = statistic or _mean
    n, missing = len(known), int(np.isnan(given).sum())
    if not n:
        return Interval(math.nan, math.nan, math.nan, level, method, 0, missing)
    value = float(of(known[None])[0])
    if n == 1:
        return Interval(value, math.nan, math.nan, level, method, 1, missing)
    if np.ptp(known) == 0:
        return Interval(value, value, value, level, method, n, missing)
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n))
    resampled = of(known[draws])
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _corrected(known, of, value, resampled, tails)
    low, high = np.quantile(resampled, tails)
    return Interval(value, float(low), float(high), level, method, n, missing)


def _mean(rows: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    means: Float[np.ndarray, " b"] = rows.mean(-1)
    return means


def _corrected(
    known: Float[np.ndarray, " n"],
    of: Statistic,
    value: float,
    resampled: Float[np.ndarray, " b"],
    tails: Float[np.ndarray, " 2"],
) -> Float[np.ndarray, " 2"]:
    """Where the bounds lie among the resampled values, corrected for bias and skewness."""
    below = ((resampled < value).sum() + (resampled <= value).sum()) / (2 * len(resampled))
    bias = stats.norm.ppf(below)
    n = len(known)
    others = np.tile(known, (n, 1))[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    left_out = of(others)
    pull = left_out.mean() - left_out
    spread = 6 * (pull**2).sum() ** 1.5
    skew = (pull**3).sum() / spread if spread else 0.0  # equal up to rounding: nothing is skewed
    shifted = bias + stats.norm.ppf(tails)
    corrected: Float[np.ndarray, " 2"] = stats.norm.cdf(bias + shifted / (1 - skew * shifted))
    return corrected


def sign_flip(differences: ArrayLike, patterns: int = PATTERNS, seed: int = _SEED) -> float:
    """Two-sided p of the mean of paired differences under random signs.

    Exact if there are at most `patterns` sign patterns; else so many are drawn, and the observed
    one counts as one more.

    >>> sign_flip([1.0, 2.0, 3.0])
    0.25
    """
    d = np.asarray(differences, np.float64).ravel()
    if not len(d):
        return math.nan
    scale = np.abs(d).sum()
    if not scale:
        return 1.0
    exact = _is_exact(len(d), patterns)
    sums = np.abs(_signs(len(d), None if exact else patterns, seed) @ d)
    as_far = int((sums >= abs(d.sum()) - _ROUNDING * scale).sum())
    return as_far / len(sums) if exact else (as_far + 1) / (patterns + 1)


def _is_exact(n: int, patterns: int) -> bool:
    return n < 63 and 2**n <= patterns


@lru_cache(maxsize=8)
def _signs(n: int, drawn: int | None, seed: int) -> Float[np.ndarray, "p n"]:
    """All sign patterns, or so many drawn ones."""
    if drawn is None:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (drawn, n))
    return 2.0 * bits - 1


def holm(p: ArrayLike) -> list[float]:
    """p-values corrected for their number (Holm 1979); NaN, not tested, stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, np.float64).ravel()
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    made = np.full(len(given), math.nan)
    made[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in made]


def detectable(differences: ArrayLike, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference that so many pairs, spread as these are, would show with that power."""
    d = np.asarray(differences, np.float64).ravel()
    if len(d) < 2:
        return math.nan
    quantiles = stats.t.ppf([1 - alpha / 2, power], len(d) - 1)
    return float(quantiles.sum() * d.std(ddof=1) / math.sqrt(len(d)))


def compare(
    first: Mapping[Any, float],
    second: Mapping[Any, float],
    higher_is_better: bool | None = None,
    method: Method = "bca",
    seed: int = _SEED,
) -> Comparison:
    """Compare two contestants, unit by unit; values are per unit, seeds averaged within it."""
    units = list(dict.fromkeys([*first, *second]))
    a, b = (np.array([one.get(u, math.nan) for u in units], np.float64) for one in (first, second))
    paired = ~(np.isnan(a) | np.isnan(b))
    d = a[paired] - b[paired]
    spread = float(d.std(ddof=1)) if len(d) > 1 else math.nan
    return Comparison(
        difference=interval(d, method, seed=seed),
        p=sign_flip(d, seed=seed),
        least_p=2.0 / 2 ** len(d) if len(d) else math.nan,
        exact=_is_exact(len(d), PATTERNS),
        effect=float(d.mean()) / spread if spread > 0 else math.nan,
        win_rate=_win_rate(a, b, higher_is_better),
        detectable=detectable(d),
        dropped=tuple(unit for unit, both in zip(units, paired, strict=True) if not both),
        note=few_pairs(len(d)),
    )


def _win_rate(
    a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], higher_is_better: bool | None
) -> float:
    if higher_is_better is None or not len(a):
        return math.nan
    sign = 1.0 if higher_is_better else -1.0
    a, b = (np.where(np.isnan(one), -np.inf, sign * one) for one in (a, b))
    return float(((a > b) + 0.5 * (a == b)).mean())


def few_pairs(pairs: int, alpha: float = 0.05) -> str:
    """What a reader must know of a test with so few pairs; empty if nothing."""
    if pairs == 0:
        return "no unit has a value for both"
    least = 2.0 / 2**pairs
    if least <= alpha:
        return ""
    plural = "pair" if pairs == 1 else "pairs"
    needed = math.ceil(math.log2(2 / alpha))
    return (
        f"{pairs} {plural}: p cannot fall below {min(least, 1):g}, whatever the difference; "
        f"{needed} are needed for {alpha:g}"
    )


def standings(
    contestants: Mapping[str, Mapping[Any, float]],
    higher_is_better: bool,
    method: Method = "bca",
    seed: int = _SEED,
) -> list[Standing]:
    """All contestants, best first.

    Values are not missing at random (static, collapsed, failed), so a unit that a contestant lacks
    counts as the worst value that anyone had anywhere; one without any value comes last.
    """
    units = list(dict.fromkeys(unit for one in contestants.values() for unit in one))
    table = np.array(
        [[one.get(unit, math.nan) for unit in units] for one in contestants.values()], np.float64
    ).reshape(len(contestants), len(units))
    known = table[~np.isnan(table)]
    worst = (known.min() if higher_is_better else known.max()) if len(known) else math.nan
    ranked = np.where(np.isnan(table), worst, table).mean(1) if units else np.full(len(table), 0.0)
    sign = -1.0 if higher_is_better else 1.0
    none = [bool(np.isnan(row).all()) for row in table]
    keys: Sequence[tuple[bool, float]] = [
        (nothing, sign * float(value)) for nothing, value in zip(none, ranked, strict=True)
    ]
    made = [
        Standing(
            name, interval(row, method, seed=seed), float(value), 1 + sum(k < key for k in keys)
        )
        for name, row, value, key in zip(contestants, table, ranked, keys, strict=True)
    ]
    return sorted(made, key=lambda one: one.place)
