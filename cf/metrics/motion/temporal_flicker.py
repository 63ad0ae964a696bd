"""Temporal flicker: what changes between frames that motion does not explain."""

import math

from typing_extensions import override

from cf.metrics.motion.motion import Motion, MotionMetric
from cf.metrics.readings import VideoReading
from cf.metrics.scored import Scored

CUT = "every two neighbouring frames are cut apart"


class TemporalFlicker(MotionMetric):
    r"""Mean difference of frames along trajectories; down, in [0, 1], as a share of full range.

    .. math:: \text{mean}_{t}\ \text{mean}_{x \in V_t} |I_{t+1}(x + v_t(x)) - I_t(x)|

    over the pixels :math:`V_t` that stay in the picture and from which flow forth and back returns,
    the mean over pairs of frames but cuts, then over prompts. Unlike VBench's flickering it is
    valid on moving scenes.

    Ours, after Lai et al. 2018 (arXiv 1808.00449). Blind spots: a blurred or frozen video has
    little; where flicker hides from the flow, pixels fall out of the mean (`seen` in the extras is
    the share that counted); changes of light that the scene has are counted as flicker.

    >>> import torch
    >>> metric = TemporalFlicker()
    >>> metric.update(torch.rand(1, 3, 32, 32).repeat(8, 1, 1, 1), video_id=0, fps=8)
    >>> metric.compute()
    tensor(0., dtype=torch.float64)
    """

    higher_is_better = False
    column = "residual"

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        uncut = ~motion.cut
        residual = motion[self.column]
        curve, seconds = motion.curve(residual.where(uncut, math.nan), self.curve_window)
        extras = {"cut_rate": 60 * int(motion.cut.sum()) / motion.duration}
        if not uncut.any():
            return VideoReading(reason=CUT, curve=curve, seconds=seconds, extras=extras)
        extras["seen"] = float(motion["seen"][uncut].mean())
        return VideoReading(float(residual[uncut].mean()), "", curve, seconds, extras)
