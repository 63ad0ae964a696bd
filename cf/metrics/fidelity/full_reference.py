"""Likeness to a video that is known to be right, frame by frame: PSNR and SSIM."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored
from cf.system.opencv import cv2

_LEAST_ERROR = 1e-10
_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


@runtime_checkable
class FrameSimilarity(Protocol):
    """How alike two frames are, a number for each pair.

    Attributes:
        name: what is compared, and by which network if by one.
        higher_is_better: whether more of it is more alike.
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def higher_is_better(self) -> bool:
        """See the class."""

    def __call__(
        self, frames: Float[Tensor, "t 3 h w"], true: Float[Tensor, "t 3 h w"]
    ) -> Float[Tensor, " t"]:
        """The number of each pair, in float64; it does not depend on the other pairs."""

    def provenance(self) -> dict[str, Any]:
        """All that the number depends on."""


@dataclass(frozen=True)
class Decibels:
    """Peak signal-to-noise ratio of each frame, the peak being 1."""

    name: str = "psnr"
    higher_is_better: bool = True

    def __call__(
        self, frames: Float[Tensor, "t 3 h w"], true: Float[Tensor, "t 3 h w"]
    ) -> Float[Tensor, " t"]:
        """See `FrameSimilarity`."""
        error = (frames.double() - true.double()).square().flatten(1).mean(1)
        return -10 * error.clamp(min=_LEAST_ERROR).log10()

    def provenance(self) -> dict[str, Any]:
        """See `FrameSimilarity`."""
        return {"compared": "psnr", "peak": 1.0, "most": 100.0}


@dataclass(frozen=True)
class Structure:
    """Structural similarity of each frame under a Gaussian of 11 pixels, sigma 1.5."""

    name: str = "ssim"
    higher_is_better: bool = True

    def __call__(
        self, frames: Float[Tensor, "t 3 h w"], true: Float[Tensor, "t 3 h w"]
    ) -> Float[Tensor, " t"]:
        """See `FrameSimilarity`."""
        if min(frames.shape[-2:]) < _WINDOW:
            raise ValueError(
                f"frames of {tuple(frames.shape[-2:])} pixels are smaller than SSIM's window of "
                f"{_WINDOW} pixels; compare larger ones"
            )
        pairs = zip(frames.double(), true.double(), strict=True)
        scores = [_structure(frame, reference) for frame, reference in pairs]
        return torch.stack(scores) if scores else torch.zeros(0, dtype=torch.float64)

    def provenance(self) -> dict[str, Any]:
        """See `FrameSimilarity`."""
        return {"compared": "ssim", "data_range": 1.0, "sigma": _SIGMA, "k1": _K1, "k2": _K2}


def _structure(x: Float[Tensor, "3 h w"], y: Float[Tensor, "3 h w"]) -> Float[Tensor, ""]:
    """Mean over windows around each pixel, the picture mirrored at its border, and over colours.

    Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861), as `torchmetrics` has it, which
    takes fifty times as long: it convolves in two dimensions, in float64 without a fast kernel.
    """
    planes = torch.cat((x, y, x * x, y * y, x * y)).detach().cpu().numpy()
    weights = cv2.getGaussianKernel(_WINDOW, _SIGMA, cv2.CV_64F)
    mirrored = cv2.BORDER_REFLECT_101
    # Plane by plane: on all at once OpenCV takes twice the time.
    local = [cv2.sepFilter2D(p, -1, weights, weights, borderType=mirrored) for p in planes]
    means = torch.from_numpy(np.stack(local)).to(x)
    mean, mean_other, square, square_other, product = means.chunk(5)
    crossed = mean * mean_other
    spread = (square - mean**2).clamp(min=0) + (square_other - mean_other**2).clamp(min=0)
    c1, c2 = _K1**2, _K2**2
    light = (2 * crossed + c1) / (mean**2 + mean_other**2 + c1)
    return (light * (2 * (product - crossed) + c2) / (spread + c2)).mean()


@dataclass(frozen=True)
class Against(Measurement):
    """How alike each frame and its reference are.

    Attributes:
        comparison: what makes a number of a pair.
        rate: frames per second that are compared; None for all.
    """

    comparison: FrameSimilarity
    rate: float | None = None
    kept = torch.float64
    needs = ("reference",)
    width = 1

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t 1"]:
        assert seen.reference is not None
        if not len(seen.frames):
            return torch.zeros(0, 1, dtype=torch.float64)
        return self.comparison(seen.frames, seen.reference.nan_to_num(0, 0, 0))[:, None]

    @override
    def provenance(self) -> dict[str, Any]:
        return {"rate": self.rate, **self.comparison.provenance()}


class FullReference(VideoMetric):
    """Mean over a video's frames of a comparison with the reference, then over videos.

    Attributes:
        comparison: what makes a number of a frame and its reference.
    """

    comparison: FrameSimilarity

    def __init__(
        self, window: float | None = 1.0, rate: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(Against(self.comparison, rate), window, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        values = {video.video_id: float(video.sums.sum() / video.count.sum()) for video in videos}
        return self.answer(
            mean(values.values()),
            values,
            per_window={video.video_id: video.sums[:, 0] / video.count for video in videos},
            windows={video.video_id: video.seconds for video in videos},
        )


class PSNR(FullReference):
    r"""Peak signal-to-noise ratio against a reference; up, in dB.

    .. math:: \text{mean}_t \; {-10} \log_{10} \text{mean}(x_t - y_t)^2

    Pixels lie in [0, 1], so the peak is 1. It is the mean of decibels, not the decibels of the
    mean error; an identical frame counts as 100 dB. Blind to structure: a shift by a pixel costs
    more than blur.

    >>> import torch
    >>> metric = PSNR()
    >>> metric.update(torch.zeros(2, 3, 8, 8), 0, fps=8, reference=torch.full((2, 3, 8, 8), 0.1))
    >>> round(float(metric.compute()), 3)
    20.0
    """

    higher_is_better = True
    comparison = Decibels()


class SSIM(FullReference):
    """Structural similarity to a reference; up, at most 1, no unit.

    Mean over frames of Wang et al. 2004 (10.1109/TIP.2003.819861) with a Gaussian window of 11
    pixels (sigma 1.5), constants .01 and .03, and a data range fixed at 1, without which the
    number would depend on which frames come along. Blind to colour casts that leave structure.

    >>> import torch
    >>> metric = SSIM()
    >>> frames = torch.rand(2, 3, 16, 16)
    >>> metric.update(frames, 0, fps=8, reference=frames)
    >>> round(float(metric.compute()), 6)
    1.0
    """

    higher_is_better = True
    comparison = Structure()
