"""Means, paired comparisons and rankings whose unit is the prompt, not the frame."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from cf.files.counts import so_many
from cf.stats.resampling import (
    SEED,
    Interval,
    IntervalMethod,
    interval,
    is_exact,
    least_p,
    sign_flip,
)

__all__ = [
    "Comparison",
    "Interval",
    "Pair",
    "Standing",
    "compare",
    "compare_pairs",
    "corrected",
    "detectable",
    "few_pairs",
    "holm",
    "interval",
    "least_p",
    "seed_means",
    "sign_flip",
    "standings",
]

_ALPHA = 0.05
"""Below which a corrected p counts as a difference."""


@dataclass(frozen=True)
class Comparison:
    """The difference of two contestants on the units (prompts or trainings) that both have.

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
class Pair:
    """Two contestants under one metric.

    Attributes:
        corrected_p: for the number of pairs that are tested together (Holm).
    """

    metric: str
    first: str
    second: str
    comparison: Comparison
    corrected_p: float

    def row(self) -> dict[str, Any]:
        """The numbers as a table has them."""
        comparison = self.comparison
        return {
            "metric": self.metric,
            "first": self.first,
            "second": self.second,
            "difference": comparison.difference.value,
            "low": comparison.difference.low,
            "high": comparison.difference.high,
            "p": comparison.p,
            "p_holm": self.corrected_p,
            "effect": comparison.effect,
            "win_rate": comparison.win_rate,
            "detectable": comparison.detectable,
            "pairs": comparison.difference.units,
        }


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


def seed_means(units: Iterable[Hashable], values: Iterable[float]) -> dict[Hashable, float]:
    """The mean of each unit over its seeds; NaN if none of them has a value.

    >>> seed_means(["a", "a", "b"], [1.0, 3.0, 5.0])
    {'a': 2.0, 'b': 5.0}
    """
    by_unit: dict[Hashable, list[float]] = {}
    for unit, value in zip(units, values, strict=True):
        numbers = by_unit.setdefault(unit, [])
        if not math.isnan(value):
            numbers.append(value)
    return {u: math.fsum(x) / len(x) if x else math.nan for u, x in by_unit.items()}


