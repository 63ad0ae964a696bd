"""All jobs of a benchmark, over processes; whatever happens, what is finished is kept."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from cf.bench.job import Job, record_failure, run_job
from cf.bench.store import Store
from cf.system.processes import Died, spread

log = logging.getLogger("cf.benchmark")

_device = "cpu"
_estimate: TimeEstimate | None = None


@dataclass
class TimeEstimate:
    """How long all of it takes, told once: by the first process, after its first blocks.

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
        """Before any of them is begun."""
        return cls(len(jobs), sum(job.frames() for job in jobs), max(min(processes, len(jobs)), 1))

    def paced(self, job: Job, rate: float) -> None:
        """Tell it, at so many frames per second."""
        if not self.is_told:
            # Over the bar, which another process draws: tqdm's own lock would be left behind.
            sys.stderr.write(f"\rcf.benchmark: {self.told(job.contestant, rate)}\n")
        self.is_told = True

    def told(self, contestant: str, rate: float) -> str:
        """In words.

        >>> TimeEstimate(40, 40 * 960, 4).told("longlive", 12.0)
        '40 videos take about 13 min at the pace of longlive: 12 frames/s, measured, in each of 4'
        """
        seconds = self.frames / rate / self.processes
        unit, size = next(
            (unit, size)
            for unit, size in (("h", 3600), ("min", 60), ("s", 1))
            if seconds >= size or size == 1
        )
        each = "" if self.processes == 1 else f", in each of {self.processes}"
        return (
            f"{self.videos} videos take about {seconds / size:.2g} {unit} at the pace of "
            f"{contestant}: {rate:.3g} frames/s, measured{each}"
        )


def run(
    jobs: Sequence[Job],
    store: Store,
    devices: Sequence[str],
    provenance: Mapping[str, Any],
    workers: int,
) -> None:
    """Do what is not finished yet.

    Jobs that failed are tried again, as are those whose settings have changed. A job whose process
    dies is tried again, the last time alone, and has then failed.

    Attributes:
        devices: one for each process, in turn.
        workers: processes; 0: none, all in this one.

    Raises:
        DiskFullError: when no space is left; finished jobs are kept.
    """
    todo = [job for job in jobs if not finished(job, store)]
    if len(todo) < len(jobs):
        log.info("%d of %d videos are there already", len(jobs) - len(todo), len(jobs))
    with tqdm(total=len(todo), unit="video", desc="benchmark", disable=not todo) as bar:
        if workers == 0:
            paced = TimeEstimate.of(todo, 1).paced
            done = ((job, run_job(job, store, devices[0], provenance, paced)) for job in todo)
        else:
            done = _parallel(todo, store, devices, provenance, workers)
        with closing(done):
            for job, status in done:
                if status != "done":
                    log.warning("%s, %s: %s", job.contestant, job.item.key, status)
                bar.update()


def finished(job: Job, store: Store) -> bool:
    """Whether its row is there, of the same settings, and no failure."""
    row = _row(job, store)
    return row is not None and row["status"] != "failed"


def _row(job: Job, store: Store) -> dict[str, Any] | None:
    """Its row, unless it was made with other settings."""
    row = store.row(job.contestant, job.item.key)
    return row if row is not None and row["digest"] == job.digest() else None


def _parallel(
    jobs: Sequence[Job],
    store: Store,
    devices: Sequence[str],
    provenance: Mapping[str, Any],
    workers: int,
) -> Generator[tuple[Job, str]]:
    """Jobs and their status as they end; one whose processes died has failed."""
    doing = partial(_work, store=store, provenance=provenance)
    begin = partial(_begin, list(devices), TimeEstimate.of(jobs, workers))
    with closing(spread(doing, jobs, workers, begin)) as done:
        for job, status in done:
            if isinstance(status, Died):
                reason = f"its process died three times ({status.reason})"
                record_failure(job, store, reason, provenance)
                yield job, reason
            else:
                yield job, status


def _begin(devices: Sequence[str], estimate: TimeEstimate, number: int) -> None:
    global _device, _estimate
    _device = devices[number % len(devices)]
    _estimate = None if number else estimate


def _work(job: Job, store: Store, provenance: Mapping[str, Any]) -> str:
    return run_job(job, store, _device, provenance, _estimate.paced if _estimate else None)


def rows_of(jobs: Sequence[Job], store: Store) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Finished jobs with their rows, in the order of `jobs`."""
    for job in jobs:
        row = _row(job, store)
        if row is not None:
            yield job, row
