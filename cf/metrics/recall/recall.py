"""Recall by what stands in cells: against the truth, against itself, and between places."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.lags import lag_bins, rising
from cf.metrics.pooled import Of, PooledResult, ratio
from cf.metrics.recall.cells import Cells, CellWorld
from cf.metrics.recall.visits import CellVisits, alike, share, visits
from cf.metrics.result import Result, without_value
from cf.metrics.scored import Scored

LAGS = (0.0, 0.75, 1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
"""Edges in seconds of the bins of lag: about half a second, 1, 2, 4, ... 64 seconds."""
_NOTHING = "no cell of a valid trial is shown again"


class CellMetric(VideoMetric):
    """What is made of the cells of whole videos.

    Attributes:
        world: draws and reads the cells.
        scene: names in `truth` of what the world needs to read: the same in every row.
    """

    def __init__(self, world: CellWorld, scene: Sequence[str] = ("sky",), **kwargs: Any) -> None:
        self.cells = Cells(world, tuple(scene))
        super().__init__(self.cells, window=None, **kwargs)

    @property
    def world(self) -> CellWorld:
        """See the class."""
        return self.cells.world

    def visits(self, one: Scored) -> CellVisits:
        """What a video shows again."""
        return visits(self.cells, one)

    def of_sums(self, sums: Mapping[int, Tensor], of: Of, nothing: str, **parts: Any) -> Result:
        """The value of sums over all videos, and of those of each.

        Args:
            sums: of each video, all of one shape.
            of: the value of such sums, a row each (see `PooledResult`).
            nothing: why there is no value where nothing was counted.
            parts: of the result, besides.
        """
        per_video = {video: float(of(row[None])) for video, row in sums.items()}
        if not sums:
            return self.answer(float("nan"), per_video, **parts)
        result = PooledResult(torch.stack(list(sums.values())), of)
        reasons = without_value(per_video, nothing, result.value)
        pooled = {"all": result, **parts.pop("pooled", {})}
        return self.answer(result.value, per_video, reasons=reasons, pooled=pooled, **parts)


class LagMetric(CellMetric):
    """What is made of cells that are shown again, by the time since they were last in view.

    Attributes:
        edges: of the bins of lag, in seconds, ascending; other lags are not counted.
        gate: count only returns to a place that the video had really left (`TriggerGate`).
    """

    depends_on = ("edges", "gate")

    def __init__(
        self,
        world: CellWorld,
        edges: Sequence[float] = LAGS,
        gate: bool = True,
        scene: Sequence[str] = ("sky",),
        **kwargs: Any,
    ) -> None:
        self.edges, self.gate = rising(edges), gate
        super().__init__(world, scene, **kwargs)

    def counted(self, seen: CellVisits) -> Tensor:
        """Frames whose cells count."""
        return seen.valid if self.gate else torch.ones_like(seen.valid)

    def bins(self, one: Scored, lag: Tensor) -> Tensor:
        """Which bin each lag of so many frames lies in; -1 for none."""
        bins = lag_bins(lag.double() / float(one.clock.fps), self.edges)
        return bins.where(lag >= 0, -1)

    def by_lag(self, one: Scored, lag: Tensor, where: Tensor) -> Float[Tensor, " lags"]:
        """How many cells of (n, rows, columns) lie in each bin."""
        bins = self.bins(one, lag)[:, None].expand_as(where)
        inside = bins[where & (bins >= 0)]
        return torch.bincount(inside, minlength=len(self.edges) - 1).double()

    def shares(self, hits: Mapping[int, Tensor], seen: Mapping[int, Tensor]) -> Result:
        """Share of hits over all videos, and in each, with the share in each bin of lag."""
        lags = len(self.edges) - 1
        counts = {video: torch.stack((hits[video], seen[video])) for video in hits}
        table = torch.stack([*counts.values(), torch.zeros(2, lags, dtype=torch.float64)])[:-1]
        right, all_ = table.sum(0)
        curves = {
            "by_lag": share(right, all_),
            "cells_by_lag": all_,
            "lags": torch.tensor(self.edges[:-1], dtype=torch.float64),
        }
        by_lag = {f"lag {i}": PooledResult(table[..., i], ratio) for i in range(lags)}
        sums = {video: count.sum(-1) for video, count in counts.items()}
        return self.of_sums(sums, ratio, _NOTHING, curves=curves, pooled=by_lag)


class TriggerGate(LagMetric):
    """Share of returns that are trials of memory at all; up, in [0, 1].

    A trial is a stay at a place that was shown before. It is valid if the place was out of view
    for a second or more, the video meanwhile showed something else (at most half of the cells in
    the columns that both share agree with what it had left), and on return it no longer shows
    where it was. Read off the generated video: a model that ignores a cut fails here, and would
    otherwise be praised for recalling what it never left (after WRBench, arXiv 2606.20545).
    Blind to a model that returns to a wrong place; that is what recall counts.

    `extras`: `left`, `returned` and `long_enough`, shares of all trials, and `trials`.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = TriggerGate(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=36))
    >>> metric.result().value, metric.result().extras["trials"]
    (1.0, 2.0)
    """

    higher_is_better = True

    @override
    def score(self, videos: list[Scored]) -> Result:
        valid: dict[int, float] = {}
        tables = []
        for video in videos:
            history = self.visits(video)
            rows = [
                [history.is_valid(trial), trial.left, trial.returned, trial.away >= history.away]
                for trial in history.trials
            ]
            shares = torch.tensor(rows, dtype=torch.float64).view(-1, 4)
            valid[video.video_id] = float(shares[:, 0].mean()) if len(shares) else float("nan")
            tables.append(shares)
        shares = torch.cat(tables) if tables else torch.zeros(0, 4, dtype=torch.float64)
        names = ("left", "returned", "long_enough")
        means = shares.mean(0).tolist() if len(shares) else [float("nan")] * 4
        reasons = without_value(valid, "no place is shown twice", means[0])
        extras = {**dict(zip(names, means[1:], strict=True)), "trials": float(len(shares))}
        return self.answer(means[0], valid, reasons=reasons, extras=extras)


class SelfRevisit(LagMetric):
    """Share of cells painted as the model itself painted them at its last visit; up, in [0, 1].

    Pooled over cells of all videos; by lag in `curves`. Beside `AttributeRecall` it tells a wrong
    world from a forgotten one. Blind to the truth: a model that paints every place alike has 1,
    which is why `CrossRoomMatch` belongs beside it.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = SelfRevisit(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=6))
    >>> float(metric.compute())
    1.0
    """

    higher_is_better = True

    @override
    def score(self, videos: list[Scored]) -> Result:
        hits, cells = {}, {}
        for video in videos:
            history = self.visits(video)
            counted = (history.generated & self.counted(history))[:, None, None]
            probes = history.revisit[:, None] & (history.before >= 0) & counted
            right = probes & (history.watched.made == history.before)
            hits[video.video_id] = self.by_lag(video, history.lag, right)
            cells[video.video_id] = self.by_lag(video, history.lag, probes)
        return self.shares(hits, cells)


class CrossRoomMatch(LagMetric):
    """Share of cells that look alike in two places of a video; as low as the truth's, in [0, 1].

    Of every two places, the columns that both generated, by what was painted there last. 1 is
    collapse: every place is painted the same, which makes `SelfRevisit` worthless. The truth's own
    is in `extras` (`truth`), about .1 in ROOMS.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = CrossRoomMatch(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=6))
    >>> metric.result().value == metric.result().extras["truth"] < 0.4
    True
    """

    higher_is_better = False

    @override
    def score(self, videos: list[Scored]) -> Result:
        counts = {}
        for video in videos:
            watched = self.cells.watched(video)
            drawn = replace(watched, made=watched.true)
            pairs = (*alike(watched, self.world), *alike(drawn, self.world))
            counts[video.video_id] = torch.tensor(pairs, dtype=torch.float64)
        total = sum(counts.values(), torch.zeros(4, dtype=torch.float64))
        extras = {"truth": float(share(total[2], total[3])), "cells": float(total[1])}
        sums = {number: pairs[:2] for number, pairs in counts.items()}
        alone = "fewer than two places were generated in one column"
        return self.of_sums(sums, ratio, alone, extras=extras)
