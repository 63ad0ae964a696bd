"""Needle in a video: a place is shown for a second and asked for much later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.lags import rising
from cf.metrics.measurement import Seen
from cf.metrics.recall.cells import Cells, CellWorld
from cf.metrics.recall.visits import share
from cf.metrics.result import Result
from cf.metrics.scored import Scored

SHOWN, ASKED = 1, 2
"""In `truth["needle"]`: the frame shows the needle, or is asked to show it again; else 0."""


@dataclass(frozen=True)
class NeedleCells(Cells):
    """Cells with what the frame is to the needle."""

    @property
    @override
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*super().needs, "needle")

    @property
    @override
    def width(self) -> int:
        return super().width + 1

    @override
    def see(self, seen: Seen) -> Tensor:
        cells = super().see(seen)
        if not len(cells):
            return cells
        return torch.cat((cells, seen.truth["needle"].double()[:, None]), 1)

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "needle": True}


class NeedleInVideo(VideoMetric):
    r"""Cells of a needle painted right when it is asked for, corrected for chance; up, at most 1.

    .. math:: \frac{\text{hits} - \sum 1/k}{\text{cells} - \sum 1/k}

    A needle is a place that is shown for about a second in a given past and asked for once, at its
    end. Cells of generated frames count if the needle showed their column and something stands in
    them, k being the identities of their row. `curves["accuracy"]` is the heat map, depth by
    length, not corrected, as it is drawn for text; `needles` has how many videos lie in each
    field; `by_lag` is the same share by the seconds between the needle and the question, from the
    edges `lags` on. Depth is where the needle lies in the past: 0 at its beginning, 1 just before
    it is asked for; length is how long that past is. Blind to anything between the needle and the
    question. `truth` has, besides that of `Cells`, `needle`: 1 while it is shown, 2 where it is
    asked for, else 0 (`cf.data.world.needle.Needle` draws such videos).

    >>> from cf.data.world.known import known
    >>> from cf.data.world.needle import Needle
    >>> world = Needle(past_frames=24, shown_frames=6, depth=0.5)
    >>> drawn = world.draw(0, [0], 30)
    >>> metric = NeedleInVideo(world)
    >>> truth = {**known(drawn, 0, given=24), "needle": world.role(30)}
    >>> metric.update(drawn.video[0], 0, fps=8, truth=truth)
    >>> float(metric.compute()), metric.result().curves["accuracy"].shape
    (1.0, torch.Size([5, 6]))

    Attributes:
        depths: edges of the fields of depth.
        lengths: edges of those of length and of lag, in seconds; other lengths are in no field.
    """

    higher_is_better = True
    depends_on = ("depths", "lengths")

    def __init__(
        self,
        world: CellWorld,
        depths: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        lengths: Sequence[float] = (0.0, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0),
        scene: Sequence[str] = ("sky",),
        **kwargs: Any,
    ) -> None:
        self.depths = rising(depths, "depths", "shares of the past")
        self.lengths = rising(lengths, "lengths")
        self.cells = NeedleCells(world, tuple(scene))
        super().__init__(self.cells, window=None, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        shape = (len(self.depths) - 1, len(self.lengths) - 1)
        hits, cells, needles = torch.zeros(3, *shape, dtype=torch.float64)
        lagged = torch.zeros(2, shape[1], dtype=torch.float64)
        per_video: dict[int, float] = {}
        reasons: dict[int | None, str] = {}
        sums = torch.zeros(3, dtype=torch.float64)
        for video in videos:
            needle = self._needle(video)
            if needle is None:
                per_video[video.video_id] = float("nan")
                reasons[video.video_id] = "no needle is shown and asked for"
                continue
            counts, depth, length, lag = needle
            sums += counts
            per_video[video.video_id] = _corrected(counts)
            if (column := _field(lag, self.lengths)) >= 0:
                lagged[:, column] += counts[:2]
            field = _field(depth, self.depths, last=True), _field(length, self.lengths)
            if min(field) >= 0:
                hits[field] += counts[0]
                cells[field] += counts[1]
                needles[field] += 1
        value = _corrected(sums)
        if per_video and value != value:
            reasons[None] = "no needle is shown and asked for"
        curves = {
            "accuracy": share(hits, cells),
            "needles": needles,
            "depths": torch.tensor(self.depths, dtype=torch.float64),
            "lengths": torch.tensor(self.lengths, dtype=torch.float64),
            "lags": torch.tensor(self.lengths[:-1], dtype=torch.float64),
            "by_lag": share(lagged[0], lagged[1]),
        }
        return self.answer(value, per_video, reasons=reasons, curves=curves)

    def _needle(self, video: Scored) -> tuple[Tensor, float, float, float] | None:
        """Hits, cells and what chance hits; its depth; seconds of the past and since the needle."""
        role, sums = video.sums[:, -1], video.sums[:, :-1]
        watched = self.cells.watched(replace(video, sums=sums))
        shown, begins = (role == SHOWN).nonzero().flatten(), (role == ASKED).nonzero().flatten()
        frames = begins[~watched.given[begins]]
        if not len(shown) or not len(frames) or shown[0] >= begins[0]:
            return None
        world = self.cells.world
        needle = torch.zeros(world.room_cells, dtype=torch.bool)
        for frame in shown.tolist():
            first = int(watched.first[frame])
            needle[first : first + world.view_cells] = True
        columns = watched.first[frames, None] + torch.arange(world.view_cells)
        counts = torch.zeros(3, dtype=torch.float64)
        for row, attributes in enumerate(world.rows().values()):
            painted, true = (x[frames, row] for x in (watched.made, watched.true))
            banks = torch.tensor(list(attributes.values()))
            probes = needle[columns] & (banks[0][true] >= 0)
            cells = float(probes.sum())
            right = float((probes & (painted == true)).sum())
            counts += torch.tensor([right, cells, cells / banks.shape[1]], dtype=torch.float64)
        start, end = int(shown[0]), int(begins[0])
        past, fps = end - len(shown), float(video.clock.fps)
        lag = (end - 1 - int(shown[-1])) / fps
        return counts, start / past if past > 0 else 0.0, end / fps, lag


def _corrected(counts: Tensor) -> float:
    hits, cells, chance = counts.tolist()
    return (hits - chance) / (cells - chance) if cells else float("nan")


def _field(value: float, edges: tuple[float, ...], last: bool = False) -> int:
    """Which field a value lies in, the last edge included if asked; -1 for none."""
    for i, (low, high) in enumerate(pairwise(edges)):
        if low <= value < high or (last and i == len(edges) - 2 and value == high):
            return i
    return -1
