"""How much of a video comes back to what it showed before."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt64
from typing_extensions import override

from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.repetition.hashes import FrameHash, distances, words_of
from cf.metrics.scored import Scored

SAME, LEFT, GAP = 3, 10, 2.0
"""Bits within which two frames are one; bits that the video left by; seconds between them."""
_PAIRS = 1 << 17
"""Pairs of frames compared at a time: a megabyte, which stays in a processor's cache."""


class LoopRate(ReadingMetric):
    r"""Share of frames that show again what was left; down, in [0, 1].

    .. math:: \text{mean}_{j}\ [\exists\, i \le j - 2s:\ d(i, j) \le 3
              \ \wedge\ \exists\, k \in (i, j):\ d(i, k) \ge 10]

    over the frames at 4 per second that come 2 seconds or later, d being the bits in which the
    63-bit perceptual hashes of two frames differ; then over prompts. A video that stands still or
    pans one way never leaves and returns, and has 0. The curve is the share per second.

    Ours, a guard: first-frame similarity is best for a loop. Blind spots: hashes see layout only;
    scenes that rightly repeat count; loops shorter than 2 seconds show only in the next round.

    >>> import torch
    >>> metric = LoopRate()
    >>> metric.update(torch.rand(1, 3, 32, 32).repeat(24, 1, 1, 1), video_id=0, fps=8)
    >>> metric.compute()
    tensor(0., dtype=torch.float64)
    """

    higher_is_better = False

    def __init__(self, rate: float = 4.0, **kwargs: Any) -> None:
        super().__init__(FrameHash(rate), None, **kwargs)

    @override
    def reading(self, one: Scored) -> VideoReading:
        gap = -int(-GAP * one.clock.fps // one.clock.stride)
        again = torch.from_numpy(looped(words_of(one.sums), gap))[gap:].double()
        if not len(again):
            return VideoReading(
                reason=f"it lasts {one.duration:.3g} s, more than {GAP:g} s are needed"
            )
        second = one.seconds[gap:].floor().long()
        seconds = second.unique()
        curve = torch.stack([again[second == start].mean() for start in seconds])
        return VideoReading(float(again.mean()), "", curve, seconds.double())


def looped(words: UInt64[np.ndarray, " n"], gap: int) -> Bool[np.ndarray, " n"]:
    """Which frames show what a frame at least `gap` earlier showed, that was left since."""
    again = np.zeros(len(words), bool)
    step = max(_PAIRS // max(len(words), 1), 1)
    for start in range(0, len(words) - gap, step):
        rows, columns = words[start : start + step], np.arange(start, len(words))
        frames = columns[: len(rows), None]
        apart = distances(rows, words[start:])
        away = apart >= LEFT
        away[:, : len(rows)] &= columns[: len(rows)] > frames
        first = np.where(away.any(1), start + away.argmax(1), len(words))[:, None]
        back = (apart <= SAME) & (columns > np.maximum(first, frames + gap - 1))
        again[start:] |= back.any(0)
    return again
