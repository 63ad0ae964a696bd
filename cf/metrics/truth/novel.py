"""Views that no frame had shown: how alike such views are as a rule, to the engine's."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.fidelity.frechet import Moments, frechet_distance
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.pooled import PooledResult
from cf.metrics.result import Result, without_value
from cf.metrics.scored import Scored
from cf.metrics.truth.painter import AWAY, NOVEL, Painter, pictures_at_poses

_CELLS = 6  # rows and columns of a picture
_LEVELS = 4  # of each channel of a cell's colour
_NOTHING = "no view is new: the camera stayed where frames had been given"
_OF_A_SET = "a distance of sets has no value for one video"


class CellColours(Extractor):
    """How many of a frame's 36 cells have which of 64 colours, by the mean of each cell.

    >>> CellColours()(torch.zeros(2, 3, 48, 64))[:, 0].tolist()
    [36.0, 36.0]
    """

    name, width, semantic = "cell-colours", _LEVELS**3, False

    @override
    def __call__(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        cells = torch.nn.functional.adaptive_avg_pool2d(frames, _CELLS)
        levels = (cells * _LEVELS).long().clamp(0, _LEVELS - 1)
        place = torch.tensor([_LEVELS**2, _LEVELS, 1])
        colour = (levels.flatten(2) * place[:, None]).sum(1)
        return torch.nn.functional.one_hot(colour, self.width).sum(1).float()

    @override
    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.name, "cells": _CELLS, "levels": _LEVELS}


@dataclass(frozen=True)
class NovelViews(Measurement):
    """Features of views that no frame had shown, and of the engine's picture there.

    A row is whether the view is new, the features of the generator's picture and those of the
    engine's; all are 0 where it is not.

    Attributes:
        rate: frames per second that are looked at.
        side: longest shorter side in pixels at which pictures are looked at.
    """

    world: Painter
    extractor: Extractor
    rate: float | None = 2.0
    side: int = 480
    kept = torch.float64
    needs = AWAY

    @property
    @override
    def width(self) -> int:
        return 1 + 2 * self.extractor.width

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        novel = seen.truth["away"] == NOVEL
        rows = torch.zeros(len(novel), self.width, dtype=torch.float64)
        if novel.any():
            pictures = pictures_at_poses(self.world, seen, novel, self.side)
            rows[novel, 0] = 1
            rows[novel, 1:] = torch.cat([self.extractor(x) for x in pictures], 1).double()
        return rows

    @override
    def provenance(self) -> dict[str, Any]:
        settings = {"novel_views": True, "rate": self.rate, "side": self.side}
        return {**settings, **self.world.provenance(), **self.extractor.provenance()}


class PoseNovel(VideoMetric):
    """What new views have of the engine's: features of a generator's pictures and of the engine's.

    A view is new if no frame had shown it (`cf.data.world.again`). What it should show nobody can
    know: the engine's pictures of these poses tell only how such views look as a rule.
    """

    def __init__(
        self, world: Painter, extractor: Extractor, rate: float | None, side: int, **kwargs: Any
    ) -> None:
        if side < _CELLS:
            raise ValueError(f"side={side} must be at least {_CELLS} pixels")
        super().__init__(NovelViews(world, extractor, rate, side), window=None, **kwargs)
        self.extractor = extractor

    def views(self, one: Scored) -> Float[Tensor, "both n d"]:
        """Features of a video's new views, the generator's and the engine's."""
        rows = one.sums[one.sums[:, 0] > 0, 1:]
        return rows.view(len(rows), 2, self.extractor.width).transpose(0, 1)


class PoseNovelFrechet(PoseNovel):
    r"""Fréchet distance of new views from the engine's pictures at the same poses; down, from 0.

    .. math:: |\mu_1 - \mu_2|^2 + \text{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

    Of features of single frames (Heusel et al. 2017, arXiv 1706.08500), over all videos, with
    unbiased covariances. No unit; numbers of different extractors and of different poses never
    compare. Blur, noise, borders of tokens and one picture everywhere are all far. Biased upwards
    with few views; with fewer than `least` there is NaN. See `PoseNovel`.

    Attributes:
        world: paints the places (`cf.data.world.doom.painter.DoomPainter`).
        extractor: makes the features, by name in the result.
        rate: frames per second that are looked at.
        side: longest shorter side in pixels at which pictures are looked at.
        least: new views without which there is no value.
    """

    higher_is_better = False
    depends_on = ("least",)

    def __init__(
        self,
        world: Painter,
        extractor: Extractor,
        rate: float | None = 2.0,
        side: int = 480,
        least: int = 32,
        **kwargs: Any,
    ) -> None:
        if least < 2:
            raise ValueError(f"least={least} views have no covariance; ask for 2 or more")
        super().__init__(world, extractor, rate, side, **kwargs)
        self.least = least

    @property
    def name(self) -> str:
        """With the extractor."""
        return f"PoseNovelFrechet[{self.extractor.name}]"

    @override
    def score(self, videos: list[Scored]) -> Result:
        nothing = torch.zeros(2, 0, self.extractor.width, dtype=torch.float64)
        generated, true = torch.cat([nothing, *(self.views(video) for video in videos)], 1)
        value, reasons = float("nan"), dict[int | None, str]()
        if len(generated) >= self.least:
            value = frechet_distance(Moments.of(generated), Moments.of(true))
            reasons = {video.video_id: _OF_A_SET for video in videos}
        elif videos:
            lacking = (
                f"{len(generated)} views are new, {self.least} are needed; "
                f"give more or longer videos"
            )
            few = lacking if len(generated) else _NOTHING
            reasons = {None: few, **{video.video_id: few for video in videos}}
        per_video = {video.video_id: float("nan") for video in videos}
        return self.answer(
            value, per_video, reasons=reasons, extras={"views": float(len(generated))}
        )


class PoseNovelEntropy(PoseNovel):
    r"""Bits of the colours of new views, over 64 colours of 36 cells each; as high as the engine's.

    .. math:: -\sum_k p_k \log_2 p_k

    Low where a generator paints the same colours wherever it knows nothing. With few views it is
    below that of the distribution they are drawn from. `extras`: `engine`, the same of the engine's
    pictures at these poses. See `PoseNovel`. Blind to where colours stand and to what they paint:
    noise has many. Read it beside `PoseNovelFrechet`.

    Attributes:
        world: paints the places (`cf.data.world.doom.painter.DoomPainter`).
        rate: frames per second that are looked at.
        side: longest shorter side in pixels at which pictures are looked at.
    """

    higher_is_better = None

    def __init__(
        self, world: Painter, rate: float | None = 2.0, side: int = 480, **kwargs: Any
    ) -> None:
        super().__init__(world, CellColours(), rate, side, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        sums = {video.video_id: self.views(video).sum(1) for video in videos}
        per_video = {number: float(_bits(pair[:1])) for number, pair in sums.items()}
        if not sums:
            return self.answer(float("nan"), per_video)
        stacked = torch.stack(list(sums.values()), 1)
        generated = PooledResult(stacked[0], _bits)
        reasons = without_value(per_video, _NOTHING, generated.value)
        engine = {"engine": PooledResult(stacked[1], _bits).value}
        pooled = {"all": generated}
        return self.answer(
            generated.value, per_video, reasons=reasons, pooled=pooled, extras=engine
        )


def _bits(counts: Float[Tensor, "n colours"]) -> Float[Tensor, " n"]:
    """Entropy of each row; NaN where it is empty."""
    share = counts / counts.sum(-1, keepdim=True)
    return -torch.xlogy(share, share).sum(-1) / torch.log(share.new_tensor(2.0))
