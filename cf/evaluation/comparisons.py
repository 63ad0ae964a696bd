"""Contestants compared on the prompts that they share, metric by metric."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cf.evaluation.gates import Failing, Gate
from cf.evaluation.measure import Measured
from cf.stats.paired import Pair, Standing, compare_pairs, seed_means, standings


@dataclass(frozen=True)
class Comparisons:
    """All contestants under all metrics that can be compared.

    Attributes:
        pairs: of every pair under every metric.
        places: metric -> standings, best first.
        refused: metric -> why its values must not be compared.
        shared: metrics of sets that were scored anew on the prompts that all contestants have.
        gates: bounds that real clips keep.
        ungated: keys of gates whose metrics were not measured.
        failing: contestant -> its prompts that fail a gate.
    """

    pairs: list[Pair]
    places: Mapping[str, list[Standing]]
    refused: Mapping[str, str]
    shared: list[str]
    gates: Sequence[Gate] = ()
    ungated: Sequence[str] = ()
    failing: Mapping[str, Failing] = field(default_factory=dict)

    def gates_in_words(self) -> list[str]:
        """What a gate is here, and which were not measured: a sentence or two each, or none."""
        sentences = []
        if self.gates:
            sentences.append(
                f"Gates, which most real clips pass: {'; '.join(map(str, self.gates))}. Nothing is "
                f"ruled out here: a prompt that fails one counts in means and places."
            )
        if self.ungated:
            sentences.append(f"Gates that were not measured: {', '.join(self.ungated)}.")
        return sentences


Units = dict[Hashable, float]


def per_prompt(measured: Measured, contestant: str, metric: str) -> Units:
    """The value of each prompt, its seeds averaged; NaN where it has none."""
    videos = [video for video in measured.videos if video.contestant == contestant]
    values = measured.results[contestant][metric].per_video
    return seed_means(
        (video.prompt for video in videos),
        (values.get(video.video_id, math.nan) for video in videos),
    )


def digests(measured: Measured, metric: str) -> dict[str, str]:
    """What a metric's values depend on, by contestant, as eight hex digits."""
    return {
        contestant: results[metric].digest() for contestant, results in measured.results.items()
    }


def compare_all(
    measured: Measured, gates: Sequence[Gate] = (), ungated: Sequence[str] = ()
) -> Comparisons:
    """Compare every two contestants; values of different provenance are never set side by side.

    Where they differ because a contestant lacks a prompt of the set, common prompts are compared.

    Args:
        measured: every metric of every contestant.
        gates: by whose bounds prompts are judged; they cost no place.
        ungated: keys of gates whose metrics were not measured.
    """
    full, measured = (
        measured,
        replace(
            measured,
            results={
                name: {**results, **measured.common.get(name, {})}
                for name, results in measured.results.items()
            },
        ),
    )
    values: dict[str, dict[str, Units]] = {}
    better: dict[str, bool | None] = {}
    refused = {}
    names = measured.contestants
    for metric, first in measured.results[names[0]].items():
        codes = digests(measured, metric)
        if len(set(codes.values())) > 1:
            listed = ", ".join(f"{name}: {code}" for name, code in codes.items())
            refused[metric] = f"contestants were measured differently (provenance {listed})"
            continue
        values[metric] = {name: per_prompt(measured, name, metric) for name in names}
        better[metric] = first.higher_is_better
    places = {
        metric: standings(of, up)
        for metric, of in values.items()
        if (up := better[metric]) is not None
    }
    shared = [name for name in full.common.get(names[0], {}) if name not in refused]
    failing = {
        name: Failing.of(
            gates, {gate.metric: per_prompt(full, name, gate.metric) for gate in gates}
        )
        for name in names
    }
    pairs = compare_pairs(values, better)
    return Comparisons(pairs, places, refused, shared, gates, ungated, failing)
