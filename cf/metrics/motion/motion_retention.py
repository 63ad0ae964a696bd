"""How much motion is left at a video's end."""

from typing_extensions import override

from cf.metrics.motion.motion import STILL, Motion, MotionMetric
from cf.metrics.readings import VideoReading
from cf.metrics.scored import Scored


class MotionRetention(MotionMetric):
    r"""Motion in the last quarter over motion in the first 5 seconds; 1 keeps it, at least 0.

    .. math:: \frac{\text{mean}_{t \ge 3T/4} |v_t|}{\text{mean}_{t < \min(5 s, T/2)} |v_t|}

    over pairs of frames that begin in the first part, or end in the last; the mean over
    prompts. The curve is the mean flow per window, in pixels of a picture with a
    short side of 256 per sampled frame. Neither direction is better: near 0 a video falls
    asleep, far above 1 it breaks loose; clips of real footage of 3 to 13 seconds have .3 to 3.6.
    NaN where the beginning stands still (mean flow below .15 pixels of 96). Cuts do not count.

    Ours, a guard against standing still. Blind spots: scenes that come to rest; a loop keeps all.

    >>> import torch
    >>> pan = torch.rand(3, 32, 64)
    >>> frames = torch.stack([pan[..., x : x + 32] for x in range(16)])
    >>> metric = MotionRetention()
    >>> metric.update(torch.cat((frames, frames[-1:].repeat(8, 1, 1, 1))), video_id=0, fps=8)
    >>> round(float(metric.compute()), 2)
    0.0
    """

    curve_shows = "motion in pixels of 256"

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        length, uncut = motion["magnitude"], ~motion.cut
        curve, seconds = motion.curve(length.where(uncut, float("nan")), self.curve_window)
        first = uncut & (motion.seconds < min(5.0, motion.duration / 2))
        last = uncut & (motion.seconds + 1 / motion.rate >= 0.75 * motion.duration)
        extras = {"magnitude": float(length[uncut].mean())} if uncut.any() else {}
        if not first.any() or not last.any():
            reason = "its beginning or its last quarter has no pair of frames without a cut"
            return VideoReading(reason=reason, curve=curve, seconds=seconds, extras=extras)
        start, end = (float(length[part].mean()) for part in (first, last))
        if start < STILL:
            reason = f"its beginning stands still: {start:.3g} pixels of 256, {STILL:g} must be"
            return VideoReading(reason=reason, curve=curve, seconds=seconds, extras=extras)
        return VideoReading(end / start, "", curve, seconds, extras)
