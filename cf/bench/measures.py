"""The metrics of a benchmark: fed together, kept as states, and read again when all is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from cf.bench.contestants.base import Piece
from cf.bench.tasks.base import Known, Sample, Task, texts_by_prompt
from cf.evaluation.named_metrics import forget_extractors, metrics_of
from cf.metrics.base import VideoMetric, groups
from cf.metrics.scored import Fault
from cf.settings.build import Settings

States = dict[str, Tensor]
"""Of all metrics, by names that tell their measurements: who shares one shares its states."""


def build_metrics(
    settings: Mapping[str, Settings], items: Iterable[Sample]
) -> dict[str, VideoMetric]:
    """Build metrics, by their own names; those with `texts: null` get the texts of `items`.

    Raises:
        ValueError: if two have one name, or one's weights are missing.
    """
    metrics, _ = metrics_of(settings, texts_by_prompt(items))
    return {metric.name: metric for metric in metrics.values()}


def fresh_metrics(settings: Mapping[str, Settings], item: Sample) -> dict[str, VideoMetric]:
    """As `build_metrics` for one video, built once for all that this process makes, and reset.

    Raises:
        ValueError: if two have one name, or one's weights are missing.
    """
    tells = any("texts" in options and options["texts"] is None for options in settings.values())
    metrics = _kept(json.dumps(settings), item if tells else None)
    for metric in metrics.values():
        metric.reset()
    return metrics


@lru_cache(1)
def _kept(settings: str, item: Sample | None) -> dict[str, VideoMetric]:
    return build_metrics(json.loads(settings), [] if item is None else [item])


@dataclass(frozen=True)
class MetricChoice:
    """Which of the metrics that the settings name can be measured.

    Attributes:
        settings: of those that can, by their names in the settings.
        names: their own names.
        unavailable: why the others cannot.
    """

    settings: dict[str, Settings]
    names: dict[str, str]
    unavailable: dict[str, str]


def choose_metrics(settings: Mapping[str, Settings], asked: Task) -> MetricChoice:
    """The metrics whose weights are at hand, and whose truth `asked` knows.

    Raises:
        ValueError: if two metrics have one name.
    """
    absent = (ValueError, OSError, ImportError)
    texts, known_names = texts_by_prompt(asked.items()), asked.known_names()
    metrics, unavailable = metrics_of(settings, texts, known_names, absent)
    forget_extractors()  # the processes that make videos read their own
    names = {key: metric.name for key, metric in metrics.items()}
    return MetricChoice({key: settings[key] for key in metrics}, names, unavailable)


@dataclass
class Panel:
    """All metrics of one video, whose frames come once and in order.

    Attributes:
        known: what is known of the frames from one up to another.
        refused: why metrics did not take the video, by their names; the others go on.
    """

    metrics: Mapping[str, VideoMetric]
    item: Sample
    fps: float
    known: Callable[[int, int], Known]
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._groups = groups(self.metrics.values())
        self._leaders = [group[0] for group in self._groups]

    def update(self, frames: Piece, start: int, boundaries: Sequence[int] | None) -> None:
        """Feed the next frames to every metric."""
        facts = self.known(start, start + len(frames))
        for rows, prompt_id in self._acts(start, len(frames)):
            for group in self._groups:
                metric = group[0]
                if metric.name in self.refused:
                    continue
                try:
                    metric.update(
                        frames[rows],
                        self.item.video_id,
                        start + rows.start,
                        fps=self.fps,
                        prompt_id=prompt_id,
                        seed=self.item.seed,
                        boundaries=boundaries,
                        reference=None if facts.reference is None else facts.reference[rows],
                        truth={name: truth[rows] for name, truth in facts.truth.items()},
                    )
                except ValueError as error:
                    self._refuse(group, start + rows.start, str(error))

    def _refuse(self, group: Sequence[VideoMetric], frame: int, reason: str) -> None:
        """Note that a metric, and those that share its measurement, have no value from here on."""
        group[0].fail(self.item.video_id, frame, Fault.REFUSED)
        self.refused |= dict.fromkeys((metric.name for metric in group), reason)

    def _acts(self, start: int, count: int) -> Iterator[tuple[slice, int]]:
        """The rows of each prompt among the next `count` frames, with the prompt's number."""
        acts = self.item.acts()
        begins = [round(act.seconds * self.fps) - start for act in acts]
        for act, (first, stop) in zip(acts, pairwise([*begins, count]), strict=True):
            rows = slice(max(first, 0), min(stop, count))
            if rows.start < rows.stop:
                yield rows, act.prompt_id

    def fail(self, frame: int, fault: Fault) -> None:
        """Note that no more frames will come, and why."""
        for metric in self._leaders:
            metric.fail(self.item.video_id, frame, fault)

    def settle(self) -> None:
        """Measure the video to its end, so that little of it is kept."""
        for metric in self._leaders:
            metric.settle()

    def states(self) -> States:
        """A copy of all states, which later frames do not change."""
        return states_of(self._leaders)


def states_of(metrics: Iterable[VideoMetric]) -> States:
    """A copy of the metrics' states; metrics with equal measurements share one."""
    return {
        name: dim_zero_cat(value).clone()
        for metric in metrics
        for name, value in metric.metric_state.items()
    }


def restored(
    settings: Mapping[str, Settings], items: Iterable[Sample], states: Sequence[States]
) -> dict[str, VideoMetric]:
    """Build metrics and give them the states of videos, in order."""
    metrics = build_metrics(settings, items)
    for first, *others in groups(metrics.values()):
        for state in states:
            first.merge_state({name: [state[name]] for name in first.metric_state})
        first.settle()
        for other in others:
            other.take_over(first)
    return metrics
