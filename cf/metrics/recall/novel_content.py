"""What a model paints where nothing is known: how varied it is, how clean, and how it decays."""

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.pooled import decibels
from cf.metrics.recall.recall import CellMetric
from cf.metrics.recall.visits import CellVisits
from cf.metrics.result import Result
from cf.metrics.scored import Scored

_NOTHING = "no cell is new"


class NovelEntropy(CellMetric):
    r"""Bits per cell of what is painted where nothing was known; as high as the truth's.

    .. math:: -\sum_k p_k \log_2 p_k, \text{ mean over rows of cells}

    Over the identities of new cells of all videos: those that no earlier stay and no given frame
    had in view. Low where a model paints the same everywhere. With few cells it is below that of
    the distribution they are drawn from. Blind to where things stand.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = NovelEntropy(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=6))
    >>> 2 < float(metric.compute()) < 4
    True
    """

    higher_is_better = None

    @override
    def score(self, videos: list[Scored]) -> Result:
        kinds = max(len(classes) for row in self.world.rows().values() for classes in row.values())
        sums = {}
        for video in videos:
            history = self.visits(video)
            painted = history.watched.made
            one_hot = torch.nn.functional.one_hot(painted, kinds).double()
            sums[video.video_id] = (one_hot * _new(history)[..., None]).sum((0, 2))
        return self.of_sums(sums, _bits, _NOTHING)


class NovelQuality(CellMetric):
    """PSNR in dB between new cells and the nearest clean picture; up, at most 80.

    Squared errors are pooled over the cells of all videos that no earlier stay and no given frame
    had in view. Low where a model that knows nothing paints blur or noise. Blind to which picture
    it is nearest to.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = NovelQuality(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=6))
    >>> float(metric.compute()) > 60
    True
    """

    higher_is_better = True

    @override
    def score(self, videos: list[Scored]) -> Result:
        sums = {}
        for video in videos:
            history = self.visits(video)
            sums[video.video_id] = _errors(history.watched.error, _new(history))
        return self.of_sums(sums, decibels, _NOTHING)


class CellQualityDrift(CellMetric):
    """PSNR in dB that cells lose from the first to the last quarter of what is generated; down.

    Of each cell against the nearest clean picture, squared errors pooled over all cells of all
    videos. Near 0 where quality stays, however low it is; blind to what is shown.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = CellQualityDrift(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=6))
    >>> abs(float(metric.compute())) < 1
    True
    """

    higher_is_better = False

    @override
    def score(self, videos: list[Scored]) -> Result:
        sums = {}
        for video in videos:
            watched = self.cells.watched(video)
            error = watched.error[~watched.given]
            quarter = max(len(error) // 4, 1)
            ends = (error[:quarter], error[-quarter:])
            sums[video.video_id] = torch.cat(
                [_errors(x, torch.ones_like(x, dtype=torch.bool)) for x in ends]
            )
        return self.of_sums(sums, _lost, "no frame was generated")


def _new(history: CellVisits) -> Tensor:
    """Cells (n, rows, columns) of generated frames that were never in view before."""
    novel = (history.lag < 0) & ~history.known & history.generated[:, None]
    return novel[:, None].expand_as(history.watched.made)


def _errors(error: Tensor, where: Tensor) -> Float[Tensor, " 2"]:
    """Their sum and their number."""
    return torch.stack(((error * where).sum(), where.sum().double()))


def _bits(counts: Float[Tensor, "n rows identities"]) -> Float[Tensor, " n"]:
    """Entropy of each row of cells, mean over rows."""
    share = counts / counts.sum(-1, keepdim=True)
    bits = torch.where(share > 0, -share * share.clamp(min=1e-12).log2(), share)
    return bits.sum(-1).mean(-1)


def _lost(sums: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """Decibels of the first pair less those of the second."""
    return decibels(sums[:, :2]) - decibels(sums[:, 2:])
