"""Classical measures of picture quality that need no weights, of each frame on its own."""

import math
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

FLOORS = {
    "sharpness": 1.0,
    "noise": 0.25,
    "clipped": 0.01,
    "overexposed": 0.01,
    "saturation": 0.01,
    "contrast": 0.005,
    "blockiness": 0.1,
    "brightness": 0.01,
}
"""Measure -> what is added to both sides of a ratio, so that nothing over nothing is 1."""
MEASURES = tuple(FLOORS)
_STEP = 0.1  # levels, so that a flat frame has no blocks
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)


@dataclass(frozen=True)
class Classical(Measurement):
    """Measures of single frames.

    sharpness: variance of the Laplacian of luma, in squared levels of 0 to 255.
    noise: Immerkaer's estimate (1996) of the deviation of luma's noise, in levels.
    clipped, overexposed: share of pixels of luma at most 2 or at least 253; at least 253.
    saturation: mean of (max - min) / max over colours.
    contrast: standard deviation of luma in [0, 1]; brightness: its mean.
    blockiness: mean step of luma across borders of 8 x 8 blocks over that elsewhere; 1 is none.

    In frames below 3 x 3 pixels sharpness and noise are NaN, and so is blockiness where no border
    of blocks lies within the frame, below 9 pixels either way.

    Attributes:
        rate: frames per second that are looked at.
    """

    rate: float | None = 4.0
    kept = torch.float64
    width = len(MEASURES)

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        rows = [
            _measures(frame.permute(1, 2, 0).cpu().contiguous().numpy()) for frame in seen.frames
        ]
        return torch.tensor(rows, dtype=torch.float64).view(-1, self.width)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"measured": "classical quality of frames", "rate": self.rate}


class ClassicalMeasure(ReadingMetric):
    """One classical measure of quality (see `Classical`): its mean over windows, then prompts.

    A number of its own unit from 0 up; neither direction is better in general. Feed it to
    `QualityDrift`, or read its curve. Blind spots: what a scene shows moves it as well as quality.

    Attributes:
        measure: sharpness, noise, clipped, overexposed, saturation, contrast, blockiness or
            brightness.

    >>> import torch
    >>> metric = ClassicalMeasure("brightness")
    >>> metric.update(torch.full((8, 3, 16, 16), 0.5), video_id=0, fps=8)
    >>> metric.name, round(float(metric.compute()), 3)
    ('brightness', 0.5)
    """

    depends_on = ("measure",)

    def __init__(
        self, measure: str, rate: float | None = 4.0, window: float = 1.0, **kwargs: Any
    ) -> None:
        if measure not in MEASURES:
            raise ValueError(f"measure={measure!r} is not known; choose from {', '.join(MEASURES)}")
        super().__init__(Classical(rate), window, **kwargs)
        self.measure = measure

    @property
    @override
    def name(self) -> str:
        return self.measure

    @override
    def reading(self, one: Scored) -> VideoReading:
        curve = one.sums[:, MEASURES.index(self.measure)] / one.count
        if curve.isnan().any():
            return VideoReading(reason=too_small(one))
        return VideoReading(float(curve.mean()), "", curve, one.seconds)


def too_small(one: Scored) -> str:
    """Why a classical measure is NaN."""
    height, width = one.size
    return f"frames of {height} x {width} pixels are too small; give them 9 or more either way"


def _measures(picture: Float32[np.ndarray, "h w 3"]) -> list[float]:
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float64)
    levels = grey * 255
    red, green, blue = cv2.split(picture)
    brightest = cv2.max(cv2.max(red, green), blue)
    darkest = cv2.min(cv2.min(red, green), blue)
    colourful = (brightest - darkest) / np.maximum(brightest, 1e-6)
    bright = float((levels > 252.5).mean())
    values = {
        "sharpness": _sharpness(levels),
        "noise": _noise(levels),
        "clipped": bright + float((levels < 2.5).mean()),
        "overexposed": bright,
        "saturation": float(colourful.mean(dtype=np.float64)),
        "contrast": float(grey.std()),
        "blockiness": _blockiness(levels),
        "brightness": float(grey.mean()),
    }
    return [values[name] for name in MEASURES]


def _sharpness(levels: Float[np.ndarray, "h w"]) -> float:
    if min(levels.shape) < 3:
        return math.nan
    return float(cv2.Laplacian(levels, cv2.CV_64F).var())


def _noise(levels: Float[np.ndarray, "h w"]) -> float:
    if min(levels.shape) < 3:
        return math.nan
    rough = cv2.filter2D(levels, cv2.CV_64F, _NOISE)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) * np.abs(rough).mean() / 6)


def _blockiness(levels: Float[np.ndarray, "h w"]) -> float:
    at, elsewhere = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(levels, axis=axis)).mean(1 - axis)
        border = np.arange(1, len(steps) + 1) % 8 == 0
        at += list(steps[border])
        elsewhere += list(steps[~border])
    if not at or not elsewhere:
        return math.nan
    return float((np.mean(at) + _STEP) / (np.mean(elsewhere) + _STEP))
