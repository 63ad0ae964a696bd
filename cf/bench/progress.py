"""A video of a benchmark while it is made: its frames measured, hashed, and perhaps kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from cf.bench.contestants.base import Piece
from cf.bench.measures import Panel, States, fresh_metrics
from cf.bench.store import ROW, SHEET, STATES, VIDEO, Job
from cf.bench.tasks.base import SLACK, Request, Sample, Task
from cf.metrics.scored import Fault
from cf.settings.build import build
from cf.video.sheet import contact_sheet
from cf.video.writer import VideoWriter

_SHOWN = 12  # frames of a contact sheet


@dataclass
class VideoInProgress:
    """A video in the making.

    Attributes:
        read: of each duration that was reached: its frames, their hash, and the metrics' states.
    """

    job: Job
    take: Request
    panel: Panel
    sha: Any = field(default_factory=hashlib.sha256)
    done: int = 0
    read: dict[float, dict[str, Any]] = field(default_factory=dict)
    states: dict[float, States] = field(default_factory=dict)
    sheet: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, job: Job) -> VideoInProgress:
        """Before its first frame."""
        take, asked = request_of(job), _asked(json.dumps(job.asked))
        known = partial(asked.known, take.film, take.given)
        metrics = fresh_metrics(job.metrics, job.item)
        return cls(job, take, Panel(metrics, job.item, job.terms.fps, known))

    def feed(self, frames: Piece, marks: Sequence[int] | None) -> None:
        """Feed the metrics, and read them wherever a duration ends.

        Raises:
            ValueError: frames have another size than the terms say.
        """
        if tuple(frames.shape[-2:]) != tuple(self.take.terms.size):
            raise ValueError(
                f"frames are {tuple(frames.shape[-2:])} pixels, the terms say "
                f"{self.take.terms.size}"
            )
        for seconds, stop in self.stops().items():
            if seconds in self.read:
                continue
            part, frames = frames[: stop - self.done], frames[stop - self.done :]
            self._feed(part, marks)
            if self.done == stop:
                self._snapshot(seconds, "done", "")

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


class VideoRecorder:
    """Measures the frames of a job's video, and writes what was found into a folder.

    Attributes:
        making: the video.
        take: what it is asked for.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.making = VideoInProgress.of(job)
        self.take = self.making.take
        self.folder = folder
        self._writer: VideoWriter | None = None
        if job.keep_video:
            scale = max(256 // max(job.terms.size), 1)
            self._writer = VideoWriter(folder / VIDEO, job.terms.fps, job.terms.size, scale)

    def feed(self, frames: Piece, marks: Sequence[int] | None) -> None:
        """The next frames, and at which of them blocks begin."""
        self.making.feed(frames, marks)
        if self._writer is not None:
            self._writer.write(frames.nan_to_num(0))

    def failure(self) -> Exception | None:
        """What went wrong with frames that were fed; here that is raised at once."""
        return None

    def finish(self, status: str, reason: str, told: Mapping[str, Any]) -> None:
        """No more frames come: write the row, the metrics' states, the sheet and the video."""
        if status != "done":
            self.making.fail_rest(status, reason, Fault.NOT_GENERATED)
        if self._writer is not None and self.making.done:
            self._writer.close()
        _write(self.folder, self.making, status, reason, told)

    def close(self) -> None:
        """Let go of the video's file, however far it came."""
        try:
            if self._writer is not None:
                self._writer.close()
        except ValueError:  # it holds no frame, and is gone
            return


def request_of(job: Job) -> Request:
    """What a contestant is asked for."""
    asked, fps = _asked(json.dumps(job.asked)), job.terms.fps
    frames = job.frames()
    given = min(asked.given_frames(job.item, fps), frames)
    film = asked.film(job.item, frames + SLACK)
    return Request(job.item, job.terms, frames, given, film, _items(json.dumps(job.asked)))


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


@lru_cache(2)
def _asked(settings: str) -> Task:
    made: Task = build(json.loads(settings), "asked")
    return made


@lru_cache(2)
def _items(settings: str) -> tuple[Sample, ...]:
    return tuple(_asked(settings).items())
