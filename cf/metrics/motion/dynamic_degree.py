"""How much of a video moves, as a curve, and VBench's verdict on the whole of it."""

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.motion.motion import Motion, MotionMetric
from cf.metrics.readings import VideoReading
from cf.metrics.scored import Scored

MOVED = 6.0
"""Pixels of 256 that the fastest twentieth of a moving pair moves on average, and more."""


def vbench_is_dynamic(top: Float[Tensor, " n"], frames: int) -> bool:
    """VBench's rule: a quarter of the sampled frames, rounded half to even, must move.

    Two sampled frames need no motion at all; one has no pair and is never dynamic.

    Args:
        top: of each pair of sampled frames, the mean of the longest twentieth of its flow, in
            pixels of a picture whose short side has 256.
        frames: sampled frames.
    """
    return len(top) > 0 and int((top > MOVED).sum()) >= round(4 * frames / 16)


class DynamicDegree(MotionMetric):
    r"""Share of pairs of frames that move; up, in [0, 1].

    .. math:: \text{mean}_t\ [\text{top}_t > 6]

    where top is the mean of the longest 5 % of the flow, in pixels of a picture whose short side
    has 256, at about 8 frames per second; over the pairs of a video, then over prompts. The curve
    is the share per window. The extra `vbench_dynamic_degree` is the mean over videos of VBench's
    boolean (Huang et al. 2024, arXiv 2311.17982), which asks for a quarter of the pairs only: its
    own numbers are with `flow="raft-things"`.

    Blind spots: the motion of a camera counts, and so do drift, flicker and noise that pass for
    motion; more is not better beyond what the prompt asks for. It guards other metrics.

    >>> import torch
    >>> metric = DynamicDegree()
    >>> metric.update(torch.rand(1, 3, 32, 32).repeat(8, 1, 1, 1), video_id=0, fps=8)
    >>> metric.result().extras
    {'vbench_dynamic_degree': 0.0}
    """

    higher_is_better = True

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        moved = motion["top"] > MOVED
        curve, seconds = motion.curve(moved.double(), self.curve_window)
        verdict = vbench_is_dynamic(motion["top"], len(motion.pairs) + 1)
        extras = {"vbench_dynamic_degree": float(verdict)}
        return VideoReading(float(moved.double().mean()), "", curve, seconds, extras)

    @override
    def short(self, one: Scored, reason: str) -> VideoReading:
        two = one.frames > one.clock.stride
        return VideoReading(reason=reason, extras={"vbench_dynamic_degree": float(two)})
