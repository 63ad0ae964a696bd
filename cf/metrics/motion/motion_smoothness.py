"""Motion smoothness: how much motion changes along trajectories."""

import math

import torch
from torch import Tensor
from typing_extensions import override

from cf.metrics.motion.motion import STILL, Motion, MotionMetric
from cf.metrics.readings import VideoReading
from cf.metrics.scored import Scored

MOVING = 0.25


class MotionSmoothness(MotionMetric):
    r"""The jerk ratio J: change of flow along trajectories over flow; down, in [0, 1], no unit.

    .. math:: J = \frac{\sum_{t,x} |v_{t+1}(x + v_t(x)) - v_t(x)|}
                       {\sum_{t,x} |v_t(x)| + |v_{t+1}(x + v_t(x))|}

    over the triples of frames that move (half the mean summand below reaches .15 pixels of 96); a
    ratio of sums per window, then the mean over windows in which at least a quarter of the triples
    moves, then over prompts. 0 is uniform motion along trajectories, 1 is motion that starts and
    stops with each frame. Triples across a cut (flow does not return for 60 % of the pixels) do
    not count. NaN where fewer than a quarter of all triples move: what stands still has no
    smoothness.

    Extras: `cut_rate` (cuts per minute), `magnitude` (mean flow in pixels of 256 per frame),
    `motion_fps` (frames per second at which motion was seen), `moving` (share of triples).

    Ours (acceleration penalties of trajectories are the prior art). Blind spots: on curved paths J
    grows with the turn per frame, hence with speed and frame rate: compare at one rate, and with
    the magnitude beside it. It saturates early under jitter: an alarm, no fine ruler. Real
    footage whose motion is small and not rigid (a face that talks) has .3 to .5 with DIS, and so
    has a shaken camera: compare videos of like prompts. Backends do not compare.

    >>> import torch
    >>> still = torch.rand(1, 3, 32, 32).repeat(8, 1, 1, 1)
    >>> metric = MotionSmoothness()
    >>> metric.update(still, video_id=0, fps=8)
    >>> metric.result().reasons[0]
    'it stands still: 0 % of its motion is above the threshold, 25 % must be'
    """

    higher_is_better = False

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        uncut = ~(motion.cut[:-1] | motion.cut[1:])
        moving = uncut & (motion["travel"] / 2 >= STILL)
        share = float(moving.sum() / uncut.sum()) if uncut.any() else 0.0
        extras = {
            "cut_rate": 60 * int(motion.cut.sum()) / motion.duration,
            "magnitude": float(motion["magnitude"][~motion.cut].mean()),
            "motion_fps": motion.rate,
            "moving": share,
        }
        curve, seconds = self._curve(motion, uncut, moving)
        value, reason = math.nan, ""
        if not uncut.any():
            reason = "every three neighbouring frames hold a cut"
        elif share < MOVING:
            reason = (
                f"it stands still: {share:.0%} of its motion is above the threshold, "
                f"{MOVING:.0%} must be"
            ).replace("%", " %")
        else:
            value = float(curve.nanmean())
            assert not math.isnan(value)  # else no window had a quarter, nor had the video
        return VideoReading(value, reason, curve, seconds, extras)

    def _curve(self, motion: Motion, uncut: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        values, starts = [], []
        for second, pairs in motion.windows(self.curve_window):
            triples = pairs[:-1]  # a triple begins with each pair but the last
            if not triples.any():
                continue
            counted, eligible = triples & moving, triples & uncut
            enough = eligible.any() and counted.sum() >= MOVING * eligible.sum() and counted.any()
            jerk, travel = (motion[name][counted].sum() for name in ("jerk", "travel"))
            values.append(float(jerk / travel) if enough else math.nan)
            starts.append(second)
        curve, seconds = (torch.tensor(part, dtype=torch.float64) for part in (values, starts))
        return curve, seconds
