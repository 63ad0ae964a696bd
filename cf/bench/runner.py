"""All jobs of a benchmark, over processes; finished jobs are kept whatever happens."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cf.bench.job import record_failure, run_job
from cf.bench.metric_process import MetricProcess
from cf.bench.places import Places
from cf.bench.store import Job, Store
from cf.files.counts import so_many
from cf.files.tables import number
from cf.system.processes import Died, spread
from cf.system.progress import progress

log = logging.getLogger("cf.benchmark")

_device = "cpu"
_estimate: TimeEstimate | None = None


@dataclass
class TimeEstimate:
    """How long all jobs take; the first process prints it once, after its first blocks.

    Attributes:
        videos, frames: that are still to be made.
        processes: that make them.
    """

    videos: int
    frames: int
    processes: int
    is_told: bool = False

    @classmethod
    def of(cls, jobs: Sequence[Job], processes: int) -> TimeEstimate:
        """The estimate before the first job begins."""
        return cls(len(jobs), sum(job.frames() for job in jobs), max(min(processes, len(jobs)), 1))

    def paced(self, job: Job, rate: float) -> None:
        """Print the estimate for a rate in frames per second, unless it was printed."""
        if not self.is_told:
            # Over the bar, which another process draws: tqdm's own lock would be left behind.
            sys.stderr.write(f"\rcf.benchmark: {self.told(job.contestant, rate)}\n")
        self.is_told = True

    def told(self, contestant: str, rate: float) -> str:
        """The estimate in words; `rate` in frames per second.

        >>> TimeEstimate(40, 40 * 960, 4).told("longlive", 12.0)
        '40 videos take about 13 min at the pace of longlive: 12 frames/s, measured, in each of 4'
        """
        seconds = self.frames / rate / self.processes
        unit, size = next(
            (unit, size)
            for unit, size in (("h", 3600), ("min", 60), ("s", 1))
            if seconds >= size or size == 1
        )
        processes = "" if self.processes == 1 else f", in each of {self.processes}"
        subject = f"{so_many(self.videos, 'video')} take{'s' * (self.videos == 1)}"
        return (
            f"{subject} about {seconds / size:.2g} {unit} at the pace of "
            f"{contestant}: {number(rate, '.3g')} frames/s, measured{processes}"
        )


@dataclass
class Failures:
    """Tells once why a contestant's videos were not made, and at the end how many there are."""

    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, job: Job, status: str) -> None:
        """Another job has ended."""
        if status == "done":
            return
        key = job.contestant, status
        if not self.seen[key]:
            log.warning("%s, %s: %s", job.contestant, job.item.key, status)
        self.seen[key] += 1

    def end(self) -> None:
        """All of them have."""
        for (contestant, status), count in self.seen.items():
            if count > 1:
                log.warning("%s: %s in all: %s", contestant, so_many(count, "video"), status)


@dataclass(frozen=True)
class Runner:
    """What all jobs of a benchmark have in common.

    Attributes:
        provenance: which code, libraries and machine; it stands in every row.
    """

    store: Store
    places: Places
    provenance: Mapping[str, Any]

    def unfinished(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that have no result, or failed, or whose settings have changed."""
        unfinished = [job for job in jobs if not self.store.finished(job)]
        if len(unfinished) < len(jobs):
            log.info("%d of %d videos are there already", len(jobs) - len(unfinished), len(jobs))
        return unfinished

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs; one whose process dies is tried again, the last time alone.

        Raises:
            DiskFullError: when no space is left; finished jobs are kept.
        """
        failures = Failures()
        statuses = self._serial(jobs) if self.places.workers == 0 else self._parallel(jobs)
        bar = progress(len(jobs), "benchmark", "videos", disable=not jobs)
        with bar as told_bar, closing(statuses):
            for job, status in statuses:
                failures.add(job, status)
                told_bar.update()
        failures.end()

    def _serial(self, jobs: Sequence[Job]) -> Generator[tuple[Job, str]]:
        paced = TimeEstimate.of(jobs, 1).paced
        place, apart = self.places.devices[0], self.places.apart
        try:
            for job in jobs:
                yield job, run_job(job, self.store, place, self.provenance, paced, apart)
        finally:
            MetricProcess.end()

    def _parallel(self, jobs: Sequence[Job]) -> Generator[tuple[Job, str]]:
        """Jobs and their status as they end; one whose processes died has failed."""
        workers = self.places.workers
        begin = partial(_begin, list(self.places.devices), TimeEstimate.of(jobs, workers))
        with closing(spread(self._work, jobs, workers, begin)) as statuses:
            for job, status in statuses:
                if isinstance(status, Died):
                    reason = f"its process died three times ({status.reason})"
                    record_failure(job, self.store, reason, self.provenance)
                    yield job, reason
                else:
                    yield job, status

    def _work(self, job: Job) -> str:
        """In a process of its own."""
        paced = _estimate.paced if _estimate else None
        return run_job(job, self.store, _device, self.provenance, paced, self.places.apart)


def _begin(devices: Sequence[str], estimate: TimeEstimate, number: int) -> None:
    global _device, _estimate
    _device = devices[number % len(devices)]
    _estimate = None if number else estimate
