"""One contestant makes one video, and all that is to be known of it is written down."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from cf.bench.chunks import chunks
from cf.bench.contestants.base import Contestant, Piece
from cf.bench.cost import Stopwatch
from cf.bench.measures import Panel, States, build_metrics
from cf.bench.store import ROW, SHEET, STATES, VIDEO, Job, Store
from cf.bench.tasks.base import SLACK, Request, Sample, Task
from cf.files.atomic import disk_is_full
from cf.metrics.scored import Fault
from cf.settings.build import build
from cf.video.sheet import contact_sheet
from cf.video.writer import VideoWriter

_SHOWN = 12  # frames of a contact sheet


@dataclass
class VideoInProgress:
    """A video in the making.

    Attributes:
        writer: of the file, if one is kept.
        read: of each duration that was reached: its frames, their hash, and the metrics' states.
    """

    job: Job
    take: Request
    panel: Panel
    writer: VideoWriter | None = None
    sha: Any = field(default_factory=hashlib.sha256)
    done: int = 0
    read: dict[float, dict[str, Any]] = field(default_factory=dict)
    states: dict[float, States] = field(default_factory=dict)
    sheet: list[torch.Tensor] = field(default_factory=list)

    def feed(self, frames: Piece, marks: Sequence[int] | None) -> None:
        """Feed the metrics, read them wherever a duration ends, and write the file.

        Raises:
            ValueError: frames have another size than the terms say.
        """
        if tuple(frames.shape[-2:]) != tuple(self.take.terms.size):
            raise ValueError(
                f"frames are {tuple(frames.shape[-2:])} pixels, the terms say "
                f"{self.take.terms.size}"
            )
        rest = frames
        for seconds, stop in self.stops().items():
            if seconds in self.read:
                continue
            part, rest = rest[: stop - self.done], rest[stop - self.done :]
            self._feed(part, marks)
            if self.done == stop:
                self._snapshot(seconds, "done", "")
        if self.writer is not None:
            self.writer.write(frames.nan_to_num(0))

    def fail_rest(self, status: str, reason: str, fault: Fault) -> None:
        """Durations that were not reached are failures, with the reason."""
        self.panel.fail(self.done, fault)
        for seconds in self.stops():
            if seconds not in self.read:
                self._snapshot(seconds, status, reason)

    def stops(self) -> dict[float, int]:
        """The frame at which each duration ends."""
        fps, end = self.take.terms.fps, self.take.frames
        return {seconds: min(max(round(seconds * fps), 1), end) for seconds in self.job.durations}

    def _feed(self, frames: Piece, marks: Sequence[int] | None) -> None:
        if not len(frames):
            return
        # What people see and what is hashed is bytes; what is measured is what was made.
        pixels = (frames.nan_to_num(0).clamp(0, 1) * 255).round().to(torch.uint8)
        self.sha.update(pixels.numpy().tobytes())
        frames = torch.where(frames.isfinite(), frames.clamp(0, 1), frames)
        self.panel.update(frames, self.done, marks)
        last = self.take.frames - 1
        shown = {round(i * last / (_SHOWN - 1)) for i in range(_SHOWN)}
        self.sheet += [p for i, p in enumerate(pixels, self.done) if i in shown]
        self.done += len(frames)

    def _snapshot(self, seconds: float, status: str, reason: str) -> None:
        self.read[seconds] = {
            "frames": self.done,
            "frames_sha256": self.sha.hexdigest(),
            "status": status,
            "reason": reason,
            "refused": dict(self.panel.refused),
        }
        if seconds == self.job.durations[-1]:
            self.panel.settle()
        self.states[seconds] = self.panel.states()


def run_job(
    job: Job,
    store: Store,
    device: str,
    provenance: Mapping[str, Any],
    paced: Callable[[Job, float], None] | None = None,
) -> str:
    """Do a job and write down what came of it; its status.

    Attributes:
        paced: is told, after the first blocks, how many frames a second are made and measured.

    Raises:
        DiskFullError: no space is left.
    """
    if device == "cpu":  # sums differ with the number of threads
        torch.set_num_threads(1)
    elif device.startswith("cuda:"):  # a metric's device `cuda` is then that of this process
        torch.cuda.set_device(device)
    contestant, asked = _built(json.dumps(job.settings)), _asked(json.dumps(job.asked))
    with store.writing(job) as folder, ExitStack() as stack:
        watch, making = Stopwatch(device), _start(job, asked)
        if job.keep_video:
            scale = max(256 // max(job.terms.size), 1)
            making.writer = VideoWriter(folder / VIDEO, job.terms.fps, job.terms.size, scale)
            stack.callback(_close, making.writer)
        status, reason = _make(contestant, making, watch, paced)
        if making.writer is not None and making.done:
            making.writer.close()
        told = {"prefix_valid": contestant.causal, "cost": watch.report(), **provenance}
        _write(folder, making, status, reason, told)
    return status


def record_failure(job: Job, store: Store, reason: str, provenance: Mapping[str, Any]) -> None:
    """Write down that a job cannot be done: a row without a frame."""
    with store.writing(job) as folder:
        making = _start(job, _asked(json.dumps(job.asked)))
        making.fail_rest("failed", reason, Fault.NOT_GENERATED)
        _write(folder, making, "failed", reason, {"prefix_valid": None, "cost": {}, **provenance})


def _write(
    folder: Path, making: VideoInProgress, status: str, reason: str, told: Mapping[str, Any]
) -> None:
    job, fps = making.job, making.job.terms.fps
    row = {
        "contestant": job.contestant,
        "item": job.item.key,
        "prompt": job.item.prompt,
        "seed": job.item.seed,
        "script": job.item.script,
        "status": status,
        "reason": reason,
        "digest": job.digest(),
        "fps": fps,
        "size": list(job.terms.size),
        "given_frames": making.take.given,
        "durations": {f"{seconds:g}": read for seconds, read in making.read.items()},
        "weights_sha256": job.fingerprint,
        **told,
    }
    if making.sheet:
        frames = torch.stack(making.sheet).float() / 255
        last = making.take.frames - 1
        marks = sorted({round(i * last / (_SHOWN - 1)) for i in range(_SHOWN)})[: len(frames)]
        labels = [f"{mark / fps:.1f} s" for mark in marks]
        contact_sheet(frames, folder / SHEET, columns=_SHOWN, labels=labels, most_width=160)
    torch.save(making.states, folder / STATES)
    (folder / ROW).write_text(json.dumps(row, indent=1) + "\n")


def _start(job: Job, asked: Task) -> VideoInProgress:
    fps = job.terms.fps
    frames = job.frames()
    given = min(asked.given_frames(job.item, fps), frames)
    film = asked.film(job.item, frames + SLACK)
    take = Request(job.item, job.terms, frames, given, film, _items(json.dumps(job.asked)))
    known = partial(asked.known, film, given)
    panel = Panel(build_metrics(job.metrics, [job.item]), job.item, fps, known)
    return VideoInProgress(job, take, panel)


def _make(
    contestant: Contestant,
    making: VideoInProgress,
    watch: Stopwatch,
    paced: Callable[[Job, float], None] | None,
) -> tuple[str, str]:
    """Play to the end, or as far as it goes: the status and the reason."""
    job, take, began = making.job, making.take, math.nan
    try:
        lacking = contestant.available(take)
        if lacking:
            making.fail_rest("missing", lacking, Fault.NOT_GENERATED)
            return "missing", lacking
        for frames, marks in chunks(contestant, take, watch, job.chunk_frames):
            making.feed(frames, marks)
            now = time.perf_counter()
            if paced is not None and began < now:  # the first chunk has loading in it
                paced(job, len(frames) / (now - began))
                paced = None
            began = now
    except Exception as error:
        if disk_is_full(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        making.fail_rest("failed", reason, Fault.NOT_GENERATED)
        return "failed", reason
    if making.done < take.frames:
        reason = f"it ends after {making.done / take.terms.fps:.2f} s"
        making.fail_rest("short", reason, Fault.NOT_GENERATED)
        return "short", reason
    return "done", ""


def _close(writer: VideoWriter) -> None:
    try:
        writer.close()
    except ValueError:  # it holds no frame, and is gone
        return


@lru_cache(2)
def _built(settings: str) -> Contestant:
    made: Contestant = build(json.loads(settings), "contestant")
    return made


@lru_cache(2)
def _asked(settings: str) -> Task:
    made: Task = build(json.loads(settings), "asked")
    return made


@lru_cache(2)
def _items(settings: str) -> tuple[Sample, ...]:
    return tuple(_asked(settings).items())
