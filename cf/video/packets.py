"""What packets tell without decoding: how many, how regular, and whether all are there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from av.container import InputContainer
from av.video.stream import VideoStream

from cf.video.container import packets_of

_BARE = {"h264", "hevc", "vvc", "m4v", "mpegvideo", "vc1", "obu", "mjpeg"}
"""Streams without a container, whose mean rate is FFmpeg's default, not what the stream says."""
_TOLD_BY_HEADER = {"matroska", "avi"}
"""Containers whose header says how long the video is; others are estimated from what is there."""


@dataclass(frozen=True)
class Packets:
    """The packets of a stream that are shown.

    Attributes:
        stamps: display timestamps in ticks; empty where an index counted them.
        decoding: decoding timestamps in ticks, where an index tells them.
        count: how many there are, those before the first picture included.
        last: display timestamp of the last, in ticks.
        last_length: of the last, in ticks; 0 where the file does not tell.
        ordered: whether every one has its times, decoding times rise, and an index has no more.
        reordered: whether display differs from decoding times, as B-frames need.
        widest_gap: between decoding times, in ticks.
        rates: pictures per second that the file declares, the most trustworthy first.
        together: whether several lie in one packet of the container, which has the time of one.
        declared_end: ticks at which the header says that the stream ends; None if it does not.
    """

    last: int
    last_length: int
    count: int
    ordered: bool
    reordered: bool
    rates: tuple[float, ...]
    stamps: Sequence[int] = field(default=(), repr=False)
    decoding: Sequence[int] = field(default=(), repr=False)
    widest_gap: int = 0
    together: bool = False
    declared_end: float | None = None
    bytes_missing: int = 0

    @property
    def declared_rate(self) -> float:
        """25 where the file declares none."""
        return self.rates[0] if self.rates else 25.0

    def count_from(self, origin: int) -> int:
        """How many are shown from a timestamp on."""
        return sum(stamp >= origin for stamp in self.stamps) if self.stamps else self.count

    def missing(self, tick: float, tolerance: float) -> str:
        """Why the end of the file is not there; empty if it is. Ticks and tolerance in seconds."""
        end = (self.last + self.last_length) * tick
        end += 0 if self.last_length else 1 / self.declared_rate
        if self.bytes_missing:
            return (
                f"it is cut off: at least {self.bytes_missing} bytes are missing and "
                f"{end:.2f} seconds are in the file"
            )
        if self.declared_end is None:
            return ""
        declared = self.declared_end * tick
        if declared - end <= tolerance:
            return ""
        return f"it is cut off: {end:.2f} of its {declared:.2f} seconds are in the file"


def indexed(
    container: InputContainer, stream: VideoStream, kind: str, bytes_there: int
) -> Packets | None:
    """From the index of an mp4 or mov and its last packets; None where it has no whole index.

    Moves the container's position.
    """
    index = stream.index_entries
    if kind != "mov" or not stream.frames or len(index) < stream.frames:
        return None
    entries = [(e.timestamp, e.is_keyframe, e.is_discard, e.pos + e.size) for e in index]
    if max(end for *_, end in entries) > bytes_there:
        return None
    shown = [not discarded for _, _, discarded, _ in entries]
    first, count = shown.index(True) if True in shown else 0, sum(shown)
    ordered = all(a[0] < b[0] for a, b in pairwise(entries)) and all(shown[first:])
    keys = [stamp for stamp, is_key, discarded, _ in entries if is_key and not discarded]
    if not ordered or not keys:
        return None
    container.seek(keys[-1], stream=stream)
    tail = _Facts()
    tail.look(container, stream)
    if tail.last is None or not tail.ordered:
        return None
    steps = [stamp for stamp, _, discarded, _ in entries if not discarded]
    last, length, rates = tail.last, tail.last_length, _rates(stream)
    return Packets(last, length, count, True, tail.reordered, rates, decoding=steps)


def scanned(container: InputContainer, stream: VideoStream) -> Packets:
    """From a pass over all packets, beginning where the container stands."""
    kind = container.format.name.split(",")[0]
    end = _declared_end(stream) if kind in _TOLD_BY_HEADER else None  # packets change what it says
    facts = _Facts()
    facts.look(container, stream)
    index, size = stream.index_entries, container.size
    ends = [e.pos + e.size for e in index] if kind == "mov" and stream.frames else []
    return Packets(
        last=facts.last or 0,
        last_length=facts.last_length,
        count=len(facts.stamps),
        ordered=facts.ordered and (kind != "avi" or len(index) <= facts.count),
        reordered=facts.reordered,
        rates=_rates(stream),
        stamps=facts.stamps,
        widest_gap=facts.widest_gap,
        together=facts.together,
        declared_end=end,
        bytes_missing=max(0, max(ends, default=0) - size) if size else 0,
    )


class _Facts:
    """Facts of packets as they come."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.count = 0
        self.last: int | None = None
        self.last_length = 0
        self.ordered, self.reordered = True, False
        self.widest_gap = 0
        self.together = False
        self._before: int | None = None

    def look(self, container: InputContainer, stream: VideoStream) -> None:
        damaged = False
        for packet in packets_of(container, stream):
            if packet.pts is None and not packet.size:
                continue
            self.count += 1
            self.ordered &= not damaged  # a damaged one is the last of a file that was cut off
            damaged = packet.is_corrupt
            if damaged:
                continue
            self._note_order(packet.dts)
            self.together |= packet.pos is None  # only the first of several has a place
            if packet.pts is None:
                self.ordered = False
                continue
            self.reordered |= packet.pts != packet.dts
            self.ordered &= packet.dts is None or packet.pts >= packet.dts
            if not packet.is_discard:
                self.stamps.append(packet.pts)
                if self.last is None or packet.pts > self.last:
                    self.last, self.last_length = packet.pts, packet.duration or 0

        self.ordered &= len(set(self.stamps)) == len(self.stamps)

    def _note_order(self, stamp: int | None) -> None:
        if stamp is not None and self._before is not None:
            self.ordered &= stamp > self._before
            self.widest_gap = max(self.widest_gap, stamp - self._before)
        self._before = stamp if stamp is not None else self._before


def _rates(stream: VideoStream) -> tuple[float, ...]:
    declared = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if stream.container.format.name in _BARE:
        declared = [stream.guessed_rate, *declared]
    rates = (float(rate) for rate in declared if rate)
    return tuple(rate for rate in dict.fromkeys(rates) if 1e-6 < rate < 1e6)


def _declared_end(stream: VideoStream) -> float | None:
    """Ticks, None where the header claims nothing."""
    if stream.duration:
        return float(stream.duration + (stream.start_time or 0))
    try:  # Matroska: when it ends, as "00:00:02.000000000"
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return None
    return end / float(stream.time_base or 0.001)
