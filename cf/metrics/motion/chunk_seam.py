"""Whether one can see where a generator's blocks begin."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from cf.metrics.motion.motion import Motion, MotionMetric
from cf.metrics.readings import VideoReading, collected
from cf.metrics.result import Result
from cf.metrics.scored import Scored

DRAWS = 999
_PLACES = 1 << 18
"""Drawn at a time, so that drawing takes no more memory for a longer video."""
NOTHING = 1e-5
"""Residual, as a share of full range, that is rounding."""


class ChunkSeam(MotionMetric):
    r"""Change that motion does not explain at seams over that elsewhere; down, 1 is invisible.

    .. math:: \frac{\text{mean}_{t \in B}\ r_t}{\text{mean}_{t \notin B}\ r_t}

    where r is the residual of `TemporalFlicker` per pair of frames and B the pairs across the
    `boundaries` given to `update`; the mean over prompts, from 0 up. A pair that is a cut counts in
    full: its residual is then the jump of the mean luma if that is larger. Extras: `p`, how often
    boundaries that are each moved at random to any place in their block give as much (one-sided,
    999 draws of a fixed seed), over the set; `jump`, the same ratio of the mean luma's jumps.

    Ours; Forcing-KV's chunk discontinuity guesses where the seams are. Blind spots: at a lower
    `rate` than the video's own, pairs span more than the seam, which dulls it: use `rate=None`
    where it matters. NaN without boundaries.

    >>> import torch
    >>> metric = ChunkSeam()
    >>> metric.update(torch.rand(8, 3, 32, 32), video_id=0, fps=8)
    >>> metric.result().reasons[0]
    "it is not known at which frames its generator's blocks begin"
    """

    higher_is_better = False
    curve_shows = "change that motion does not explain"

    @override
    def score(self, videos: list[Scored]) -> Result:
        result = collected(self, videos, self.reading)
        prompts: dict[int, list[np.ndarray]] = {}
        for video in videos:
            if not math.isnan(result.per_video[video.video_id]):
                prompts.setdefault(video.prompt, []).append(_drawn(video))
        if not prompts:
            return result
        drawn = np.mean([np.mean(of_one, axis=0) for of_one in prompts.values()], axis=0)
        as_much = int((drawn >= result.value * (1 - 1e-9)).sum())
        return self.answer(
            result.value,
            result.per_video,
            reasons=result.reasons,
            per_window=result.per_window,
            windows=result.windows,
            extras={**result.extras, "p": (1 + as_much) / (1 + DRAWS)},
        )

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        curve, seconds = motion.curve(_residual(motion), self.curve_window)
        seams = _seams(motion, one)
        reason = ""
        if not len(one.marks):
            reason = "it is not known at which frames its generator's blocks begin"
        elif not 0 < len(seams) < len(motion.pairs):
            reason = "its pairs of frames lie all across boundaries, or none does"
        elif _elsewhere(_residual(motion), seams) < NOTHING:
            reason = "nothing changes but at boundaries"
        if reason:
            return VideoReading(reason=reason, curve=curve, seconds=seconds)
        jump = _ratio(motion["jump"], seams)
        value = _ratio(_residual(motion), seams)
        return VideoReading(value, "", curve, seconds, {"jump": jump})


def _drawn(video: Scored) -> Float[np.ndarray, " draws"]:
    """The ratio with boundaries moved at random, many times."""
    motion = Motion.of(video)
    residual, seams = _residual(motion).numpy(), _seams(motion, video).numpy()
    middles = (seams[1:] + seams[:-1] + 1) // 2
    first = np.concatenate(([0], middles))
    last = np.concatenate((middles, [len(residual)]))
    # Each video draws for itself: moved alike, videos with the same blocks would not average out.
    random = np.random.default_rng([0, video.video_id & (2**63 - 1)])
    sums = np.empty(DRAWS)
    step = max(_PLACES // len(seams), 1)
    for start in range(0, DRAWS, step):
        some = sums[start : start + step]
        some[:] = residual[random.integers(first, last, (len(some), len(seams)))].sum(1)
    elsewhere = (residual.sum() - sums) / (len(residual) - len(seams))
    drawn: np.ndarray = sums / len(seams) / np.maximum(elsewhere, 1e-12)
    return drawn


def _residual(motion: Motion) -> Float[Tensor, " n"]:
    residual = motion["residual"]
    return torch.where(motion.cut, torch.maximum(residual, motion["jump"]), residual)


def _seams(motion: Motion, video: Scored) -> Int[Tensor, " m"]:
    """The pairs of sampled frames between which a block begins."""
    pairs: Tensor = torch.unique((video.marks[video.marks > 0] - 1) // motion.clock.stride)
    return pairs[pairs < len(motion.pairs)]


def _elsewhere(values: Float[Tensor, " n"], seams: Int[Tensor, " m"]) -> float:
    others = torch.ones(len(values), dtype=torch.bool)
    others[seams] = False
    return float(values[others].mean())


def _ratio(values: Float[Tensor, " n"], seams: Int[Tensor, " m"]) -> float:
    elsewhere = _elsewhere(values, seams)
    return float(values[seams].mean()) / elsewhere if elsewhere else math.nan
