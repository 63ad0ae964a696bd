"""The files of a batch of videos while they are made: an mp4 and a contact sheet for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from jaxtyping import UInt8
from torch import Tensor

from cf.generation.streams import Pictures, arrival
from cf.system.background import Background
from cf.video.sheet import contact_sheet
from cf.video.writer import VideoWriter, Written

log = logging.getLogger("cf.generate")
_SHOWN = 32  # frames of a contact sheet
_PART_SECONDS = 5.0  # of video, which a state holds as pictures at most


class VideoFiles:
    """Takes a batch's frames as they come; use it as a context manager.

    Files are written by a thread, at most two blocks behind: an error of it is raised when the next
    frames come, or at the end.

    Attributes:
        done: frames that each video has so far, those included that wait to be written.
        seconds: that writing has taken so far.
    """

    def __init__(
        self,
        paths: list[Path],
        fps: float,
        size: tuple[int, int],
        total: int,
        given: int,
        saved: dict[str, Any] | None = None,
    ) -> None:
        """Begin files of `total` frames, the `given` ones included, or go on with those `saved`.

        Raises:
            ValueError: a file was changed since.
        """
        self.paths, self.fps, self._total, self._given = paths, fps, total, given
        self._scale = max(256 // max(size), 1)
        last = min(_SHOWN, total) - 1
        self._shown = {round(i * (total - 1) / max(last, 1)) for i in range(last + 1)}
        self.done = 0 if saved is None else saved["done"]
        self._writing, self.seconds = Background(), 0.0
        self._sheet: list[UInt8[Tensor, "b 3 h w"]] = [] if saved is None else saved["sheet"]
        begun = [None] * len(paths) if saved is None else [Written(*w) for w in saved["written"]]
        with ExitStack() as stack:  # of which one fails, the others are closed
            self._writers = [
                stack.enter_context(
                    VideoWriter(path, fps, size, self._scale, _PART_SECONDS, written)
                )
                for path, written in zip(paths, begun, strict=True)
            ]
            self._stack = stack.pop_all()

    def add(self, frames: Tensor) -> int:
        """Append frames, (b, t, 3, h, w) in [0, 1], less those beyond the end; how many there were.

        Raises:
            ValueError: a frame is not finite, or one before was not.
        """
        video, begin = frames[:, : self._total - self.done], self.done
        arrives = arrival(video)
        self._writing.do(lambda: self._write(arrives, begin))
        self.done += video.shape[1]
        return video.shape[1]

    def _write(self, arrives: Callable[[], Pictures], begin: int) -> None:
        """Frames from number `begin` on, once they have come from the device."""
        video, began = arrives(), time.perf_counter()
        for writer, sample in zip(self._writers, video, strict=True):
            writer.write(sample)
        shown = (i for i in range(video.shape[1]) if begin + i in self._shown)
        self._sheet += [video[:, i].clone() for i in shown]
        self.seconds += time.perf_counter() - began

    def saved(self) -> dict[str, Any]:
        """What another process needs to go on, besides the files."""
        self._writing.wait()
        written = [tuple(writer.written()) for writer in self._writers]
        return {"done": self.done, "sheet": self._sheet, "written": written}

    def write_sheets(self) -> None:
        """The contact sheets, once all frames are there; those that wait are written first."""
        self._writing.wait()
        labels = [
            f"{i / self.fps:.1f} s" + (" (given)" if i < self._given else "")
            for i in sorted(self._shown)
        ]
        factor = max(self._scale // 2, 1)
        for i, path in enumerate(self.paths):
            video = torch.stack([frame[i] for frame in self._sheet]).float() / 255
            video = video.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
            contact_sheet(video, path.with_suffix(".png"), labels=labels[: len(video)])
            log.info("video: %s  contact sheet: %s", path, path.with_suffix(".png"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writing.end(finish=kind is None)
        except BaseException as failed:
            self._stack.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)
