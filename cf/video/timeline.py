"""When each picture of a file is shown, whichever way the file is read.

Time zero is the first picture that a decoder shows which begins at the file's beginning. A file
whose timestamps and seeks agree with that is read from anywhere; every other file is decoded once
to note the times of all its pictures, and is always read from its beginning.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cf.video.container import (
    MOST_SECONDS,
    UnreadableVideo,
    decoded_frames,
    display_size,
    opened_video,
    packets_of,
    pixel_aspect,
    refuse_shape,
    time_base,
    turn_of,
)
from cf.video.folders import folder_line
from cf.video.footage import converted_from, weaves
from cf.video.line import EPSILON, Timeline, shown_for
from cf.video.naming import moving_webp
from cf.video.numbered import PictureFolder
from cf.video.packets import Packets, indexed, scanned
from cf.video.webp import webp_line

MISSING_SECONDS = 0.25
"""A file that ends this much before its own header says, and by more than a picture, is cut off."""
_JUMP = 10.0  # seconds between two pictures of a stream after which its clock was set anew
_BACKWARDS = 0.25  # seconds; less is a broken clock, more a clock that was set anew
_NEARLY_ALL = 0.9
_SEEKABLE = {"mov", "matroska", "mpegts", "flv", "asf", "avi", "mpeg", "ogg", "nut", "mxf"}
_BY_DECODING = {"avi", "asf"}  # containers that keep decoding times only
_STREAMED = {"mpegts", "mpeg", "flv", "ogg"}  # of these, files are joined and cut like text


def timeline(path: str | Path) -> Timeline:
    """Of a file, measured once as long as the file does not change.

    Costs one decoded picture and the last packets where the container has an index (mp4, mov), a
    pass over all packets where it has none (webm, mkv, ts), and a pass of decoding where
    timestamps cannot be trusted (gif, avi with B-frames, joined files).

    Raises:
        UnreadableVideo: not a video, empty, without a decodable frame, or of no usable shape.
    """
    if isinstance(path, PictureFolder):
        return folder_line(path)
    try:
        status = Path(path).stat()
    except OSError:
        raise UnreadableVideo(path, "there is no such file") from None
    return _timeline(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(4096)
def _timeline(path: str, bytes_there: int, changed: int) -> Timeline:
    if moving_webp(Path(path)):
        return webp_line(Path(path))
    with opened_video(path) as (container, stream):
        first = next(decoded_frames(container, stream), None)
        if first is None:
            raise UnreadableVideo(path, "not one frame decodes; it is cut off or damaged")
        size, aspect = _upright(path, first, stream)
        kinds, woven = converted_from(Path(path), first, stream), weaves(stream)
        kind = container.format.name.split(",")[0]
        packets = None if first.pts is None else indexed(container, stream, kind, bytes_there)
        codec = stream.codec_context
        delays = codec.codec.reorder and (kind in _BY_DECODING or codec.has_b_frames)
        tick, origin = time_base(stream), first.pts or 0
    if packets is None:
        with opened_video(path) as (container, stream):
            packets = scanned(container, stream)
    # Where only decoding times are kept, display times are these, sorted.
    by_decoding = bool(delays and (kind in _BY_DECODING or not packets.reordered))
    trusted = first.pts is not None and kind in _SEEKABLE and not by_decoding and packets.ordered
    # A seek into the middle of a picture gives its packet's time to another one.
    odd = packets.together or packets.widest_gap * tick >= _JUMP / 2
    trusted = trusted and not (kind in _STREAMED and odd)
    times: list[float] | None = None
    if trusted:
        last, length = (packets.last - origin) * tick, packets.last_length * tick
        count = packets.count_from(origin)
    else:
        interval = 1 / packets.declared_rate
        times, length = _times(path, interval, streamed=kind in _STREAMED)
        if kind == "gif":
            times, length = _as_in_browsers(times, length)
        last, count = times[-1], len(times)
    mean = last / (count - 1) if count > 1 and last > 0 else 1 / packets.declared_rate
    shortest = max(0.5 / max(packets.rates, default=25.0), min(1.5 * tick, 5e-3))
    shortest = 0.75 * mean if by_decoding else shortest
    end = last + (length if length > shortest else mean)  # the last has often a wrong length
    if not end < MOST_SECONDS:
        raise UnreadableVideo(path, f"it claims to last {end:,.0f} seconds; its header is damaged")
    slack = min(tick, 5e-3, 0.25 * end / count) + EPSILON
    # An index also counts what a decoder leaves out, whose steps are those of the others.
    first_step = packets.decoding[0] if packets.decoding else origin
    shown = times or [
        (stamp - first_step) * tick for stamp in sorted(packets.stamps) or packets.decoding
    ]
    fps = _mean_rate(packets, count, end, slack, shown)
    missing = packets.missing(tick, max(MISSING_SECONDS, 1.5 * mean))  # headers may err by one
    return Timeline(origin, tick, fps, last, end, slack, size, aspect, times, missing, kinds, woven)


def _upright(
    path: str | Path, frame: VideoFrame, stream: VideoStream
) -> tuple[tuple[int, int], float]:
    """Size of an upright picture, and the aspect of a decoded pixel."""
    aspect = pixel_aspect(stream)
    height, width = display_size(frame, aspect)
    refuse_shape(path, height, width)
    return ((width, height) if turn_of(frame).transpose else (height, width)), aspect


def _mean_rate(
    packets: Packets, count: int, end: float, slack: float, shown: Sequence[float]
) -> float:
    """A declared rate at which nearly all pictures follow, best one that shows each of them once.

    Pictures that were lost, or one that stood for minutes, leave that rate. Of uneven ones a rate
    that shows each once: a declared one is rounded less than their mean.

    Args:
        packets: of the file.
        count: of pictures.
        end: seconds at which the last ends.
        slack: seconds by which rounding may have moved a timestamp.
        shown: seconds at which pictures are shown, or decoded, as far as they are known.
    """
    gaps = [later - earlier for earlier, later in pairwise(shown) if later >= 0]
    steady = [
        rate
        for rate in packets.rates
        if sum(abs(gap - 1 / rate) <= 2 * slack for gap in gaps) > _NEARLY_ALL * len(gaps)
    ]
    once = [rate for rate in packets.rates if math.ceil((end - slack) * rate) == count]
    best = [rate for rate in steady if rate in once]
    return (best or steady or once or [count / end])[0]


def _times(path: str, interval: float, streamed: bool) -> tuple[list[float], float]:
    """Seconds of every picture since the first, and the length of the last."""
    ticks: list[int | None] = []
    length = 0.0
    with opened_video(path) as (container, stream):
        tick = time_base(stream)
        for frame in decoded_frames(container, stream):
            ticks.append(frame.pts)
            length = (frame.duration or 0) * tick
    if not ticks:
        raise UnreadableVideo(path, "not one frame decodes; it is cut off or damaged")
    present = [pts for pts in ticks if pts is not None]
    stamps = _filled(ticks, interval / tick) if len(present) < len(ticks) else present
    if not streamed and len(present) == len(ticks):
        stamps = sorted(present)
    return _running(stamps, tick, interval, streamed), length


def _as_in_browsers(times: Sequence[float], length: float) -> tuple[list[float], float]:
    """Seconds of pictures and the length of the last, none shown for less than `shown_for` has."""
    gaps = (later - earlier for earlier, later in pairwise(times))
    *lengths, length = (shown_for(round(1000 * gap)) for gap in (*gaps, length))
    return [at / 1000 for at in accumulate(lengths, initial=0)], length / 1000


def _filled(stamps: Sequence[int | None], interval: float) -> list[float]:
    """With what is not told, counted from what is; all in ticks."""
    first = next((i for i, stamp in enumerate(stamps) if stamp is not None), 0)
    time = (stamps[first] or 0.0) - (first + 1) * interval
    filled = []
    for stamp in stamps:
        time = time + interval if stamp is None else stamp
        filled.append(time)
    return filled


def _running(stamps: Sequence[float], tick: float, interval: float, streamed: bool) -> list[float]:
    """Seconds since the first that never run backwards, over clocks that were set anew.

    Args:
        stamps: in ticks, of any size: whole ones are subtracted before digits can be lost, as in
            Ogg files that were cut by copying, whose clock begins at 2^58 ticks.
        tick: seconds.
        interval: seconds between pictures where the clock was set anew.
        streamed: a long step forwards is a clock that was set anew as well.
    """
    times, set_at, since = [0.0], 0.0, stamps[0]
    for stamp in stamps[1:]:
        step = set_at + (stamp - since) * tick - times[-1]
        if step < -_BACKWARDS or (streamed and step > _JUMP):
            set_at, since, step = times[-1] + interval, stamp, interval
        times.append(times[-1] + max(step, 0.0))
    return times


def is_steady(path: str | Path) -> bool:
    """Whether pictures are shown equally long each; costs a pass over the packets of the file.

    Raises:
        UnreadableVideo: the file cannot be read.
    """
    line = timeline(path)
    if line.times is None:
        with opened_video(path) as (container, stream):
            stamps = sorted(p.pts for p in packets_of(container, stream) if p.pts is not None)
            gaps = [float(later - earlier) for earlier, later in pairwise(stamps)]
    else:
        gaps = [(later - earlier) / line.tick for earlier, later in pairwise(line.times)]
    rounding = 2 + 0.1 * sum(gaps) / max(len(gaps), 1)  # ticks
    return not gaps or max(gaps) - min(gaps) <= rounding
