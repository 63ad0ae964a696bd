"""One contestant makes one video, and all that is to be known of it is written down."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache
from typing import Any

from cf.bench.chunks import chunks
from cf.bench.contestants.base import Contestant
from cf.bench.cost import Stopwatch
from cf.bench.metric_process import MetricProcess, MetricProcessError
from cf.bench.places import set_up
from cf.bench.recorder import VideoRecorder
from cf.bench.store import Job, Store
from cf.bench.tasks.base import Request
from cf.files.atomic import disk_is_full
from cf.runs.on_card import used_up
from cf.settings.build import build

log = logging.getLogger("cf.benchmark")
_LESS = (
    "contestants.{name}.dtype=bfloat16, .codec.dtype=bfloat16 or a smaller .memory takes less, and "
    "so do fewer workers or devices=cpu; to count it: python -m cf.generate plan=true"
)
_TRIES = 3  # of a video whose measuring process dies


def run_job(
    job: Job,
    store: Store,
    device: str,
    provenance: Mapping[str, Any],
    paced: Callable[[Job, float], None] | None = None,
    apart: bool = False,
) -> str:
    """Do a job and write down what came of it; its status, with the reason if it is not "done".

    Args:
        job: a video of a contestant.
        store: where its files go.
        device: on which it is measured.
        provenance: what the numbers depend on besides the video.
        paced: is told, after the first blocks, how many frames a second are made and measured.
        apart: measure in a process of its own, which this one keeps for its next jobs. Should it
            die, the video is made again, three times at most.

    Raises:
        DiskFullError: no space is left.
    """
    set_up(device)
    fate = ""
    for _ in range(_TRIES if apart else 1):
        try:
            return _done(job, store, device, provenance, paced, apart)
        except MetricProcessError as error:
            fate = str(error)
            log.warning("%s, %s: %s; the video is made again", job.contestant, job.item.key, fate)
    reason = f"three times {fate}"
    record_failure(job, store, reason, provenance)
    return f"failed: {reason}"


def record_failure(job: Job, store: Store, reason: str, provenance: Mapping[str, Any]) -> None:
    """Write down that a job cannot be done: a row without a frame."""
    with store.writing(job) as folder:
        extra = {"prefix_valid": None, "cost": {}, **provenance}
        with closing(VideoRecorder(job, folder)) as recorder:
            recorder.finish("failed", reason, extra)


def _done(
    job: Job,
    store: Store,
    device: str,
    provenance: Mapping[str, Any],
    paced: Callable[[Job, float], None] | None,
    apart: bool,
) -> str:
    contestant = _built(json.dumps(job.settings))
    with store.writing(job) as folder:
        watch = Stopwatch(device)
        recorder: VideoRecorder | MetricProcess = (
            MetricProcess.begun(job, folder, device) if apart else VideoRecorder(job, folder)
        )
        with closing(recorder):
            status, reason = _made(job, contestant, recorder, watch, paced)
            extra = {"prefix_valid": contestant.causal, "cost": watch.report(), **provenance}
            if status == "done":  # else its network may be one that cannot be loaded
                extra["attention"] = contestant.kernel(recorder.take, device)
            recorder.finish(status, reason, extra)
    return f"{status}: {reason}" if reason else status


def _made(
    job: Job,
    contestant: Contestant,
    recorder: VideoRecorder | MetricProcess,
    watch: Stopwatch,
    paced: Callable[[Job, float], None] | None,
) -> tuple[str, str]:
    """Play to the end, or as far as it goes: the status and the reason."""
    take = recorder.take
    try:
        lacking = contestant.available(take)
        if lacking:
            return "missing", lacking
        count = _fed(job, contestant, take, recorder, watch, paced)
        if error := recorder.failure():
            raise error
    except Exception as raised:
        error = recorder.failure() or raised  # of frames that came before
        if disk_is_full(error) or isinstance(error, MetricProcessError):
            raise error from None
        if full := used_up(error):
            return "failed", f"{full}; {_LESS.format(name=job.contestant)}"
        return "failed", f"{type(error).__name__}: {error}".splitlines()[0]
    if count < take.frames:
        return "short", f"it ends after {count / take.terms.fps:.2f} s"
    return "done", ""


def _fed(
    job: Job,
    contestant: Contestant,
    take: Request,
    recorder: VideoRecorder | MetricProcess,
    watch: Stopwatch,
    paced: Callable[[Job, float], None] | None,
) -> int:
    """Hand over what is played; the number of frames."""
    count, began = 0, math.nan
    for frames, marks in chunks(contestant, take, watch, job.chunk_frames):
        recorder.feed(frames, marks)
        count += len(frames)
        now = time.perf_counter()
        if paced is not None and began < now:  # the first chunk has loading in it
            paced(job, len(frames) / (now - began))
            paced = None
        began = now
    return count


@lru_cache(2)
def _built(settings: str) -> Contestant:
    contestant: Contestant = build(json.loads(settings), "contestant")
    return contestant
