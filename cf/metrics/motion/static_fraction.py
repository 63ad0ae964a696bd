"""How much of a video stands still."""

from typing_extensions import override

from cf.metrics.motion.motion import FROZEN, Motion, MotionMetric
from cf.metrics.readings import VideoReading
from cf.metrics.scored import Scored


class StaticFraction(MotionMetric):
    r"""Share of pairs of frames between which nothing moves; down, in [0, 1].

    .. math:: \text{mean}_t\ [\text{mean}_x |v_t(x)| < 0.02\ \text{px of}\ 256]

    over the pairs of a video, then over prompts; the curve is the share per window.

    Ours, a guard: every metric of likeness is best for a frozen video. Blind spots: noise,
    flicker and a camera that shakes pass for motion.

    >>> import torch
    >>> metric = StaticFraction()
    >>> metric.update(torch.rand(1, 3, 32, 32).repeat(8, 1, 1, 1), video_id=0, fps=8)
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = False

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        still = (motion["magnitude"] < FROZEN).double()
        return VideoReading(float(still.mean()), "", *motion.curve(still, self.curve_window))
