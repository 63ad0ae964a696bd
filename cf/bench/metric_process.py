"""The metrics of a benchmark in a process beside the one that generates."""

from __future__ import annotations

import pickle
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from cf.bench.contestants.base import Piece
from cf.bench.places import set_up
from cf.bench.recorder import VideoRecorder, request_of
from cf.bench.store import Job
from cf.bench.tasks.base import Request
from cf.files.atomic import DiskFullError, disk_is_full
from cf.system.processes import end, end_with_parent, fate, spawned, told_of

_SLOTS = 2  # one is measured while the next is filled
_LARGEST_SLOT = 2**28  # bytes; a chunk that is larger comes in several parts
_CHANNELS = 3
_Part = tuple[int, tuple[int, ...], bool]


class MetricProcessError(Exception):
    """The process that measures has died; what it measured of the video at hand is lost."""


class MetricProcess:
    """Does what a `cf.bench.recorder.VideoRecorder` does, while this process makes the next frames.

    Frames go through shared memory of a fixed size, in which there is room for two chunks: whoever
    generates faster than can be measured waits. They go as they were made, in floats, so that rows
    are the same bit for bit. One process serves all jobs that the one that began it does.

    Attributes:
        take: what the video at hand is asked for.
        slot: bytes of the room for one chunk.
        device: of the process that generates; metrics on a GPU are on the same one.
    """

    _kept: ClassVar[MetricProcess | None] = None

    def __init__(self, slot: int, device: str) -> None:
        self.slot, self.device = slot, device
        self._memory = get_context("spawn").RawArray("b", _SLOTS * slot)
        self._process, self._pipe = spawned(_serve, self._memory, slot, device, daemon=True)
        self._open: deque[int | None] = deque()
        self._free = list(range(_SLOTS))
        self._failure: Exception | None = None
        self.take: Request

    @classmethod
    def begun(cls, job: Job, folder: Path, device: str) -> MetricProcess:
        """The one that this process keeps, with room for the chunks of a job, which it begins.

        Raises:
            MetricProcessError: the process has died.
        """
        height, width = job.terms.size
        rows = job.chunk_frames + (job.terms.block_frames or job.chunk_frames)
        frame = 4 * _CHANNELS * height * width
        slot = max(min(rows * frame, _LARGEST_SLOT), frame)
        if cls._kept is None or cls._kept.slot < slot or cls._kept.device != device:
            cls.end()
            cls._kept = cls(slot, device)
        process = cls._kept
        process._drain()
        process._failure, process.take = None, request_of(job)
        process._ask("begin", job, folder)
        process._drain()
        if process._failure is not None:
            raise process._failure
        return process

    @classmethod
    def end(cls) -> None:
        """End the one that is kept, if any."""
        if cls._kept is not None:
            with suppress(OSError):
                cls._kept._process.terminate()
            end(cls._kept._process, cls._kept._pipe)
            cls._kept = None

    def feed(self, frames: Piece, marks: Sequence[int] | None) -> None:
        """The next frames, and at which of them blocks begin; waits while there is no room.

        Raises:
            MetricProcessError: the process has died.
            Exception: that frames before these could not be measured.
        """
        rows = max(self.slot // (4 * frames[0].numel()), 1)
        parts = frames.split(rows)
        for number, part in enumerate(parts, 1):
            while not self._free:
                self._hear()
            at = self._free.pop()
            _room(self._memory, self.slot, at, part.shape).copy_(part)
            self._ask("feed", (at, tuple(part.shape), number == len(parts)), marks, slot=at)
        while self._pipe.poll():
            self._hear()
        if self._failure is not None:
            raise self._failure

    def failure(self) -> Exception | None:
        """What went wrong with frames that were fed, once all of them are measured."""
        try:
            self._drain()
        except MetricProcessError as error:
            return error
        return self._failure

    def finish(self, status: str, reason: str, told: Mapping[str, Any]) -> None:
        """No more frames come: have all of it written.

        Raises:
            MetricProcessError: the process has died.
            DiskFullError: no space is left.
        """
        self._drain()
        self._failure = None
        self._ask("finish", status, reason, dict(told))
        self._drain()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Let go of the video at hand."""
        with suppress(MetricProcessError):
            self._drain()
            self._ask("close")
            self._drain()

    def _ask(self, what: str, *args: Any, slot: int | None = None) -> None:
        self._open.append(slot)
        try:
            self._pipe.send_bytes(pickle.dumps((what, args)))
        except OSError:
            self._died()

    def _drain(self) -> None:
        while self._open:
            self._hear()

    def _hear(self) -> None:
        """Wait for the answer to the oldest question."""
        try:
            error, _ = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            self._died()
        slot = self._open.popleft()
        if slot is not None:
            self._free.append(slot)
        self._failure = self._failure or error

    def _died(self) -> NoReturn:
        self._open.clear()
        cause = fate(self._process, self._pipe)
        type(self)._kept = None
        raise MetricProcessError(f"the process that measures died ({cause})")


def _room(memory: Any, slot: int, at: int, shape: Sequence[int]) -> Tensor:
    """A slot of the shared memory as frames of that shape."""
    count = 1
    for length in shape:
        count *= length
    flat = torch.frombuffer(memory, dtype=torch.float32, count=count, offset=at * slot)
    return flat.view(*shape)


class _Desk:
    """What the process that measures does with the messages that it gets."""

    def __init__(self, memory: Any, slot: int) -> None:
        self.memory, self.slot = memory, slot
        self.recorder: VideoRecorder | None = None
        self.parts: list[Tensor] = []
        self.broken = False

    def begin(self, job: Job, folder: Path) -> None:
        self.close()
        self.recorder = VideoRecorder(job, folder)

    def feed(self, part: _Part, marks: Sequence[int] | None) -> None:
        at, shape, last = part
        if self.broken:  # as if whoever feeds had been stopped at once
            return
        # Metrics keep views of frames, and the slot is filled again.
        self.parts.append(_room(self.memory, self.slot, at, shape).clone())
        if not last:
            return
        frames = self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts)
        self.parts = []
        assert self.recorder is not None
        try:
            self.recorder.feed(frames, marks)
        except Exception:  # whatever it is, it is raised; this video takes no further frames
            self.broken = True
            raise

    def finish(self, status: str, reason: str, extra: Mapping[str, Any]) -> None:
        assert self.recorder is not None
        self.recorder.finish(status, reason, extra)

    def close(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
        self.recorder, self.parts, self.broken = None, [], False


def _serve(pipe: Connection, memory: Any, slot: int, device: str) -> None:
    """Answer messages in their order, until whoever sends them is gone."""
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_up(device)
    desk = _Desk(memory, slot)
    while True:
        try:
            what, args = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            getattr(desk, what)(*args)
            answer = pickle.dumps((None, None))
        except Exception as error:
            if disk_is_full(error) and not isinstance(error, DiskFullError):
                error = DiskFullError(desk.recorder.folder if desk.recorder else "videos")
            answer = told_of(error)
        pipe.send_bytes(answer)
