"""Which share of motion is that of objects, not of the camera."""

from typing_extensions import override

from cf.metrics.motion.motion import STILL, Motion, MotionMetric
from cf.metrics.readings import VideoReading
from cf.metrics.scored import Scored


class CameraVsObject(MotionMetric):
    r"""Share of motion that no affine motion of the whole picture explains; in [0, 1].

    .. math:: \frac{\sum_t \text{mean}_x |v_t(x) - A_t(x)|}
                   {\sum_t \text{mean}_x |v_t(x) - A_t(x)| + \text{mean}_x |A_t(x)|}

    where the affine motion A is fitted to the flow by RANSAC (half a pixel); over the pairs that
    move and are no cuts, then over prompts. 0 is a pan, a zoom or a roll of the camera, 1 is
    objects before a camera at rest. Neither direction is better: it unmasks motion that is the
    camera's alone. Extras: `camera` and `object`, in pixels of a picture with a short side of 256.

    Ours. Blind spots: parallax counts as object motion; an object that fills most of the picture
    passes for the camera.

    >>> import torch
    >>> coarse = torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    >>> wide = torch.nn.functional.interpolate(coarse, (64, 128), mode="bilinear")[0]
    >>> metric = CameraVsObject()
    >>> metric.update(torch.stack([wide[..., x : x + 64] for x in range(8)]), video_id=0, fps=8)
    >>> bool(metric.compute() < 0.1)
    True
    """

    @override
    def read(self, motion: Motion, one: Scored) -> VideoReading:
        counted = ~motion.cut & (motion["magnitude"] >= STILL)
        if not counted.any():
            return VideoReading(reason="it stands still, or moves at cuts only")
        camera, residual = motion["camera"], motion["object"]
        share = residual / (residual + camera).clamp(min=1e-12)
        curve, seconds = motion.curve(share.where(counted, float("nan")), self.curve_window)
        ours, theirs = float(camera[counted].mean()), float(residual[counted].mean())
        extras = {"camera": ours, "object": theirs}
        return VideoReading(theirs / (theirs + ours), "", curve, seconds, extras)
