"""The contract of measurements: numbers of neighbouring frames, which metrics summarise."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """The frames of one update, with what is known of them.

    Attributes:
        frames: floats in [0, 1]; bytes where they came as such and the measurement takes them.
        reference: the true frames at the same times, None unless the metric was given them.
        truth: what is known of each frame (see each metric), one row per frame.
    """

    frames: Float[Tensor, "t 3 h w"] | UInt8[Tensor, "t 3 h w"]
    reference: Float[Tensor, "t 3 h w"] | None = None
    truth: dict[str, Tensor] = field(default_factory=dict)


class Measurement(ABC):
    """A fixed number of values for every `span` neighbouring frames of a video.

    A frozen value: hyper-parameters only. Metrics with equal measurements share their states, so
    that what is expensive (features, optical flow) is computed once.

    Attributes:
        rate: frames per second that are looked at: every n-th of the video's own, n the whole
            number nearest to the quotient (ties to even) and at least 1; None for all.
        span: sampled frames that one measurement looks at.
        stride: sampled frames from one measurement to the next.
        dtype: of the numbers. Sums over a window are exact to rounding in float64; float32 is for
            single frames, whose numbers are not summed.
        kept: dtype of what `see` keeps of each frame.
        takes_bytes: `see` takes frames in bytes as they are.
        needs: what else an update must bring: "reference" or names in `truth`.
    """

    rate: float | None = None
    span: int = 1
    stride: int = 1
    dtype: torch.dtype = torch.float64
    kept: torch.dtype = torch.float32
    takes_bytes: bool = False
    needs: tuple[str, ...] = ()

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers per measurement."""

    @abstractmethod
    def see(self, seen: Seen) -> Tensor:
        """What is kept of each frame (t, ...), with at most three further axes.

        It must not depend on which frames come along: frames are handed over in any chunks.
        """

    def measure(self, kept: Tensor) -> Float[Tensor, "n width"]:
        """The numbers of each run of `span` frames among `kept` (t, ...), every `stride` frames.

        By default what is kept of each frame, for measurements of single frames.
        """
        return kept

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """All settings and weights that the numbers depend on."""

    def digest(self) -> str:
        """Eight hex digits of the provenance; equal measurements have equal ones."""
        return digest({"measurement": type(self).__name__, **self.provenance()})


def looked_at(measurement: Measurement, seen: Seen) -> Tensor:
    """What a measurement keeps of frames, on the CPU.

    Raises:
        ValueError: it is no tensor with a row for each frame, or of another dtype than it says.
    """
    kind, frames, rows = type(measurement).__name__, len(seen.frames), measurement.see(seen)
    if not isinstance(rows, Tensor) or rows.shape[:1] != (frames,):
        shape = f"shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
        raise ValueError(
            f"{kind}.see must return a tensor with a row for each frame, ({frames}, ...), "
            f"got {shape}"
        )
    if rows.dtype != measurement.kept:
        raise ValueError(
            f"{kind}.see returned {rows.dtype}, but {kind}.kept is {measurement.kept}; "
            f"write kept = {rows.dtype} in the class, or convert what see returns"
        )
    return rows.cpu()


def digest(provenance: dict[str, Any]) -> str:
    """Eight hex digits of a description."""
    text = json.dumps(provenance, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Clock:
    """The frames of a video that are sampled, and the window of time of each."""

    fps: Fraction
    stride: int
    window: Fraction | None

    def windows(self, frames: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """The window of each frame; without windows each sampled frame is its own."""
        if self.window is None:
            return frames // self.stride
        top, bottom = self.fps.denominator, self.fps.numerator
        return (frames * top * self.window.denominator) // (bottom * self.window.numerator)


@lru_cache
def clock(fps: Fraction, rate: float | None, window: float | None) -> Clock:
    """The clock of a video with `fps` frames per second under a measurement's rate."""
    stride = 1 if rate is None else max(1, round(fps / Fraction(rate)))
    span = None if window is None else Fraction(window).limit_denominator(1000)
    return Clock(fps, stride, span)
