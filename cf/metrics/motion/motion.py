"""The motion of one video, pair by pair of its sampled frames, and the base of its metrics."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Clock
from cf.metrics.motion.flow import Dis, Farneback, Flow
from cf.metrics.motion.motion_field import PAIR, TRIPLE, UNIT, MotionField
from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.scored import Scored

STILL = 0.15 * UNIT / 96
"""Mean flow below which nothing moves: .15 pixels of a picture with a short side of 96."""
FROZEN = 0.02
"""Mean flow, in pixels of 256, below which a pair of frames is one picture twice. A still has 0,
slow real footage .03 to .1 (`benchmarks/gates.py`), which STILL would call frozen."""
LOST = 0.6
"""Share of pixels from which flow does not return at a cut."""


@dataclass(frozen=True)
class Motion:
    """A video's pairs and triples of sampled frames in order; see `MotionField`.

    Attributes:
        pairs: of sampled frames 0 and 1, 1 and 2, ...
        triples: of sampled frames 0 to 2, 1 to 3, ...
    """

    pairs: Float[Tensor, "n p"]
    triples: Float[Tensor, "m q"]
    clock: Clock
    frames: int

    @staticmethod
    def of(one: Scored) -> "Motion":
        """Read off a video of which every triple was measured."""
        width = len(PAIR)
        pairs = torch.cat((one.sums[:, :width], one.sums[-1:, width : 2 * width]))
        return Motion(pairs, one.sums[:, 2 * width :], one.clock, one.frames)

    def __getitem__(self, name: str) -> Float[Tensor, " n"]:
        """One number of every pair, or of every triple."""
        if name in PAIR:
            return self.pairs[:, PAIR.index(name)]
        return self.triples[:, TRIPLE.index(name)]

    @property
    def duration(self) -> float:
        """In seconds."""
        return float(self.frames / self.clock.fps)

    @property
    def rate(self) -> float:
        """Sampled frames per second: that at which motion is seen."""
        return float(self.clock.fps / self.clock.stride)

    @property
    def cut(self) -> Bool[Tensor, " n"]:
        """Which pairs show two scenes."""
        return self["failure"] > LOST

    @property
    def starts(self) -> Int[Tensor, " n"]:
        """The source frame with which each pair, or triple, begins."""
        return torch.arange(len(self.pairs)) * self.clock.stride

    @property
    def seconds(self) -> Float[Tensor, " n"]:
        """When each pair begins."""
        return self.starts.double() / float(self.clock.fps)

    def windows(self, window: float) -> Iterator[tuple[float, Bool[Tensor, " n"]]]:
        """When each window begins, and the pairs that begin in it."""
        span = Fraction(window).limit_denominator(1000)
        which = Clock(self.clock.fps, self.clock.stride, span).windows(self.starts)
        for index in range(int(which[-1]) + 1 if len(which) else 0):
            pairs = which == index
            if pairs.any():
                yield index * float(span), pairs

    def curve(self, of_pairs: Tensor, window: float) -> tuple[Tensor, Tensor]:
        """The mean per window of those pairs that have a number, and when each begins."""
        means = [
            (second, of_pairs[pairs].double().nanmean()) for second, pairs in self.windows(window)
        ]
        seconds = torch.tensor([second for second, _ in means], dtype=torch.float64)
        return torch.tensor([float(value) for _, value in means], dtype=torch.float64), seconds


class MotionMetric(ReadingMetric):
    """A metric of motion; those with one backend, rate and side compute flow once (`together`).

    Attributes:
        flow: backend, or its name: `dis`, `farneback`, `raft-things` (with `weights`).
        rate: frames per second that are looked at; None for all.
        window: seconds per point of the curves.
        weights: file of the backend, where it needs one.
        side: pixels to which the short side is shrunk at most.
    """

    def __init__(
        self,
        flow: Flow | str = "dis",
        rate: float | None = 8.0,
        window: float = 1.0,
        weights: str | Path | None = None,
        side: int = 256,
        **kwargs: Any,
    ) -> None:
        if not window > 0:
            raise ValueError(f"window={window} must be a positive number of seconds")
        backend = flow_named(flow, weights) if isinstance(flow, str) else flow
        super().__init__(MotionField(backend, rate, side), None, **kwargs)
        self.curve_window = window

    @abstractmethod
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        """Make something of a video of three sampled frames or more."""

    @override
    def reading(self, one: Scored) -> VideoReading:
        if not len(one.sums):
            rate = float(one.clock.fps / one.clock.stride)
            return self.short(one, f"it has fewer than three frames at {rate:g} per second")
        return self.read(Motion.of(one), one)

    def short(self, one: Scored, reason: str) -> VideoReading:
        """The reading of a video of fewer than three sampled frames."""
        return VideoReading(reason=reason)

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "window": self.curve_window}


def flow_named(name: str, weights: str | Path | None = None) -> Flow:
    """The backend of that name: `dis`, `farneback`, or `raft-things` with its weights' path."""
    if name == "raft-things":
        from cf.metrics.motion.flow_raft import Raft  # torchvision's models are slow to import

        return Raft.load(weights)
    plain: dict[str, Flow] = {"dis": Dis(), "farneback": Farneback()}
    if name not in plain:
        raise ValueError(f"flow={name!r} is not known; choose dis, farneback or raft-things")
    if weights is not None:
        raise ValueError(f"flow={name!r} takes no weights, got {str(weights)!r}")
    return plain[name]
