"""Video files decoded in the background, a few pieces ahead of the metrics."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from cf.evaluation.videos import Listed
from cf.system.background import settle
from cf.video.probe import UnreadableVideo, VideoInfo, is_steady, probe
from cf.video.reader import read_chunks

_AHEAD = 2  # pieces that wait
_POLL = 0.2  # seconds after which a reader looks whether it is still wanted


@dataclass(frozen=True)
class DecodedFrames:
    """The next frames of a video."""

    video: Listed
    start: int
    fps: float
    frames: UInt8[Tensor, "t 3 h w"]
    reference: UInt8[Tensor, "t 3 h w"] | None


@dataclass(frozen=True)
class Ended:
    """The end of a video, or the frame from which it cannot be read.

    Attributes:
        frames: decoded.
        failure: why it ended early; empty if it did not.
        note: what a reader should know although nothing failed.
    """

    video: Listed
    frames: int
    fps: float
    size: tuple[int, int]
    failure: str = ""
    note: str = ""


def decode(
    videos: Sequence[Listed], piece_bytes: int, size: Sequence[int] | None = None
) -> Iterator[DecodedFrames | Ended]:
    """All videos, one after the other, each in pieces and an end; decoding runs in a thread.

    Memory is a few pieces of `piece_bytes`, however long the videos are. A file that cannot be
    decoded ends with its failure, and the next one follows.
    """
    ready: queue.Queue[DecodedFrames | Ended | BaseException | None] = queue.Queue(_AHEAD)
    unwanted, over = threading.Event(), threading.Event()

    def put(item: DecodedFrames | Ended | BaseException | None) -> None:
        while not unwanted.is_set():
            try:
                return ready.put(item, timeout=_POLL)
            except queue.Full:
                continue
        raise _Unwanted

    def work() -> None:
        try:
            for video in videos:
                for item in _read(video, piece_bytes, size):
                    put(item)
            put(None)
        except _Unwanted:
            pass
        except BaseException as error:  # raised where the pieces are used
            put(error)
        finally:
            over.set()

    # Of a pool, it would be waited for at the end even where nobody takes frames any more.
    reader = threading.Thread(target=work, name="decoding", daemon=True)
    reader.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
        settle(over.wait)
        reader.join()


class _Unwanted(Exception):  # noqa: N818 - it is no error
    """Raised in the thread that reads when nobody takes frames any more."""


def _read(
    video: Listed, piece_bytes: int, size: Sequence[int] | None
) -> Iterator[DecodedFrames | Ended]:
    count, fps, shape = 0, 0.0, (0, 0)
    try:
        info = probe(video.path)
        fps = info.fps
        shape = (info.height, info.width) if size is None else (size[0], size[1])
        steady = is_steady(video.path)
        at_a_time = max(1, piece_bytes // (3 * shape[0] * shape[1]))
        for frames, reference in _pairs(video, at_a_time, fps, shape):
            yield DecodedFrames(video, count, fps, frames, reference)
            count += len(frames)
        note = "" if steady else f"frames of uneven length; shown at {fps:g} per second"
        yield Ended(video, count, fps, shape, "" if count else "not one frame decodes", note)
    except UnreadableVideo as error:
        reason = error.reason if error.path == video.path else f"reference {error}"
        yield Ended(video, count, fps, shape, reason)


def _pairs(
    video: Listed, frames: int, fps: float, shape: tuple[int, int]
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Pieces of a video with those of its reference, shown at the same times in the same size."""
    pieces = read_chunks(video.path, frames, fps, shape)
    if video.reference is None:
        yield from ((piece, None) for piece in pieces)
        return
    for piece, true in zip_longest(pieces, read_chunks(video.reference, frames, fps, shape)):
        if piece is None:
            return  # the reference may go on
        if true is None or len(true) < len(piece):
            raise UnreadableVideo(video.reference, "it ends before the video does")
        yield piece, true[: len(piece)]


def seconds_of(video: Listed) -> float:
    """Length of a video for a progress bar; 0 where it cannot be told."""
    info = header(video.path)
    return 0.0 if info is None else info.duration


def header(path: Path) -> VideoInfo | None:
    """The header of a file; None where it cannot be read. Each file is read once."""
    info = _asked(path)
    return None if isinstance(info, str) else info


def unreadable(path: Path) -> str:
    """Why a file's header cannot be read; empty if it can."""
    info = _asked(path)
    return info if isinstance(info, str) else ""


@lru_cache(2**16)
def _asked(path: Path) -> VideoInfo | str:
    try:
        return probe(path)
    except UnreadableVideo as error:
        return error.reason
