"""Clips of real video files, sampled by timestamp, upright, cover-scaled and centre-cropped."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorPrimaries, Colorspace, Interpolation, VideoReformatter
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from cf.video.colour import CODES, as_sdr, coding_of
from cf.video.container import UnreadableVideo, display_size, refuse_shape, turn_of
from cf.video.fields import deinterlaced
from cf.video.footage import refuse_colours
from cf.video.line import StillFrame, Timeline
from cf.video.probe import VideoInfo, probe
from cf.video.seeking import shown_from
from cf.video.stills import cover, fitted, pair, read_image
from cf.video.timeline import MISSING_SECONDS, timeline

__all__ = [
    "UnreadableVideo",
    "VideoInfo",
    "probe",
    "read_chunks",
    "read_frames",
    "read_image",
    "read_video",
]

_MOST_BYTES = 2**31
"""Of pictures that are handed over at once, a byte for each colour."""
_RED_GREEN_BLUE = (2, 0, 1)
"""Where these planes lie in FFmpeg's gbrp."""
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_SHRUNK, _GROWN = Interpolation.AREA | _EXACT, Interpolation.BICUBIC | _EXACT


def read_video(
    path: str | Path,
    fps: float | None = None,
    size: Sequence[int] | None = None,
    max_seconds: float | None = None,
) -> Float[Tensor, "t 3 h w"]:
    """A whole video, or its first `max_seconds`, in [0, 1]; `fps` None keeps the file's mean rate.

    Raises:
        UnreadableVideo: the file cannot be decoded, or was cut off before what is asked for.
    """
    line = timeline(path)
    rate = line.fps if fps is None else fps
    frames = None if max_seconds is None else max(1, round(max_seconds * rate))
    if line.missing and (frames is None or frames > line.pictures(rate)):
        raise UnreadableVideo(path, line.missing)
    _refuse_amount(path, line, size, line.pictures(rate), frames)
    drawn = _Pictures(path, line, 0.0, rate, size, frames)
    pictures = drawn.next(drawn.count)
    if not len(pictures):
        raise UnreadableVideo(path, "not one frame can be decoded")
    return pictures.float() / 255


def read_chunks(
    path: str | Path, frames: int, fps: float | None = None, size: Sequence[int] | None = None
) -> Iterator[UInt8[Tensor, "t 3 h w"]]:
    """A whole video in bytes, `frames` pictures at a time, so that an hour of it fits in memory.

    Raises:
        UnreadableVideo: the file cannot be decoded, or not to its end; what came before stands.
    """
    line = timeline(path)
    drawn = _Pictures(path, line, 0.0, line.fps if fps is None else fps, size, None)
    while len(batch := drawn.next(frames)):
        yield batch


def read_frames(
    path: str | Path, start: float, frames: int, fps: float, size: Sequence[int] | None = None
) -> UInt8[Tensor, "t 3 h w"]:
    """`frames` pictures in bytes, one every 1/`fps` seconds from `start` (seconds) on.

    Each is the frame that a player shows at that time, whatever the file's own frame rate, scaled
    until it covers `size` (height, width; None: as it is) and cropped about its centre. It is the
    same picture that a whole read shows at that time.

    Raises:
        UnreadableVideo: the file cannot be decoded, or ends before the last picture.
    """
    if start < 0 or frames < 1 or fps <= 0:
        raise ValueError(
            f"a clip needs start >= 0, frames >= 1 and fps > 0; got {start}, {frames} and {fps}"
        )
    line = timeline(path)
    _refuse_amount(path, line, size, line.pictures(fps, start), frames)
    pictures = _Pictures(path, line, start, fps, size, frames).next(frames)
    if len(pictures) < frames:
        raise UnreadableVideo(
            path,
            f"it is too short: {frames} frames at {fps:g} fps from {start:.2f} s were asked for "
            f"and {len(pictures)} are there",
        )
    return pictures


class _Pictures:
    """The pictures shown at start, start + 1/fps, ..., drawn where their tensor lies.

    Attributes:
        count: of pictures there should be; fewer come where the stream ends before.
    """

    def __init__(
        self,
        path: str | Path,
        line: Timeline,
        start: float,
        fps: float,
        size: Sequence[int] | None,
        frames: int | None,
    ) -> None:
        total = line.pictures(fps, start)
        self.count = total if frames is None else min(frames, total)
        self._draw = _Draw(path, line, size)
        self._frames = _shown_at(path, line, start, fps, self.count)

    def next(self, most: int) -> UInt8[Tensor, "t 3 h w"]:
        """The next pictures, at most so many; none at the end."""
        expected = min(most, self.count)
        pictures = np.empty((expected, 3, *self._draw.size), np.uint8)
        drawn, before = 0, None
        for picture, frame in zip(pictures, self._frames, strict=False):
            if frame is before:
                picture[...] = pictures[drawn - 1]
            else:
                self._draw(frame, picture)
            drawn, before = drawn + 1, frame
        self.count -= drawn
        if drawn < expected:  # what was not filled is not kept
            pictures = pictures[:drawn].copy()
        return torch.from_numpy(pictures)


