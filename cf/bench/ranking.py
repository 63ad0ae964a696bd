"""Ranking: headlines with intervals, behind gates that frozen and looping videos fail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from cf.bench.results import ContestantResults
from cf.evaluation.gates import Gate
from cf.stats.paired import Interval, compare_pairs, standings
from cf.stats.trainings import WHOLE, Unit, Values, aligned, mean_over_trainings, versus


@dataclass(frozen=True)
class Cell:
    """A contestant's value of one headline metric.

    Attributes:
        value: as the metric says over all its videos, gates or not.
        mean: over trainings if there are several, else over prompts, with its interval.
        ranked: mean in which prompts that fail a gate, or have no value, count as the worst.
        place: 1 is best; None: it is not ranked.
        note: why not, or what else must be known.
    """

    metric: str
    value: float
    mean: Interval
    ranked: float
    place: int | None
    note: str = ""

    @property
    def shown(self) -> float:
        """The mean, of which the interval is; the value of all videos where there is no mean.

        They differ where a metric's value is no mean: a median of times, a ratio of sums.
        """
        return self.mean.value if math.isfinite(self.mean.value) else self.value


@dataclass(frozen=True)
class Headline:
    """The table of one duration.

    Attributes:
        removed: prompts of each contestant that fail a gate, by gate; of each of its trainings.
        failing: prompts of each contestant that fail any.
        unmeasured: prompts of each contestant of which a gate was not measured, by gate. Such a
            gate neither passes nor fails; the others decide.
        reasons: why they were not, of most of these prompts; by contestant and gate.
        videos: prompts of each contestant, once for each of its trainings.
    """

    seconds: float
    metrics: Mapping[str, bool | None]
    cells: Mapping[str, Mapping[str, Cell]]
    removed: Mapping[str, Mapping[str, int]]
    failing: Mapping[str, int]
    videos: Mapping[str, int]
    gates: Sequence[Gate] = ()
    unmeasured: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    versus: list[dict[str, Any]] = field(default_factory=list)

    def not_measured(self, name: str) -> str:
        """The gates that were not measured of a contestant, of how many prompts, and why."""
        parts = [
            f"{gate}: {count}" + (f" ({why})" if (why := self.reasons[name][gate]) else "")
            for gate, count in self.unmeasured.get(name, {}).items()
            if count
        ]
        return "; ".join(parts)

    def order(self) -> list[str]:
        """Contestants, best first by the first headline; those without a place come last."""
        first = next(iter(self.metrics), "")

        def place(name: str) -> float:
            cell = self.cells[name].get(first)
            return math.inf if cell is None or cell.place is None else cell.place

        return sorted(self.cells, key=place)

    @property
    def prompts(self) -> int:
        """How many prompts every contestant has."""
        return min(self.videos.values(), default=0)


def headline(
    made: Mapping[str, ContestantResults],
    seconds: float,
    names: Sequence[str],
    gates: Sequence[Gate],
    unranked: Sequence[str] = (),
) -> Headline:
    """The table of one duration.

    A contestant of whose prompts fewer than half pass all gates is not ranked: what it is good at
    is not making video. In everyone else's ranking a prompt that fails a gate counts as the worst
    value that anyone had, for such values are not missing at random.
    """
    present = {
        name: contestant
        for name, contestant in made.items()
        if seconds in contestant.results and contestant.rows
    }
    metrics = {
        metric: next(iter(present.values())).results[seconds][metric].higher_is_better
        for metric in names
        if all(metric in contestant.results[seconds] for contestant in present.values())
    }
    all_units = {name: contestant.units() for name, contestant in present.items()}
    units = {
        metric: {name: contestant.per_unit(seconds, metric) for name, contestant in present.items()}
        for metric in dict.fromkeys([*metrics, *(gate.metric for gate in gates)])
    }
    passing, removed, unmeasured, reasons = {}, {}, {}, {}
    for name, own_units in all_units.items():
        passing[name], removed[name], open_ = _passing(
            name, own_units, present, seconds, gates, units
        )
        unmeasured[name] = {gate: len(units) for gate, (units, _) in open_.items()}
        reasons[name] = {gate: why for gate, (_, why) in open_.items()}
    videos = {name: len(own_units) for name, own_units in all_units.items()}
    failing = {name: videos[name] - len(good_units) for name, good_units in passing.items()}
    least = {name: len(good_units) >= failing[name] for name, good_units in passing.items()}
    fit = [name for name in present if least[name] and name not in unranked]
    fit_values = {metric: {name: units[metric][name] for name in fit} for metric in metrics}
    compared = _versus(fit_values, seconds, metrics)
    cells: dict[str, dict[str, Cell]] = {name: {} for name in present}
    for metric, better in metrics.items():
        values = units[metric]
        gated_values = {
            name: {u: v if _counts(u, passing[name]) else math.nan for u, v in values[name].items()}
            for name in fit
        }
        places = {} if better is None or not fit else _places(aligned(gated_values), better)
        for name, contestant in present.items():
            result = contestant.results[seconds][metric]
            place, ranked, note = places.get(name, (None, math.nan, ""))
            if name in unranked:
                note = "shown to compare with, not ranked"
            elif not least[name]:
                note = "fails the gates"
            remarks = (note, result.reasons.get(None, "") or result.why())
            note = "; ".join(remark for remark in remarks if remark)
            cells[name][metric] = Cell(
                metric, result.value, mean_over_trainings(values[name]), ranked, place, note
            )
    gate_fields = (removed, failing, videos, gates, unmeasured, reasons)
    return Headline(seconds, metrics, cells, *gate_fields, compared)


def _passing(
    name: str,
    units: Sequence[Unit],
    contestants: Mapping[str, ContestantResults],
    seconds: float,
    gates: Sequence[Gate],
    values: Mapping[str, Mapping[str, Values]],
) -> tuple[set[Unit], dict[str, int], dict[str, tuple[set[Unit], str]]]:
    """The units that fail no gate; per gate, how many fail, which have no value, and why."""
    good_units, removed, unmeasured = set(units), {}, {}
    for gate in gates:
        own_values = values[gate.metric][name]
        truth: Values = {} if gate.truth is None else values[gate.metric][gate.truth]
        verdicts = {
            unit: gate.holds(own_values.get(unit, math.nan) - truth.get((None, unit[1]), 0.0))
            for unit in units
        }
        failing = {unit for unit, holds in verdicts.items() if holds is False}
        removed[str(gate)] = len(failing)
        lacking = {unit for unit, holds in verdicts.items() if holds is None}
        unmeasured[str(gate)] = (
            lacking,
            _why(contestants[name], contestants, seconds, gate, lacking),
        )
        good_units -= failing
    return good_units, removed, unmeasured


def _why(
    contestant: ContestantResults,
    contestants: Mapping[str, ContestantResults],
    seconds: float,
    gate: Gate,
    lacking: Set[Unit],
) -> str:
    """The commonest reason why these prompts, or the truth's, have no value; empty: unknown."""
    for whose in (contestant, *([contestants[gate.truth]] if gate.truth is not None else [])):
        result = whose.results[seconds][gate.metric]
        jobs = [job for job in whose.jobs if (job.item.training, job.item.prompt) in lacking]
        counts = Counter(result.reasons.get(job.item.video_id, "") for job in jobs)
        reasons = [reason for reason, _ in counts.most_common() if reason]
        if reasons or None in result.reasons:
            reason = reasons[0] if reasons else result.reasons[None]
            return reason if whose is contestant else f"{gate.truth}: {reason}"
    return ""


def _counts(unit: Unit, passing: Set[Unit]) -> bool:
    """Gates are of prompts, and tell nothing of a value that belongs to all of them."""
    return unit in passing or unit[1] == WHOLE


def _places(values: Mapping[str, Values], better: bool) -> dict[str, tuple[int | None, float, str]]:
    return {
        standing.name: (standing.place, standing.ranked, "")
        if standing.mean.units
        else (None, math.nan, "no prompt has a value")
        for standing in standings(values, better)
    }


def _versus(
    values: Mapping[str, Mapping[str, Values]],
    seconds: float,
    metrics: Mapping[str, bool | None],
) -> list[dict[str, Any]]:
    """Every two ranked contestants on every headline, paired and corrected together."""
    return [
        {"seconds": seconds} | pair.row() | {"note": pair.comparison.note}
        for pair in compare_pairs(values, metrics, versus)
    ]
