"""The metrics of a benchmark: fed together, kept as states, and read again when all is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from cf.bench.contestants.base import Piece
from cf.bench.tasks.base import Item, Known
from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.scored import Fault
from cf.settings.build import Settings, build, check

States = dict[str, Tensor]
"""Of all metrics, by names that tell their measurements: who shares one shares its states."""


def build_metrics(
    settings: Mapping[str, Settings], items: Iterable[Item]
) -> dict[str, VideoMetric]:
    """The metrics by their own names, those with `texts: null` knowing the texts of `items`.

    Raises:
        ValueError: if two have one name, or one's weights are missing.
    """
    named: dict[str, VideoMetric] = {}
    texts = _texts(items)
    for key, one in settings.items():
        metric = _build(key, one, texts)
        if metric.name in named:
            raise ValueError(f"two metrics are named {metric.name}; give each once")
        named[metric.name] = metric
    return named


def usable(
    settings: Mapping[str, Settings], items: Iterable[Item], given: Sequence[str]
) -> tuple[dict[str, Settings], dict[str, str]]:
    """Those that can be had, and why the others cannot.

    Attributes:
        given: what is known of each frame: "reference" and names of truths.
    """
    fit: dict[str, Settings] = {}
    reasons: dict[str, str] = {}
    texts = _texts(items)
    for key, one in settings.items():
        if one is None:
            continue
        try:
            metric = _build(key, one, texts)
        except (ValueError, OSError, ImportError) as error:
            reasons[key] = str(error)
            continue
        lacking = [need for need in metric.measurement.needs if need not in given]
        if lacking:
            reasons[metric.name] = f"needs {', '.join(lacking)}, which nobody knows here"
        else:
            fit[key] = one
    _extractor.cache_clear()  # the processes that make videos read their own
    return fit, reasons


def _texts(items: Iterable[Item]) -> dict[int, str]:
    return {act.prompt_id: act.text for item in items for act in item.acts() if act.text}


def _build(key: str, one: Settings, texts: Mapping[int, str]) -> VideoMetric:
    more: dict[str, Any] = {}
    check(one, f"metrics.{key}")
    if isinstance(one.get("extractor"), dict):
        more["extractor"] = _extractor(json.dumps(one["extractor"], sort_keys=True))
    if "texts" in one and one["texts"] is None:
        more["texts"] = texts
    metric: VideoMetric = build(one, f"metrics.{key}", **more)
    return metric


@lru_cache(8)
def _extractor(settings: str) -> Extractor:
    """One for all metrics and videos of a process: weights are large, and it keeps no states."""
    made: Extractor = build(json.loads(settings), "extractor")
    return made


@dataclass
class Panel:
    """All metrics over one video, whose frames come once and in order.

    Attributes:
        known: what is known of the frames from one up to another.
        refused: why metrics did not take the video, by their names; the others go on.
    """

    metrics: Mapping[str, VideoMetric]
    item: Item
    fps: float
    known: Callable[[int, int], Known]
    refused: dict[str, str] = field(default_factory=dict)
    _leaders: list[VideoMetric] = field(default_factory=list)

    def __post_init__(self) -> None:
        shared = {tuple(sorted(one.metric_state)): one for one in self.metrics.values()}
        self._leaders = list(shared.values())

    def update(self, frames: Piece, start: int, boundaries: Sequence[int] | None) -> None:
        """The next frames."""
        known = self.known(start, start + len(frames))
        for rows, prompt_id in self._acts(start, len(frames)):
            for metric in self._leaders:
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
                        reference=None if known.reference is None else known.reference[rows],
                        truth={name: truth[rows] for name, truth in known.truth.items()},
                    )
                except ValueError as error:
                    self._refuse(metric, start + rows.start, str(error))

    def _refuse(self, metric: VideoMetric, frame: int, reason: str) -> None:
        """What a metric refuses has no value there, nor of those that share its measurement."""
        metric.fail(self.item.video_id, frame, Fault.REFUSED)
        key = metric.metric_state.keys()
        names = [name for name, one in self.metrics.items() if one.metric_state.keys() == key]
        self.refused |= dict.fromkeys(names, reason)

    def _acts(self, start: int, count: int) -> Iterator[tuple[slice, int]]:
        """Which of these frames are made for which prompt."""
        acts = self.item.acts()
        begins = [round(act.seconds * self.fps) - start for act in acts]
        for act, (first, stop) in zip(acts, pairwise([*begins, count]), strict=True):
            rows = slice(max(first, 0), min(stop, count))
            if rows.start < rows.stop:
                yield rows, act.prompt_id

    def fail(self, frame: int, fault: Fault) -> None:
        """No more frames will come."""
        for metric in self._leaders:
            metric.fail(self.item.video_id, frame, fault)

    def settle(self) -> None:
        """The video is over: what is kept of it is small, and measured to the end."""
        for metric in self._leaders:
            metric.settle()

    def states(self) -> States:
        """As they are now; what comes later leaves them alone."""
        return states_of(self._leaders)


def states_of(metrics: Iterable[VideoMetric]) -> States:
    """What these have seen, as it is now; those of equal measurements share theirs."""
    return {
        name: dim_zero_cat(value).clone()
        for metric in metrics
        for name, value in metric.metric_state.items()
    }


def restored(
    settings: Mapping[str, Settings], items: Iterable[Item], states: Sequence[States]
) -> dict[str, VideoMetric]:
    """Metrics that have seen all the videos whose states are given, in that order."""
    metrics = build_metrics(settings, items)
    leaders: dict[tuple[str, ...], VideoMetric] = {}
    for metric in metrics.values():
        names = tuple(sorted(metric.metric_state))
        if names in leaders:  # of equal measurements
            metric.take_over(leaders[names])
            continue
        leaders[names] = metric
        for one in states:
            metric.merge_state({name: [one[name]] for name in names})
        metric.settle()
    return metrics
