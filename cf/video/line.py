"""When the pictures of a video are shown, as all of its readers take it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import UInt8

EPSILON = 1e-6  # seconds; floating-point noise in times
_SHORTEST, _INSTEAD = 11, 100  # milliseconds


@dataclass(frozen=True, eq=False)
class StillFrame:
    """A picture of a video that FFmpeg does not decode; it takes time and memory when it is read.

    Attributes:
        read: gives it in bytes, red first, upright.
    """

    read: Callable[[], UInt8[np.ndarray, "h w 3"]]


Stills = Callable[[float], Iterator[tuple[float, StillFrame]]]
"""Pictures with their seconds, from the one that is shown at a time on."""


@dataclass(frozen=True)
class Timeline:
    """When a file's pictures are shown, in seconds since its first.

    Attributes:
        origin: timestamp of the first picture, in ticks.
        tick: seconds.
        fps: mean pictures per second.
        last: seconds at which the last picture begins.
        end: seconds at which it ends.
        slack: seconds by which rounding may have moved a timestamp.
        size: height and width of an upright picture in square pixels.
        aspect: width of a decoded pixel in heights.
        times: of all pictures; None where timestamps and seeks can be trusted.
        missing: why the file's end is not there; empty if it is.
        kinds: what of its footage is converted when it is read, by the first picture.
        woven: whether a frame that is flagged as interlaced holds two fields.
        stills: reads the pictures of what FFmpeg does not decode; None: FFmpeg does.
    """

    origin: int
    tick: float
    fps: float
    last: float
    end: float
    slack: float
    size: tuple[int, int]
    aspect: float
    times: Sequence[float] | None = None
    missing: str = ""
    kinds: tuple[str, ...] = ()
    woven: bool = True
    stills: Stills | None = field(default=None, repr=False, compare=False)

    def pictures(self, fps: float, start: float = 0.0) -> int:
        """How many pictures there are at start, start + 1/fps, ... (seconds)."""
        return pictures_in(self.end - self.slack - start, fps)

    def read_by(self, stills: Stills) -> "Timeline":
        """The same, of a video that FFmpeg does not decode."""
        return replace(self, stills=stills)


def pictures_in(seconds: float, fps: float) -> int:
    """How many pictures a stretch gives that is read at `fps` from its beginning."""
    return max(0, math.ceil(seconds * fps))


def shown_for(milliseconds: float) -> float:
    """How long browsers show a picture of an animation: 100 ms where it claims less than 11.

    Args:
        milliseconds: that it claims.
    """
    return milliseconds if milliseconds >= _SHORTEST else _INSTEAD


def own_line(times: Sequence[float], fps: float, end: float, size: tuple[int, int]) -> Timeline:
    """Of pictures whose times are known by themselves.

    Args:
        times: seconds at which they begin.
        fps: mean pictures per second.
        end: seconds at which the last ends.
        size: height and width of a picture.
    """
    return Timeline(0, EPSILON, fps, times[-1], end, EPSILON, size, 1.0, times)
