"""The blur effect: how little a picture changes when it is blurred once more."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Measurement, Seen
from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.scored import Scored
from cf.system.opencv import cv2

_REACH = 11  # pixels that are averaged
_FLAT = 1e-4  # mean step between pixels, of [0, 1], below which there is nothing to blur


@dataclass(frozen=True)
class Reblurred(Measurement):
    """The blur effect of single frames (Crete et al. 2007, doi 10.1117/12.702790), in [0, 1].

    Numbers are the effect and 1; both are 0 of a frame that is flat, which has nothing to blur.

    Attributes:
        rate: frames per second that are looked at.
        side: pixels of the short side at most: blur is told relative to the picture.
    """

    rate: float | None = 2.0
    side: int = 128
    kept = torch.float64
    width = 2

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t 2"]:
        pictures = (frame.permute(1, 2, 0).float().cpu().contiguous() for frame in seen.frames)
        effects = (self._effect(picture.numpy()) for picture in pictures)
        rows = [(0.0, 0.0) if effect is None else (effect, 1.0) for effect in effects]
        return torch.tensor(rows, dtype=torch.float64).view(-1, 2)

    def _effect(self, picture: Float32[np.ndarray, "h w 3"]) -> float | None:
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        shrink = min(1.0, self.side / min(grey.shape))
        size = max(1, round(grey.shape[1] * shrink)), max(1, round(grey.shape[0] * shrink))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        if min(grey.shape) < 2:
            return None
        effects = []
        for axis, kernel in ((0, (1, _REACH)), (1, (_REACH, 1))):  # along the axis
            blurred = np.asarray(cv2.blur(grey, kernel))
            steps, softened = (np.abs(np.diff(image, axis=axis)) for image in (grey, blurred))
            lost = np.maximum(steps - softened, 0)
            if float(steps.mean()) < _FLAT:
                return None
            effects.append(1 - float(lost.sum() / steps.sum()))
        return max(effects)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"measured": "blur effect but of flat frames", "rate": self.rate, "side": self.side}


class BlurEffect(ReadingMetric):
    r"""How little frames change when they are blurred once more; down, in [0, 1], without unit.

    .. math:: \max_{axis} 1 - \frac{\sum_x \max(0, |D I| - |D \bar I|)}{\sum_x |D I|}

    of luma, D being the step to the next pixel along an axis and the bar a mean of 11 pixels along
    it (Crete et al. 2007), in pictures with a short side of 128 pixels at most, twice a second;
    the mean per second, then over windows, then over prompts. 0 is sharp, 1 is blurred beyond
    telling. Pictures that are flat (black, a white flash) or one pixel wide are left out; NaN where
    all are.

    Unlike `ClassicalQuality` it tells a video that is blurred from its first frame on. Clips of
    real footage have .17 to .43, blurred by 1/43 of the short side .7 or more
    (`benchmarks/gates.py`). Blind spots: noise counts as sharp; fog, water and a shallow focus are
    blurred by right.

    >>> import torch
    >>> metric = BlurEffect()
    >>> metric.update(torch.rand(1, 3, 64, 64).repeat(8, 1, 1, 1), video_id=0, fps=8)
    >>> bool(metric.compute() < 0.2)
    True
    """

    higher_is_better = False

    def __init__(
        self, rate: float | None = 2.0, window: float = 1.0, side: int = 128, **kwargs: Any
    ) -> None:
        if side < 2:
            raise ValueError(f"side={side} must be at least 2 pixels")
        super().__init__(Reblurred(rate, side), window, **kwargs)

    @override
    def reading(self, one: Scored) -> VideoReading:
        effect, counted = one.sums.unbind(1)
        curve = effect / counted  # NaN where every picture of a window is flat
        if curve.isnan().all():
            reason = "every picture of it is flat, or a pixel wide"
            return VideoReading(reason=reason, curve=curve, seconds=one.seconds)
        return VideoReading(float(curve.nanmean()), "", curve, one.seconds)
