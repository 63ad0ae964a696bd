"""All jobs of a benchmark, over processes; whatever happens, what is finished is kept."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from cf.bench.job import Job, bury, work
from cf.bench.store import Store
from cf.files import DiskFullError

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

    Jobs that failed are tried again, as are those whose settings have changed. A process that dies
    takes others with it: all of them are tried again alone, and who dies twice alone has failed.

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
            for job in todo:
                _told(job, work(job, store, devices[0], provenance))
                bar.update()
            return
        dead = _parallel(todo, store, devices, provenance, workers, bar.update)
        for job in dead:
            attempts = (_parallel([job], store, devices, provenance, 1, bar.update) for _ in "12")
            if all(attempts):
                bury(job, store, "its process died twice: is there enough memory?", provenance)
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
    advance: Callable[[], object],
) -> list[Job]:
    """Those that were left undone because a process died."""
    context = multiprocessing.get_context("spawn")
    places = context.SimpleQueue()
    for i in range(workers):
        places.put(devices[i % len(devices)])
    pool = ProcessPoolExecutor(min(workers, max(len(jobs), 1)), context, _begin, (places,))
    running: dict[Future[str], Job] = {}
    try:
        for job in jobs:
            running[pool.submit(_work, job, store, provenance)] = job
        for done in as_completed(running):
            try:
                _told(running[done], done.result())
            except BrokenProcessPool:
                continue
            advance()
    except BrokenProcessPool:  # while handing jobs over
        pass
    except BaseException:  # somebody wants it to end now
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        places.close()
    return [job for job in jobs if _row(job, store) is None]


def _begin(places: Any) -> None:
    global _device
    _device = places.get()


def _work(job: Job, store: Store, provenance: Mapping[str, Any]) -> str:
    return work(job, store, _device, provenance)


def _told(job: Job, status: str) -> None:
    if status != "done":
        log.warning("%s, %s: %s", job.contestant, job.item.key, status)


def stopped(error: BaseException, jobs: Sequence[Job], store: Store) -> str:
    """What to tell whoever stopped it, or filled the disk."""
    kept = sum(finished(job, store) for job in jobs)
    what = "the disk is full" if isinstance(error, DiskFullError) else "stopped"
    return f"{what}; {kept} of {len(jobs)} videos are kept, and the same command goes on from there"


def rows_of(jobs: Sequence[Job], store: Store) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Finished jobs with their rows, in the order of `jobs`."""
    for job in jobs:
        row = _row(job, store)
        if row is not None:
            yield job, row
