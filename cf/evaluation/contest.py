"""Contestants compared on the prompts that they share, metric by metric."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from cf.evaluation.measure import Measured
from cf.metrics.measurement import digest
from cf.stats.paired import Comparison, Standing, averaged, compare, holm, standings


@dataclass(frozen=True)
class Duel:
    """Two contestants under one metric.

    Attributes:
        corrected_p: for the number of duels of all metrics (Holm).
    """

    metric: str
    first: str
    second: str
    comparison: Comparison
    corrected_p: float


@dataclass(frozen=True)
class Contest:
    """All contestants under all metrics that can be compared.

    Attributes:
        duels: of every pair under every metric.
        places: metric -> standings, best first.
        refused: metric -> why its values must not be compared.
        shared: metrics of sets that were scored anew on the prompts that all contestants have.
    """

    duels: list[Duel]
    places: Mapping[str, list[Standing]]
    refused: Mapping[str, str]
    shared: list[str]


Units = dict[Hashable, float]


def per_prompt(measured: Measured, contestant: str, metric: str) -> Units:
    """The value of each prompt, its seeds averaged; NaN where it has none."""
    mine = [video for video in measured.videos if video.contestant == contestant]
    values = measured.results[contestant][metric].per_video
    return averaged(
        (video.prompt for video in mine),
        (values.get(video.video_id, math.nan) for video in mine),
    )


def digests(measured: Measured, metric: str) -> dict[str, str]:
    """What a metric's values depend on, by contestant, as eight hex digits."""
    return {
        contestant: digest(dict(results[metric].provenance))
        for contestant, results in measured.results.items()
    }


def contest(measured: Measured) -> Contest:
    """Compare every two contestants; values of different provenance are never set side by side.

    Where they differ because a contestant lacks a prompt of the set, common prompts are compared.
    """
    whole, measured = (
        measured,
        replace(
            measured,
            results={
                name: {**results, **measured.common.get(name, {})}
                for name, results in measured.results.items()
            },
        ),
    )
    found: list[tuple[str, str, str, Comparison]] = []
    places, refused = {}, {}
    names = measured.contestants
    for metric, first in measured.results[names[0]].items():
        told = digests(measured, metric)
        if len(set(told.values())) > 1:
            each = ", ".join(f"{one}: {code}" for one, code in told.items())
            refused[metric] = f"contestants were measured differently (provenance {each})"
            continue
        values = {name: per_prompt(measured, name, metric) for name in names}
        better = first.higher_is_better
        for one, other in combinations(names, 2):
            found.append((metric, one, other, compare(values[one], values[other], better)))
        if better is not None:
            places[metric] = standings(values, better)
    corrected = holm([comparison.p for *_, comparison in found])
    duels = [Duel(*duel, p) for duel, p in zip(found, corrected, strict=True)]
    shared = [name for name in whole.common.get(names[0], {}) if name not in refused]
    return Contest(duels, places, refused, shared)
