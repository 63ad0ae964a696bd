"""Results of every contestant at every duration, from the states that jobs left."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cf.bench.measures import States, restored, states_of
from cf.bench.store import VIDEO, Job, Store
from cf.bench.tasks.base import Sample
from cf.metrics.result import Result
from cf.stats.paired import seed_means
from cf.stats.trainings import WHOLE, Unit

ByDuration = dict[float, dict[str, Result]]


@dataclass(frozen=True)
class ContestantResults:
    """The rows and results of a contestant.

    Attributes:
        rows: of its finished jobs.
        results: of every metric, by seconds of video.
        jobs: the videos that were asked of it.
        alone: results of each of its trainings, if there are several.
    """

    contestant: str
    rows: list[dict[str, Any]]
    results: Mapping[float, Mapping[str, Result]]
    jobs: list[Job] = field(default_factory=list)
    alone: Mapping[int, Mapping[float, Mapping[str, Result]]] = field(default_factory=dict)

    @property
    def longest(self) -> Mapping[str, Result]:
        """The results of the longest duration."""
        return self.results[max(self.results)]

    def units(self) -> list[Unit]:
        """Every training with every prompt, in order."""
        return list(dict.fromkeys((job.item.training, job.item.prompt) for job in self.jobs))

    def per_unit(self, seconds: float, metric: str) -> dict[Unit, float]:
        """A metric's value of each training and prompt, seeds averaged; NaN where it has none.

        What only a whole set has a value of, a horizon or a distance, has one for each training.
        """
        result = self.results[seconds][metric]
        overall: dict[Unit, float] = {
            (training, WHOLE): results[seconds][metric].value
            for training, results in self.alone.items()
        } or {(self.units()[0][0], WHOLE): result.value}
        nothing = all(map(math.isnan, result.per_video.values()))
        if nothing and any(map(math.isfinite, overall.values())):
            return overall
        values = [result.per_video.get(job.item.video_id, math.nan) for job in self.jobs]
        means: Any = seed_means([(job.item.training, job.item.prompt) for job in self.jobs], values)
        return typing.cast(dict[Unit, float], means)


def read_results(jobs: Sequence[Job], store: Store) -> dict[str, ContestantResults]:
    """Read the results of every contestant, by name.

    States are joined in the order of `jobs`, so that it does not matter which process did which.
    """
    contestants: dict[str, ContestantResults] = {}
    for name in dict.fromkeys(job.contestant for job in jobs):
        own_jobs = [job for job in jobs if job.contestant == name]
        rows, groups = [], dict[int | None, list[dict[float, States]]]()
        for job in own_jobs:
            row = store.row(job)
            if row is not None:
                rows.append(row)
                groups.setdefault(job.item.training, []).append(store.states(job))
        results, alone = _results(own_jobs, groups)
        contestants[name] = ContestantResults(name, rows, results, own_jobs, alone)
    return contestants


def _results(
    jobs: Sequence[Job], groups: Mapping[int | None, Sequence[Mapping[float, States]]]
) -> tuple[ByDuration, dict[int, ByDuration]]:
    """Results of all videos, and of each training alone if there are several."""
    results: ByDuration = {}
    alone: dict[int, ByDuration] = {}
    restore = partial(restored, jobs[0].metrics, [job.item for job in jobs])
    for seconds in jobs[0].durations:
        by_training = {
            number: restore([state[seconds] for state in states])
            for number, states in groups.items()
        }
        joined = restore([states_of(metrics.values()) for metrics in by_training.values()])
        results[seconds] = {key: metric.result() for key, metric in joined.items()}
        for number, metrics in by_training.items():
            if number is not None and len(by_training) > 1:
                read = {key: metric.result() for key, metric in metrics.items()}
                alone.setdefault(number, {})[seconds] = read
    return results, alone


def kept_videos(jobs: Sequence[Job], folder: Path) -> dict[str, dict[Sample, Path]]:
    """The video files that were kept, by contestant."""
    videos: dict[str, dict[Sample, Path]] = {}
    for job in jobs:
        file = Store(folder).folder(job.contestant, job.item.key) / VIDEO
        if file.is_file():
            videos.setdefault(job.contestant, {})[job.item] = file
    return videos