def holm(p: ArrayLike) -> list[float]:
    """p-values corrected for their number (Holm 1979); NaN, not tested, stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64).ravel()
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(values), math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def detectable(differences: ArrayLike) -> float:
    """The smallest difference that a test at .05 of these pairs finds in 80 % of repetitions."""
    d = np.asarray(differences, np.float64).ravel()
    if len(d) < 2 or not np.isfinite(d).all():
        return math.nan
    quantiles = stats.t.ppf([1 - _ALPHA / 2, 0.8], len(d) - 1)
    return float(quantiles.sum() * d.std(ddof=1) / math.sqrt(len(d)))


def compare(
    first: Mapping[Any, float],
    second: Mapping[Any, float],
    higher_is_better: bool | None = None,
    method: IntervalMethod = "bca",
    seed: int = SEED,
) -> Comparison:
    """Compare two contestants, unit by unit; values are per unit, seeds averaged within it."""
    units = list(dict.fromkeys([*first, *second]))
    a, b = (
        np.array([values.get(u, math.nan) for u in units], np.float64) for values in (first, second)
    )
    paired = ~(np.isnan(a) | np.isnan(b))
    a_paired, b_paired = a[paired], b[paired]
    d = np.zeros(len(a_paired))  # two infinities are equal
    np.subtract(a_paired, b_paired, out=d, where=a_paired != b_paired)
    spread = float(d.std(ddof=1)) if len(d) > 1 and np.isfinite(d).all() else math.nan
    return Comparison(
        difference=interval(d, method, seed=seed),
        p=sign_flip(d, seed=seed),
        least_p=least_p(len(d)) if len(d) else math.nan,
        exact=is_exact(len(d)),
        effect=float(d.mean()) / spread if spread > 0 else math.nan,
        win_rate=_win_rate(a, b, higher_is_better),
        detectable=detectable(d),
        dropped=tuple(unit for unit, complete in zip(units, paired, strict=True) if not complete),
        note=few_pairs(len(d)),
    )


def compare_pairs(
    values: Mapping[str, Mapping[str, Mapping[Any, float]]],
    higher_is_better: Mapping[str, bool | None],
    comparing: Callable[..., Comparison] = compare,
) -> list[Pair]:
    """Every two contestants under every metric, corrected together.

    Args:
        values: metric -> contestant -> unit -> value.
        higher_is_better: of each metric.
        comparing: the values of two contestants.
    """
    return corrected(
        (metric, a, b, comparing(of[a], of[b], higher_is_better[metric]))
        for metric, of in values.items()
        for a, b in combinations(of, 2)
    )


def corrected(found: Iterable[tuple[str, str, str, Comparison]]) -> list[Pair]:
    """Comparisons of (metric, first, second) with p corrected for their number (Holm)."""
    found = list(found)
    adjusted = holm([comparison.p for *_, comparison in found])
    tested = sum(math.isfinite(p) for p in adjusted)
    return [
        Pair(metric, a, b, replace(test, note=test.note or _few_for_all(test.least_p, tested)), p)
        for (metric, a, b, test), p in zip(found, adjusted, strict=True)
    ]


def _win_rate(
    a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], higher_is_better: bool | None
) -> float:
    if higher_is_better is None or not len(a):
        return math.nan
    sign = 1.0 if higher_is_better else -1.0
    a, b = (np.where(np.isnan(values), -np.inf, sign * values) for values in (a, b))
    return float(((a > b) + 0.5 * (a == b)).mean())


def few_pairs(pairs: int) -> str:
    """A warning about a test of few pairs; empty if there are enough."""
    if pairs == 0:
        return "no unit has a value for both"
    least = least_p(pairs)
    if least <= _ALPHA:
        return ""
    needed = math.ceil(math.log2(2 / _ALPHA))
    return (
        f"{so_many(pairs, 'pair')}: p cannot fall below {min(least, 1):g}, whatever the "
        f"difference; {needed} are needed for {_ALPHA:g}"
    )


def _few_for_all(least: float, comparisons: int) -> str:
    """A warning about many comparisons with few pairs; empty if there are enough.

    Args:
        least: below which p cannot fall with so many pairs, uncorrected.
        comparisons: that are corrected together.
    """
    if not least * comparisons > _ALPHA:
        return ""
    needed = math.ceil(math.log2(2 * comparisons / _ALPHA))
    return (
        f"{comparisons} comparisons, corrected together: with so few pairs p cannot fall below "
        f"{min(least * comparisons, 1):g} before the others are done with; {needed} pairs are "
        f"needed for {_ALPHA:g}. Read intervals, and the differences that would have been found"
    )


def standings(
    contestants: Mapping[str, Mapping[Any, float]], higher_is_better: bool
) -> list[Standing]:
    """All contestants, best first.

    Values are not missing at random (static, collapsed, failed), so a unit that a contestant lacks
    counts as the worst value that anyone had anywhere; one without any value comes last.
    """
    units = list(dict.fromkeys(unit for values in contestants.values() for unit in values))
    table = np.array(
        [[values.get(unit, math.nan) for unit in units] for values in contestants.values()],
        np.float64,
    ).reshape(len(contestants), len(units))
    numbers = table[~np.isnan(table)]
    worst = (numbers.min() if higher_is_better else numbers.max()) if len(numbers) else math.nan
    with np.errstate(
        invalid="ignore"
    ):  # infinity less infinity: no value, and no place but the last
        ranked = (
            np.where(np.isnan(table), worst, table).mean(1) if units else np.full(len(table), 0.0)
        )
    sign = -1.0 if higher_is_better else 1.0
    none = [
        bool(np.isnan(row).all()) or math.isnan(r) for row, r in zip(table, ranked, strict=True)
    ]
    keys: Sequence[tuple[bool, float]] = [
        (nothing, sign * float(value)) for nothing, value in zip(none, ranked, strict=True)
    ]
    entries = [
        Standing(name, interval(row), float(value), 1 + sum(k < key for k in keys))
        for name, row, value, key in zip(contestants, table, ranked, keys, strict=True)
    ]
    return sorted(entries, key=lambda entry: entry.place)
