"""What a video file is: opened with PyAV, checked, and measured without decoding all of it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_MISSING_SECONDS = 0.25
"""A file that ends this much before its own header says has been cut off."""
_TAIL_SECONDS = 10.0
"""Streams longer than this are first measured at their end only."""


class UnreadableVideo(ValueError):  # noqa: N818 - it names the video's state, as in its reports
    """A video or picture that cannot be used, with the file and the reason.

    Attributes:
        path: the file.
        reason: what is wrong with it, as the end of a sentence that begins with its name.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)  # both as args, so that it travels between processes
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """A video as a viewer sees it: upright and in square pixels.

    Attributes:
        duration: seconds from the first frame to the end of the last.
        fps: mean frames per second; the spacing may vary.
        height: pixels, after rotation and pixel aspect.
        width: pixels, after rotation and pixel aspect.
    """

    duration: float
    fps: float
    height: int
    width: int


@dataclass(frozen=True)
class Turn:
    """How a decoded frame becomes upright: transpose, then mirror."""

    transpose: bool
    mirror_rows: bool
    mirror_columns: bool


_TURNS = {
    0: Turn(False, False, False),
    90: Turn(True, True, False),
    180: Turn(False, True, True),
    270: Turn(True, False, True),
}
"""By degrees counter-clockwise."""


def probe(path: str | Path) -> VideoInfo:
    """Measure a video and make sure that its first frame decodes.

    Costs one decoded frame where the container has an index (mp4, mov), and a pass over the
    packets of the file or of its end where it has none (gif, webm, mkv). A fragmented mp4 whose
    writer was killed is as long as its intact part.

    Raises:
        UnreadableVideo: not a video, empty, without a decodable frame, or cut off.
    """
    with opened(path) as (container, stream):
        first = next(decoded(container, stream), None)
        if first is None:
            raise UnreadableVideo(path, "not one frame decodes; it is cut off or damaged")
        height, width = display_size(first, stream)
        if turn_of(first).transpose:
            height, width = width, height
        return VideoInfo(
            _duration(container, stream, Path(path), first.pts or 0),
            frame_rate(stream),
            height,
            width,
        )


def is_steady(path: str | Path) -> bool:
    """Whether frames are shown equally long each; costs a pass over the packets of the file.

    Raises:
        UnreadableVideo: the file cannot be read.
    """
    with opened(path) as (container, stream):
        stamps = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        gaps = [later - earlier for earlier, later in pairwise(stamps)]
        rounding = 2 + 0.1 * sum(gaps) / max(len(gaps), 1)  # ticks
        return not gaps or max(gaps) - min(gaps) <= rounding


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its main video stream; whatever FFmpeg raises inside names the file.

    Raises:
        UnreadableVideo: the file is missing, empty or not a video, or decoding fails inside.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableVideo(path, "there is no such file")
    if path.stat().st_size == 0:
        raise UnreadableVideo(path, "the file is empty (0 bytes)")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams:
                raise UnreadableVideo(path, "it holds no streams; it is cut off or not a video")
            stream = container.streams.best("video")
            cover = av.stream.Disposition.attached_pic
            if not isinstance(stream, VideoStream) or stream.disposition & cover:
                raise UnreadableVideo(
                    path, "it has no video stream, or was cut off before its index"
                )
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableVideo(
            path, f"it cannot be decoded ({reason}); it is cut off, damaged or not a video"
        ) from error


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames from the container's position on, up to a packet that the file's end cuts off."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            yield from stream.decode(None)
            return
        yield from stream.decode(packet)


def frame_rate(stream: VideoStream) -> float:
    """Mean frames per second that the file declares; 25 where it declares none."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def time_base(stream: VideoStream) -> float:
    """Seconds per tick of the stream's timestamps."""
    return float(stream.time_base or Fraction(1, 1000))


def display_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Height and width in square pixels, before the frame is turned upright."""
    aspect = float(stream.sample_aspect_ratio or 1)
    aspect = aspect if 0.1 < aspect < 10 else 1.0  # beyond that the header is wrong
    return frame.height, max(1, round(frame.width * aspect))


def turn_of(frame: VideoFrame) -> Turn:
    """How to make a frame upright, in quarter turns, from its display matrix."""
    try:
        side_data: Any = frame.side_data  # typed without the keys that it takes
        data = bytes(side_data["DISPLAYMATRIX"])
    except KeyError:
        return _TURNS[0]
    except ValueError:  # among it is a kind that PyAV does not know yet
        return _TURNS[round(frame.rotation / 90) * 90 % 360]
    # A pixel at (column, row) goes to (a column + c row, b column + d row).
    (a, b), (c, d) = np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2].tolist()
    return Turn(True, b < 0, c < 0) if abs(b) > abs(a) else Turn(False, d < 0, a < 0)


def _duration(container: InputContainer, stream: VideoStream, path: Path, origin: int) -> float:
    """Seconds of video after timestamp `origin`, from the container's index or its packets."""
    tick = time_base(stream)
    index, size = stream.index_entries, path.stat().st_size
    if stream.duration and len(index) >= max(2, stream.frames):
        entry = index[-1]
        if entry.pos + entry.size <= size:
            return stream.duration * tick
        if stream.frames:
            missing = entry.pos + entry.size - size
            raise UnreadableVideo(path, f"it is cut off: at least {missing} bytes are missing")
        for i in range(len(index) - 1, -1, -1):  # a fragmented file: its intact part
            if index[i].pos + index[i].size <= size:
                return (index[i].timestamp - origin) * tick + 1 / frame_rate(stream)
    declared = _declared(stream, origin)
    measured = _measured(container, stream, declared, origin)
    if declared - measured > _MISSING_SECONDS:
        raise UnreadableVideo(
            path, f"it is cut off: {measured:.2f} of its {declared:.2f} seconds are in the file"
        )
    return measured


def _declared(stream: VideoStream, origin: int) -> float:
    """Seconds that the header claims, 0 where it claims nothing."""
    if stream.duration:
        return stream.duration * time_base(stream)
    try:  # Matroska: when it ends, as "00:00:02.000000000"
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
    except (KeyError, ValueError):
        return 0.0
    end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return max(0.0, end - origin * time_base(stream))


def _measured(
    container: InputContainer, stream: VideoStream, declared: float, origin: int
) -> float:
    """Seconds from `origin` until the end of the last packet."""
    tick = time_base(stream)
    for start in (declared - _TAIL_SECONDS, 0.0) if declared > 2 * _TAIL_SECONDS else (0.0,):
        container.seek(origin + math.floor(start / tick), stream=stream)
        end = 0.0
        for packet in container.demux(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None and not packet.is_corrupt:
                length = (packet.duration or 0) * tick or 1 / frame_rate(stream)
                end = max(end, (stamp - origin) * tick + length)
        if declared - end <= _MISSING_SECONDS:
            break
    return end
