"""Frames from any time of a video on, equal to those of a read from its beginning."""

import math
from collections import deque
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cf.video.container import decoded_frames, opened_video
from cf.video.line import StillFrame, Timeline

_BACK = (0.0, 2.0, 10.0)  # seconds before a clip at which a key frame is looked for
_REFERRED = 4  # frames later, at most, a frame is shown that one between two others refers to


def shown_from(
    path: str | Path, line: Timeline, start: float = 0.0
) -> Iterator[tuple[float, VideoFrame | StillFrame]]:
    """Frames and their seconds; the first is shown no later than `start`, if any frame is.

    Raises:
        UnreadableVideo: the file cannot be decoded.
    """
    if line.stills is not None:
        yield from line.stills(start)
        return
    reached = -math.inf
    for back in _BACK if line.times is None and start > line.slack else ():
        if back >= start and back:
            break
        with opened_video(path) as (container, stream):
            frames = _landed(container, stream, line, start, start - back)
            if frames is None:
                continue
            ahead = _REFERRED if stream.codec_context.has_b_frames else 0
            reached = yield from _before_damage(frames, ahead)
        if reached == math.inf:
            return
        break
    with opened_video(path) as (container, stream):
        for time, frame in _timed(decoded_frames(container, stream), line):
            if time > reached:
                yield time, frame


def _before_damage(
    frames: Iterator[tuple[float, VideoFrame]], ahead: int
) -> Generator[tuple[float, VideoFrame], None, float]:
    """Frames up to one that a decoder fills in, for which it takes whatever it has seen before.

    Args:
        frames: with their seconds, from a key frame on.
        ahead: frames that must be whole behind one that is yielded, since it may refer to them.

    Returns:
        Seconds of the last one before damage; infinite where none is damaged.
    """
    buffer: deque[tuple[float, VideoFrame]] = deque()
    reached = -math.inf
    for entry in frames:
        if entry[1].is_corrupt:
            return reached
        buffer.append(entry)
        if len(buffer) > ahead:
            reached = buffer[0][0]
            yield buffer.popleft()
    yield from buffer
    return math.inf


def _landed(
    container: InputContainer, stream: VideoStream, line: Timeline, start: float, target: float
) -> Iterator[tuple[float, VideoFrame]] | None:
    """Frames from a key frame shown no later than `start`; None where the seek found none.

    Containers may land on a frame that is shown later than was asked for, and frames before the
    first key frame may refer to what was not decoded.
    """
    try:
        container.seek(line.origin + int(target / line.tick), stream=stream)
    except (av.FFmpegError, OverflowError):  # not every container seeks everywhere
        return None
    frames = decoded_frames(container, stream)
    for frame in frames:
        if frame.pts is None or (frame.pts - line.origin) * line.tick > start + line.slack:
            return None
        if frame.key_frame:
            return _timed(chain([frame], frames), line)
    return None


def _timed(frames: Iterator[VideoFrame], line: Timeline) -> Iterator[tuple[float, VideoFrame]]:
    if line.times is not None:
        yield from zip(line.times, frames, strict=False)  # the same frames, unless it has changed
        return
    time = 0.0
    for frame in frames:
        if frame.pts is not None:
            time = max(time, (frame.pts - line.origin) * line.tick)
        yield time, frame
