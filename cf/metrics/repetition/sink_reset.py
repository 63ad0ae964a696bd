"""How often a video jumps back to its beginning."""

from typing import Any

import numpy as np
import torch
from typing_extensions import override

from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.repetition.hashes import FrameHash, distances, words_of
from cf.metrics.scored import Scored

STEP, LANDING, ANCHOR = 24, 6, 1.0
"""Bits of an abrupt step; bits from the anchor where it lands; seconds of the anchor."""


class SinkReset(ReadingMetric):
    r"""Abrupt returns to the beginning per minute; down, from 0 up.

    .. math:: \frac{60 s}{T} \sum_{t \ge 1s}
              [d(t-1, t) \ge 24\ \wedge\ \min_{a < 1s} d(a, t) \le 6]

    at 4 frames per second, d being the bits in which the 63-bit perceptual hashes of two frames
    differ and the anchor a the first second; then over prompts. The curve is the step d(t-1, t)
    per frame; the extra `largest_step` is its maximum. It finds the resets of models whose first
    frames stay in the context as a sink.

    Ours, after what LoL (arXiv 2601.16914) reports at fixed frames. Blind spots: hashes see layout
    only; a soft return is `LoopRate`'s; a scene that cuts back rightly counts.

    >>> import torch
    >>> metric = SinkReset()
    >>> metric.update(torch.rand(1, 3, 32, 32).repeat(24, 1, 1, 1), video_id=0, fps=8)
    >>> metric.compute()
    tensor(0., dtype=torch.float64)
    """

    higher_is_better = False
    curve_shows = "bits of 63 in which a picture differs from the last"

    def __init__(self, rate: float = 4.0, **kwargs: Any) -> None:
        super().__init__(FrameHash(rate), None, **kwargs)

    @override
    def reading(self, one: Scored) -> VideoReading:
        words = words_of(one.sums)
        anchor = words[(one.seconds < ANCHOR).numpy()]
        if len(words) <= len(anchor):
            return VideoReading(
                reason=f"it lasts {one.duration:.3g} s, more than {ANCHOR:g} s is needed"
            )
        step = torch.from_numpy(np.bitwise_count(words[1:] ^ words[:-1]))
        back = torch.from_numpy(distances(anchor, words[1:]).min(0) <= LANDING)
        resets = int(((step >= STEP) & back & (one.seconds[1:] >= ANCHOR)).sum())
        value = 60 * resets / one.duration
        extras = {"largest_step": float(step.max())}
        return VideoReading(value, "", step.double(), one.seconds[1:], extras)
