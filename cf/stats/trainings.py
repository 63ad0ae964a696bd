"""Methods that were trained several times: the training is the unit, prompts are repeated in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from cf.stats.paired import (
    Comparison,
    Interval,
    compare,
    detectable,
    few_pairs,
    interval,
    least_p,
    sign_flip,
)

Unit = tuple[int | None, Any]
"""The number of a training, None of what was trained once, and a prompt or world."""
Values = Mapping[Unit, float]
WHOLE = "all prompts at once"
"""In place of a prompt, where a metric has a value of the whole set alone."""


def trainings(units: Iterable[Unit]) -> list[int]:
    """The numbers of all trainings, rising."""
    return sorted({training for training, _ in units if training is not None})


def aligned(everyone: Mapping[str, Values]) -> dict[str, dict[Unit, float]]:
    """Values where a contestant trained once stands beside each training of the others.

    >>> aligned({"mine": {(0, "a"): 1.0, (1, "a"): 2.0}, "truth": {(None, "a"): 3.0}})["truth"]
    {(0, 'a'): 3.0, (1, 'a'): 3.0}
    """
    trained = trainings(unit for values in everyone.values() for unit in values)
    numbers: list[int | None] = [*trained] or [None]
    return {
        name: {
            (number, prompt): value
            for (training, prompt), value in values.items()
            for number in (numbers if training is None else [training])
        }
        for name, values in everyone.items()
    }


def mean_over_trainings(values: Values) -> Interval:
    """The mean with its 95 % interval: over trainings if there are several, else over prompts.

    Trainings and prompts are both samples, and every training meets the same prompts. The variance
    of the mean is that of a two-way layout of random effects, its degrees of freedom are those of
    Satterthwaite (1946), the interval is Student's. With few trainings a bootstrap of both is far
    too wide, and one of either alone too narrow.
    """
    if len(trainings(values)) < 2:
        return interval(list(values.values()))
    return _crossed(_table(values))


def versus(first: Values, second: Values, better: bool | None) -> Comparison:
    """Compare two contestants: by training if either has several trainings, else by prompt."""
    sides = aligned({"first": first, "second": second})
    a, b = sides["first"], sides["second"]
    overall = compare(a, b, better)
    paired = {
        unit: a[unit] - b[unit] for unit in a if not math.isnan(a[unit] - b.get(unit, math.nan))
    }
    if len(trainings(paired)) < 2:
        return overall
    per_training = np.nanmean(_table(paired), 1)
    spread = float(per_training.std(ddof=1))
    return Comparison(
        difference=_crossed(_table(paired)),
        p=sign_flip(per_training),
        least_p=least_p(len(per_training)),
        exact=overall.exact,
        effect=float(per_training.mean()) / spread if spread > 0 else math.nan,
        win_rate=overall.win_rate,
        detectable=detectable(per_training),
        dropped=overall.dropped,
        note=few_pairs(len(per_training)),
    )


def _table(values: Values) -> Float[np.ndarray, "trainings prompts"]:
    """A row per training that has a value; NaN where a prompt has none."""
    prompts = list(dict.fromkeys(prompt for _, prompt in values))
    rows = [
        [values.get((training, prompt), math.nan) for prompt in prompts]
        for training in trainings(values)
    ]
    table = np.array(rows, np.float64)
    return table[~np.isnan(table).all(1)]


def _crossed(table: Float[np.ndarray, "n m"]) -> Interval:
    n, m = table.shape
    missing = int(np.isnan(table).sum())
    if n < 2:
        return interval(table.ravel())
    table = table[:, ~np.isnan(table).all(0)]
    m = table.shape[1]
    rows, columns = np.nanmean(table, 1), np.nanmean(table, 0)
    value = float(rows.mean())
    fitted = rows[:, None] + columns - value
    residual = np.where(np.isnan(table), 0.0, table - fitted)
    squares = np.array(
        [
            m * rows.var(ddof=1),
            n * columns.var(ddof=1) if m > 1 else 0.0,
            (residual**2).sum() / max((n - 1) * (m - 1) - missing, 1),
        ]
    )
    sums = squares * [1, 1, -1]
    total = max(float(sums.sum()), *squares[:2])  # an estimate of a variance below zero is zero
    if not total:
        return Interval(value, value, value, 0.95, "crossed", n, missing)
    freedom = total**2 / (squares**2 / [n - 1, max(m - 1, 1), max((n - 1) * (m - 1), 1)]).sum()
    reach = float(stats.t.ppf(0.975, max(freedom, n - 1)) * math.sqrt(total / (n * m)))
    return Interval(value, value - reach, value + reach, 0.95, "crossed", n, missing)
