"""All jobs of a benchmark, over processes; whatever happens, what is finished is kept."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from tqdm import tqdm

from cf.bench.job import Job, record_failure, run_job
from cf.bench.store import Store
from cf.system.processes import Died, spread

log = logging.getLogger("cf.benchmark")

_device = "cpu"


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
            done = ((job, run_job(job, store, devices[0], provenance)) for job in todo)
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
    with closing(spread(doing, jobs, workers, partial(_begin, list(devices)))) as done:
        for job, status in done:
            if isinstance(status, Died):
                reason = f"its process died three times ({status.reason})"
                record_failure(job, store, reason, provenance)
                yield job, reason
            else:
                yield job, status


def _begin(devices: Sequence[str], number: int) -> None:
    global _device
    _device = devices[number % len(devices)]


def _work(job: Job, store: Store, provenance: Mapping[str, Any]) -> str:
    return run_job(job, store, _device, provenance)


def rows_of(jobs: Sequence[Job], store: Store) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Finished jobs with their rows, in the order of `jobs`."""
    for job in jobs:
        row = _row(job, store)
        if row is not None:
            yield job, row
