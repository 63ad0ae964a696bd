"""A video of a benchmark while it is made: its frames measured, hashed, and perhaps kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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


class VideoRecorder:
    """Measures the frames of a job's video while it is made, and writes what is found of it.

    Attributes:
        take: what it is asked for.
        done: frames so far.
        read: of each duration that was reached: its frames, their hash, and the metrics' refusals.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        """Before its first frame.

        Args:
            job: whose video it is.
            folder: where row, states, sheet and video are written.
        """
        self.job, self.folder, self.take = job, folder, request_of(job)
        self.done = 0
        self.read: dict[float, dict[str, Any]] = {}
        task, _ = _asked(json.dumps(job.asked))
        facts_of = partial(task.known, self.take.film, self.take.given)
        metrics = fresh_metrics(job.metrics, job.item)
        self._panel = Panel(metrics, job.item, job.terms.fps, facts_of)
        self._sha = hashlib.sha256()
        self._states: dict[float, States] = {}
        self._sheet: list[torch.Tensor] = []
        self._writer: VideoWriter | None = None
        if job.keep_video:
            scale = max(256 // max(job.terms.size), 1)
            self._writer = VideoWriter(folder / VIDEO, job.terms.fps, job.terms.size, scale)

    def feed(self, frames: Piece, marks: Sequence[int] | None) -> None:
        """Measure the next frames, in which blocks begin at `marks`, and read where durations end.

        Raises:
            ValueError: frames have another size than the terms say.
        """
        if tuple(frames.shape[-2:]) != tuple(self.take.terms.size):
            raise ValueError(
                f"frames are {tuple(frames.shape[-2:])} pixels, the terms say "
                f"{self.take.terms.size}"
            )
        remaining = frames
        for seconds, stop in self._stops().items():
            if seconds in self.read:
                continue
            part, remaining = remaining[: stop - self.done], remaining[stop - self.done :]
            self._measure(part, marks)
            if self.done == stop:
                self._snapshot(seconds, "done", "")
        if self._writer is not None:
            self._writer.write(frames.nan_to_num(0))

    def failure(self) -> Exception | None:
        """What went wrong with frames that were fed; here that is raised at once."""
        return None

    def finish(self, status: str, reason: str, told: Mapping[str, Any]) -> None:
        """No more frames come: write the row, the metrics' states, the sheet and the video.

        Durations that were not reached are failures, with the reason.
        """
        if status != "done":
            self._panel.fail(self.done, Fault.NOT_GENERATED)
            for seconds in self._stops():
                if seconds not in self.read:
                    self._snapshot(seconds, status, reason)
        if self._writer is not None and self.done:
            self._writer.close()
        self._write(status, reason, told)

    def close(self) -> None:
        """Let go of the video's file, however far it came."""
        try:
            if self._writer is not None:
                self._writer.close()
        except ValueError:  # it holds no frame, and is gone
            return

    def _stops(self) -> dict[float, int]:
        """The frame at which each duration ends."""
        fps, end = self.take.terms.fps, self.take.frames
        return {seconds: min(max(round(seconds * fps), 1), end) for seconds in self.job.durations}

    def _measure(self, frames: Piece, marks: Sequence[int] | None) -> None:
        if not len(frames):
            return
        # What people see and what is hashed is bytes; what is measured is what was made.
        pixels = (frames.nan_to_num(0).clamp(0, 1) * 255).round().to(torch.uint8)
        self._sha.update(pixels.numpy().tobytes())
        frames = torch.where(frames.isfinite(), frames.clamp(0, 1), frames)
        self._panel.update(frames, self.done, marks)
        shown = self._shown()
        self._sheet += [p for i, p in enumerate(pixels, self.done) if i in shown]
        self.done += len(frames)

    def _shown(self) -> list[int]:
        """The frames of the contact sheet, evenly spread."""
        last = self.take.frames - 1
        return sorted({round(i * last / (_SHOWN - 1)) for i in range(_SHOWN)})

    def _snapshot(self, seconds: float, status: str, reason: str) -> None:
        self.read[seconds] = {
            "frames": self.done,
            "frames_sha256": self._sha.hexdigest(),
            "status": status,
            "reason": reason,
            "refused": dict(self._panel.refused),
        }
        if seconds == self.job.durations[-1]:
            self._panel.settle()
        self._states[seconds] = self._panel.states()

    def _write(self, status: str, reason: str, extra: Mapping[str, Any]) -> None:
        job, fps = self.job, self.job.terms.fps
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
            "given_frames": self.take.given,
            "durations": {f"{seconds:g}": read for seconds, read in self.read.items()},
            "weights_sha256": job.fingerprint,
            **extra,
        }
        if self._sheet:
            frames = torch.stack(self._sheet).float() / 255
            labels = [f"{frame / fps:.1f} s" for frame in self._shown()[: len(frames)]]
            sheet = self.folder / SHEET
            contact_sheet(frames, sheet, columns=_SHOWN, labels=labels, most_width=160)
        torch.save(self._states, self.folder / STATES)
        (self.folder / ROW).write_text(json.dumps(row, indent=1) + "\n")


def request_of(job: Job) -> Request:
    """What a contestant is asked for."""
    (task, items), fps = _asked(json.dumps(job.asked)), job.terms.fps
    frames = job.frames()
    given_frames = min(task.given_frames(job.item, fps), frames)
    film = task.film(job.item, frames + SLACK)
    return Request(job.item, job.terms, frames, given_frames, film, items)


@lru_cache(2)
def _asked(settings: str) -> tuple[Task, tuple[Sample, ...]]:
    """A task, and all videos that it asks for."""
    task: Task = build(json.loads(settings), "asked")
    return task, tuple(task.items())
