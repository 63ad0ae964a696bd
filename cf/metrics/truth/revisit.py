"""Likeness to the engine's picture at the pose of a view that comes again, by lag."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.fidelity.full_reference import Decibels, FrameSimilarity, Structure
from cf.metrics.fidelity.perceptual import Net, Perceptual
from cf.metrics.lags import means_by_lag, rising, span
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.result import Result, mean, without_value
from cf.metrics.scored import Scored
from cf.metrics.truth.painter import (
    AWAY,
    LAGS,
    NOVEL,
    Painter,
    pictures_at_poses,
    revisit_bins,
)


@dataclass(frozen=True)
class AtPose(Measurement):
    """A comparison of revisits and of novel views with what the engine paints there.

    Attributes:
        side: longest shorter side in pixels at which pictures are compared.
    """

    world: Painter
    comparison: FrameSimilarity
    rate: float | None = 2.0
    side: int = 480
    kept = torch.float64
    needs = AWAY
    width = 2

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t 2"]:
        away = seen.truth["away"].double()
        rows = torch.stack((away, torch.zeros_like(away)), 1)
        again = (away > 0) | (away == NOVEL)
        if again.any():
            rows[again, 1] = self.comparison(*pictures_at_poses(self.world, seen, again, self.side))
        return rows

    @override
    def provenance(self) -> dict[str, Any]:
        settings = {"at_pose": True, "rate": self.rate, "side": self.side}
        return {**settings, **self.world.provenance(), **self.comparison.provenance()}


class PoseRevisit(VideoMetric):
    """A comparison with the engine's picture over revisits: views given, left, seen again.

    Nearness of pose decides what a view is (`cf.data.world.again`), and the lag is the time for
    which it was out of sight. Mean over a video's sampled revisits, then over videos; by lag,
    pooled, in `curves`. `extras`: `novel`, the same over views that no frame had shown, which have
    no one truth: never recall, it tells what the metric is without any.

    Both pictures are brought to one size: the engine's is scaled by area to that of the generator,
    whatever that is; beyond `side`, both are scaled by area to it.

    Attributes:
        comparison: what makes a number of both pictures.
        world: paints the places (`cf.data.world.doom.painter.DoomPainter`).
        edges: of the bins of lag, in seconds; other lags are not counted.
        rate: frames per second that are compared.
        side: longest shorter side in pixels at which pictures are compared.
    """

    comparison: FrameSimilarity
    depends_on = ("edges",)

    def __init__(
        self,
        world: Painter,
        edges: Sequence[float] = LAGS,
        rate: float | None = 2.0,
        side: int = 480,
        **kwargs: Any,
    ) -> None:
        self.edges = rising(edges)
        if side < 16:
            raise ValueError(f"side={side} must be at least 16 pixels")
        super().__init__(AtPose(world, self.comparison, rate, side), window=None, **kwargs)

    @property
    def name(self) -> str:
        """Of the class, and the lags if they are not the usual ones."""
        lags = span(self.edges, LAGS)
        return f"{super().name}[{lags}]" if lags else super().name

    @override
    def score(self, videos: list[Scored]) -> Result:
        by_lag = []
        per_video: dict[int, float] = {}
        novel: list[float] = []
        for video in videos:
            away, likeness = video.sums.T
            at = revisit_bins(away, float(video.clock.fps), self.edges)
            again = at >= 0
            by_lag.append((at[again], likeness[again]))
            per_video[video.video_id] = mean(likeness[again].tolist())
            novel.append(mean(likeness[away == NOVEL].tolist()))
        nothing = "no view that was given is shown again"
        value = mean(per_video.values())
        reasons = without_value(per_video, nothing, value)
        curves = means_by_lag(by_lag, self.edges)
        extras = {"novel": mean(novel), "frames": float(curves["frames_by_lag"].sum())}
        return self.answer(value, per_video, reasons=reasons, curves=curves, extras=extras)


class PoseRevisitPSNR(PoseRevisit):
    """PSNR of views that come again against the engine's picture; up, in dB, at most 100.

    See `PoseRevisit`. Read beside `ForcedChoice`: alone it praises blur.
    """

    higher_is_better = True
    comparison = Decibels()


class PoseRevisitSSIM(PoseRevisit):
    """SSIM of views that come again against the engine's picture; up, at most 1.

    See `PoseRevisit`.
    """

    higher_is_better = True
    comparison = Structure()


class PoseRevisitLPIPS(PoseRevisit):
    """LPIPS of views that come again from the engine's picture; down, from 0.

    See `PoseRevisit`, and `LPIPS` for the weights.
    """

    higher_is_better = False

    def __init__(
        self,
        world: Painter,
        net: Net = "alex",
        weights: str | Path | None = None,
        random: int | None = None,
        device: str = "cpu",
        edges: Sequence[float] = LAGS,
        rate: float | None = 2.0,
        side: int = 480,
        **kwargs: Any,
    ) -> None:
        self.comparison = Perceptual(net, weights, random, device)
        super().__init__(world, edges, rate, side, **kwargs)
