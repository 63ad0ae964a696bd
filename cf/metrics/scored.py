"""One whole video as a metric reads it, or the fault because of which it is left out."""

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Float, Int
from torch import Tensor

from cf.metrics.measurement import Clock


class Fault(IntEnum):
    """A reason why a video has no value."""

    NOT_FINITE = 1
    UNDECODABLE = 2
    NOT_GENERATED = 3
    TWICE = 4
    RATE = 5
    SIZE = 6
    REFUSED = 7

    def reason(self, frame: int) -> str:
        """The reason in words, with the frame."""
        return _TEXTS[self].format(frame=frame)


_TEXTS = {
    Fault.NOT_FINITE: "frame {frame} holds NaN or infinite pixels",
    Fault.UNDECODABLE: "the file cannot be decoded from frame {frame} on",
    Fault.NOT_GENERATED: "it was not generated from frame {frame} on",
    Fault.TWICE: "frame {frame} was delivered twice",
    Fault.RATE: "frames per second change at frame {frame}",
    Fault.REFUSED: "the metric refused it from frame {frame} on",
    Fault.SIZE: "frames change their size at frame {frame}",
}


@dataclass(frozen=True)
class Segment:
    """Frames of a video under one prompt."""

    first: int
    stop: int
    prompt: int | None


@dataclass(frozen=True)
class Scored:
    """One video, all of it, as a metric reads it when it computes.

    Attributes:
        window: the window of each row; windows in which nothing was measured have no row.
        count: measurements in each row.
        sums: of the measured numbers.
        seconds: at which each row's window begins.
        marks: source frames at which blocks begin.
        frames: source frames seen.
        reason: why it cannot be scored; empty if it can.
    """

    video_id: int
    prompt: int
    seed: int | None
    clock: Clock
    window: Int[Tensor, " n"]
    count: Int[Tensor, " n"]
    sums: Float[Tensor, "n width"]
    seconds: Float[Tensor, " n"]
    segments: tuple[Segment, ...]
    marks: Int[Tensor, " m"]
    frames: int
    size: tuple[int, int]
    reason: str

    @property
    def duration(self) -> float:
        """The duration in seconds."""
        return float(self.frames / self.clock.fps)