def _shown_at(
    path: str | Path, line: Timeline, start: float, fps: float, count: int
) -> Iterator[VideoFrame | StillFrame]:
    """The frames shown at start, start + 1/fps, ...; fewer than `count` where the stream ends."""
    shown: VideoFrame | StillFrame | None = None
    reached, k = 0.0, 0
    for time, frame in shown_from(path, line, start) if count else ():
        while shown is not None and start + k / fps < time - line.slack:
            yield shown
            k += 1
            if k == count:
                return
        length = 0 if isinstance(frame, StillFrame) else frame.duration or 0
        shown, reached = frame, time + length * line.tick
        reached = line.end if time >= line.last - MISSING_SECONDS else reached
    # The last picture stands until the end, unless decoding stopped long before it.
    while shown is not None and k < count and start + k / fps < reached + MISSING_SECONDS:
        yield shown
        k += 1


class _Draw:
    """Draws decoded frames upright in one size.

    Attributes:
        size: height and width of the pictures.
    """

    def __init__(self, path: str | Path, line: Timeline, size: Sequence[int] | None) -> None:
        self.size = line.size if size is None else pair(size)
        self._path, self._aspect, self._woven = path, line.aspect, line.woven
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame | StillFrame, picture: UInt8[np.ndarray, "3 h w"]) -> None:
        """Fill a picture with a frame."""
        if isinstance(frame, StillFrame):
            picture[...] = fitted(frame.read(), self.size)
            return
        turn, source = turn_of(frame), display_size(frame, self._aspect)
        refuse_shape(self._path, *source)  # the shape may change inside a file
        target = self.size[::-1] if turn.transpose else self.size
        height, width = cover(source, target)
        refuse_colours(self._path, frame)
        colours = coding_of(frame)
        if frame.interlaced_frame:
            frame = deinterlaced(frame, self._woven)
        scaled = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            # Planes are what a tensor is made of; the same bytes as packed RGB.
            format=CODES if colours else "gbrp",
            src_colorspace=_colorspace(frame),
            interpolation=_SHRUNK if height < frame.height else _GROWN,
            threads=1,
        )
        rows = slice(None, None, -1 if turn.mirror_rows else 1)
        columns = slice(None, None, -1 if turn.mirror_columns else 1)
        top, left = (height - target[0]) // 2, (width - target[1]) // 2
        planes = [scaled.planes[number] for number in _RED_GREEN_BLUE]
        views = [_view(plane, np.uint16 if colours else np.uint8) for plane in planes]
        views = [view[top : top + target[0], left : left + target[1]] for view in views]
        for out, plane in zip(picture, as_sdr(views, colours) if colours else views, strict=True):
            out[rows, columns] = plane.T if turn.transpose else plane


def _refuse_amount(
    path: str | Path, line: Timeline, size: Sequence[int] | None, total: int, frames: int | None
) -> None:
    """Refuse what would not fit in memory before it is decoded."""
    height, width = line.size if size is None else pair(size)
    count = total if frames is None else min(total, frames)
    if count * 3 * height * width > _MOST_BYTES:
        raise UnreadableVideo(
            path,
            f"{count} pictures of {height} x {width} are more than fit in memory at once; ask for "
            "fewer seconds, a lower fps or a smaller size",
        )


def _view(plane: VideoPlane, kind: type[np.generic]) -> Shaped[np.ndarray, "h w"]:
    """The samples of a plane, whose lines are padded."""
    wide, item = plane.line_size, np.dtype(kind).itemsize
    return np.ndarray((plane.height, plane.width), kind, memoryview(plane), 0, (wide, item))


def _colorspace(frame: VideoFrame) -> Colorspace | None:
    """None: as the frame says; players take an untagged HD frame for BT.709, and so do we."""
    if frame.colorspace != 2:
        return None
    if frame.color_primaries == ColorPrimaries.BT2020 or coding_of(frame):
        return Colorspace.BT2020
    return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else None
