"""What optical flow tells of three neighbouring frames: all that the metrics of motion need."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Measurement, Seen
from cf.metrics.motion.flow import Dis, Field, Flow, Picture, luma
from cf.metrics.motion.warp import followed, inside, planes
from cf.system.opencv import cv2

PAIR = ("magnitude", "top", "camera", "object", "failure", "seen", "residual", "squared", "jump")
TRIPLE = ("jerk", "travel")
UNIT = 256
"""Motion is told in pixels of a picture whose short side has that many."""


@dataclass(frozen=True)
class MotionField(Measurement):
    """Statistics of the flow between three neighbouring frames, forth and back.

    Frames are shrunk to a short side of at most `side`, and never enlarged: flow of enlarged
    frames is rougher than that of small ones (J of a uniform pan at 32 pixels: .008 as it is, .06
    at 128, .15 at 256). Lengths are in pixels of a picture with a short side of 256.

    Of each of the two pairs of frames:
        magnitude, top: mean length of the flow, and of its longest twentieth.
        camera, object: mean length of the affine motion that fits it best (RANSAC), and of what
            that leaves.
        failure: share of pixels, of those that stay in the picture, from which flow forth and back
            does not return (Sundaram et al. 2010: beyond 1 % of its squared length and .5).
        seen: share of pixels that stay in the picture and do return.
        residual, squared: mean absolute and squared difference of those to where the flow leads,
            over colours in [0, 1]; 0 if there are none.
        jump: how much the mean luma differs, in [0, 1].

    Of the three frames:
        jerk: mean length of the change of flow along trajectories.
        travel: mean of the summed lengths of both flows along trajectories.

    Attributes:
        flow: the backend.
        rate: frames per second that are looked at.
        side: pixels of the short side at most.
    """

    flow: Flow = Dis()  # noqa: RUF009 -- a frozen value
    rate: float | None = 8.0
    side: int = 256
    span = 3
    kept = torch.uint8
    width = 2 * len(PAIR) + len(TRIPLE)

    @override
    def see(self, seen: Seen) -> UInt8[Tensor, "t 3 h w"]:
        height, width = seen.frames.shape[-2:]
        if min(height, width) < self.flow.smallest:
            raise ValueError(
                f"frames of {height} x {width} pixels are too small for {self.flow.name} flow; "
                f"enlarge them to at least {self.flow.smallest}"
            )
        shrink = min(1.0, self.side / min(height, width))
        size = round(width * shrink), round(height * shrink)
        pictures = torch.zeros(len(seen.frames), 3, size[1], size[0], dtype=torch.uint8)
        for row, frame in zip(pictures, seen.frames, strict=True):
            picture = frame.permute(1, 2, 0).cpu().contiguous().numpy()
            if shrink < 1:
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
            levels = np.rint(picture * 255).clip(0, 255).astype(np.uint8)
            row.copy_(torch.from_numpy(levels).permute(2, 0, 1))
        return pictures

    @override
    def measure(self, kept: UInt8[Tensor, "t 3 h w"]) -> Float[Tensor, "n width"]:
        pictures = [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in kept]
        rows: list[list[float]] = []
        last: tuple[list[float], Tensor] | None = None
        for first, second in pairwise(pictures):
            pair, forth = self._pair(first, second)
            if last is not None:
                rows.append([*last[0], *pair, *_triple(last[1], forth)])
            last = pair, forth
        return torch.tensor(rows, dtype=torch.float64)

    def _pair(self, first: Picture, second: Picture) -> tuple[list[float], Tensor]:
        """Statistics of two frames, and the flow from one to the other, (2, h, w)."""
        field = self.flow(first, second)
        forth, back = (planes(f) for f in (field, self.flow(second, first)))
        unit = UNIT / min(forth.shape[1:])
        length = _length(forth)
        longest = length.flatten().topk(max(1, int(0.05 * length.numel()))).values
        camera, residual = _affine(field)
        target = followed(torch.cat((back, planes(second))), forth)
        staying = inside(forth)
        gap = (forth + target[:2]).square().sum(0)
        limit = 0.01 * (length.square() + target[:2].square().sum(0)) + 0.5
        visible = staying & (gap <= limit)
        stay, in_view = int(staying.sum()), int(visible.sum())
        change = (target[2:] - planes(first))[:, visible].double().abs() / 255
        lumas = [float(luma(picture).mean(dtype=np.float64)) for picture in (first, second)]
        pair = [
            _mean(length) * unit,
            _mean(longest) * unit,
            camera * unit,
            residual * unit,
            1 - in_view / stay if stay else 1.0,
            in_view / length.numel(),
            float(change.mean()) if in_view else 0.0,
            float(change.square().mean()) if in_view else 0.0,
            abs(lumas[1] - lumas[0]) / 255,
        ]
        return pair, forth

    @override
    def provenance(self) -> dict[str, Any]:
        described = {"measured": "motion field", "rate": self.rate, "side": self.side}
        return {"by": self.flow.name, **described, **self.flow.provenance()}


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def _triple(first: Float[Tensor, "2 h w"], second: Float[Tensor, "2 h w"]) -> list[float]:
    """Jerk and travel of two flows that follow one another."""
    unit = UNIT / min(first.shape[1:])
    second = followed(second, first)
    jerk, *lengths = (_mean(_length(flow)) for flow in (second - first, first, second))
    travel = sum(lengths) * unit
    return [min(jerk * unit, travel), travel]  # more is rounding


def _affine(field: Field, points: int = 24) -> tuple[float, float]:
    """Mean length of the affine motion that most pixels follow, and of what it leaves."""
    height, width = field.shape[:2]
    rows, columns = (
        np.linspace(0, side - 1, min(side, points)).round().astype(int) for side in (height, width)
    )
    y, x = np.meshgrid(rows, columns, indexing="ij")
    start = np.stack((x, y), -1).reshape(-1, 2).astype(np.float32)
    moved = field[y, x].reshape(-1, 2)
    fit, _ = cv2.estimateAffine2D(
        start, start + moved, method=cv2.RANSAC, ransacReprojThreshold=0.5, maxIters=500
    )
    if fit is None:
        return 0.0, float(np.hypot(field[..., 0], field[..., 1]).mean(dtype=np.float64))
    across, down = np.arange(width), np.arange(height)[:, None]
    moves = [line[0] * across + line[1] * down + line[2] for line in fit]
    affine = moves[0] - across, moves[1] - down
    offsets = field[..., 0] - affine[0], field[..., 1] - affine[1]
    camera, residual = (float(np.hypot(*part).mean()) for part in (affine, offsets))
    return camera, residual


def _length(flow: Float[Tensor, "2 h w"]) -> Float[Tensor, "h w"]:
    return torch.hypot(flow[0], flow[1])
