"""Views that no frame had shown: their detail and their variety, beside the engine's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.pooled import PooledResult, ratio
from cf.metrics.result import Result
from cf.metrics.scored import Scored
from cf.metrics.truth.painter import AWAY, NOVEL, Painter, common_size, place_of, shrunk

_CELLS = 6  # rows and columns of a picture
_LEVELS = 4  # of each channel of a cell's colour
_COLOURS = _LEVELS**3
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_NOTHING = "no view is new: the camera stayed where frames had been given"


@dataclass(frozen=True)
class NovelViews(Measurement):
    """Detail and colours of views that no frame had shown, and of the engine's picture there.

    A row is two sums of detail, the generator's and the engine's, and two histograms of the colours
    of cells. All are 0 for a view that is not new.

    Attributes:
        side: longest shorter side in pixels at which pictures are looked at.
    """

    world: Painter
    rate: float | None = 2.0
    side: int = 480
    kept = torch.float64
    needs = AWAY

    @property
    @override
    def width(self) -> int:
        return 2 * (1 + _COLOURS)

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        novel = seen.truth["away"] == NOVEL
        rows = torch.zeros(len(novel), 2, 1 + _COLOURS, dtype=torch.float64)
        if novel.any():
            size = common_size(seen.frames, self.side)
            true = self.world.pictures(*place_of(seen), seen.truth["pose"][novel], size)
            both = torch.stack((shrunk(seen.frames[novel], size), true), 1).double()
            rows[novel] = torch.cat((_detail(both)[..., None], _colours(both)), -1)
        return rows.flatten(1)

    @override
    def measure(self, kept: Tensor) -> Float[Tensor, "n width"]:
        return kept

    @override
    def provenance(self) -> dict[str, Any]:
        own = {"novel_views": [_CELLS, _LEVELS], "rate": self.rate, "side": self.side}
        return {**own, **self.world.provenance()}


def _detail(pictures: Float[Tensor, "*n 3 h w"]) -> Float[Tensor, "*n"]:
    """Mean absolute step of luma from a pixel to the next, along both axes."""
    luma = torch.einsum("...chw,c->...hw", pictures, pictures.new_tensor(_LUMA))
    along = (luma.diff(dim=axis).abs().mean((-2, -1)) for axis in (-2, -1))
    return sum(along, torch.zeros_like(luma[..., 0, 0]))


def _colours(pictures: Float[Tensor, "n both 3 h w"]) -> Float[Tensor, "n both colours"]:
    """How many cells have which colour, by the mean of each."""
    cells = torch.nn.functional.adaptive_avg_pool2d(pictures.flatten(0, 1), _CELLS)
    levels = (cells * _LEVELS).long().clamp(0, _LEVELS - 1)
    place = torch.tensor([_LEVELS**2, _LEVELS, 1])
    colour = (levels.flatten(2) * place[:, None]).sum(1)
    counts = torch.nn.functional.one_hot(colour, _COLOURS).sum(1).double()
    return counts.view(*pictures.shape[:2], _COLOURS)


class PoseNovel(VideoMetric):
    """A value of the new views of all videos, with its interval over videos.

    A view is new if no frame had shown it (`cf.data.world.again`). What it should show nobody can
    know: the engine's picture of that place tells only how such views look as a rule.

    Attributes:
        world: paints the places (`cf.data.world.doom.painter.DoomPainter`).
        rate: frames per second that are looked at.
        side: longest shorter side in pixels at which pictures are looked at.
    """

    higher_is_better = None

    def __init__(
        self, world: Painter, rate: float | None = 2.0, side: int = 480, **kwargs: Any
    ) -> None:
        if side < _CELLS:
            raise ValueError(f"side={side} must be at least {_CELLS} pixels")
        super().__init__(NovelViews(world, rate, side), window=None, **kwargs)

    def pooled(
        self,
        videos: list[Scored],
        sums: Callable[[Float[Tensor, "both numbers"]], Tensor],
        of: Callable[[Tensor], Tensor],
        **extras: float,
    ) -> Result:
        """The value of sums over all videos, and of those of each.

        Args:
            videos: what was measured.
            sums: which numbers of a video's views count, the generator's row and the engine's.
            of: the value of such sums, a row each; NaN where nothing was seen.
            extras: of the result.
        """
        found = {one.video: sums(_seen(one)) for one in videos}
        per_video = {video: float(of(one[None])) for video, one in found.items()}
        reasons: dict[int | None, str] = {v: _NOTHING for v, x in per_video.items() if x != x}
        if not found:
            return self.answer(float("nan"), per_video)
        whole = PooledResult(torch.stack(list(found.values())), of)
        if whole.value != whole.value:
            reasons[None] = _NOTHING
        return self.answer(
            whole.value, per_video, reasons=reasons, pooled={"all": whole}, extras=extras
        )


class PoseNovelDetail(PoseNovel):
    """Detail of new views per unit of the engine's at the same poses; 1 is as the engine's.

    Detail is the mean absolute step of luma from a pixel to the next. Below 1 a generator blurs
    what it does not know; above 1 it paints noise or edges that are none. See `PoseNovel`. Blind to
    what is painted.
    """

    @override
    def score(self, videos: list[Scored]) -> Result:
        return self.pooled(videos, lambda views: views[:, 0], ratio)


class PoseNovelEntropy(PoseNovel):
    r"""Bits of the colours of new views, over 64 colours of 36 cells each; as high as the engine's.

    .. math:: -\sum_k p_k \log_2 p_k

    Low where a generator paints the same colours wherever it knows nothing. With few views it is
    below that of the distribution they are drawn from. `extras`: `engine`, the same of the engine's
    pictures at these poses. See `PoseNovel`. Blind to where colours stand, and to detail.
    """

    @override
    def score(self, videos: list[Scored]) -> Result:
        engine = [_seen(one)[1, 1:] for one in videos]
        bits = float(_bits(torch.stack(engine).sum(0)[None])) if engine else float("nan")
        return self.pooled(videos, lambda views: views[0, 1:], _bits, engine=bits)


def _seen(one: Scored) -> Float[Tensor, "both numbers"]:
    """Sums over a video's views."""
    return one.sums.sum(0).view(2, 1 + _COLOURS)


def _bits(counts: Float[Tensor, "n colours"]) -> Float[Tensor, " n"]:
    """Entropy of each row; NaN where it is empty."""
    share = counts / counts.sum(-1, keepdim=True)
    return -torch.xlogy(share, share).sum(-1) / torch.log(share.new_tensor(2.0))
