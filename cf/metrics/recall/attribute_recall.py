"""Recall of attributes: colour and shape of what stood in a cell when it is shown again."""

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.recall.recall import LagMetric
from cf.metrics.recall.visits import CellVisits, share
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored

IDENTITY = "identity"


class AttributeRecall(LagMetric):
    r"""Attributes painted right when a given cell is shown again, corrected for chance; up, <= 1.

    .. math:: \text{mean over attributes} \; \frac{\text{acc} - 1/k}{1 - 1/k}

    A cell counts if it was in a given frame (a prompt) and in view before the cut that began the
    stay; its lag is the time from when it was last in view to that cut. Attributes are each row's
    own (colour and shape of a thing in the sky, colour and height of a house), over cells in which
    something stands, k as many as there are; accuracy is pooled over the cells of all videos.
    0 is guessing, 1 perfect, below 0 worse than guessing: nothing painted has no colour.

    `extras` has every attribute by name (`sky/colour`), whole identities (`sky/identity`, all of
    the row's cells, k all identities) and `accuracy`: the share of cells of all rows that are
    right, not corrected. `curves` has `by_lag`, `accuracy_by_lag` and `cells_by_lag`.

    Blind to what a cell looks like beyond its nearest identity: blur that is still nearest counts
    as right (`RevisitPSNR` does not). The sky is empty in a quarter of the cells, so that painting
    nothing gets a quarter of `sky/identity`; attributes do not reward that.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms(stay_blocks=4)
    >>> drawn = world.draw(0, [0], 60)
    >>> metric = AttributeRecall(world)
    >>> metric.update(drawn.video[0], 0, fps=8, truth=known(drawn, 0, given=36))
    >>> float(metric.compute())
    1.0
    """

    higher_is_better = True

    @override
    def score(self, videos: list[Scored]) -> Result:
        tables, counts = {}, {}
        for video in videos:
            history = self.visits(video)
            probes = history.revisit[:, None] & history.known[:, None]
            probes = probes & self.counted(history)[:, None, None]
            probes = probes.expand_as(history.watched.true)
            tables[video.video_id] = self._attributes(video, history, probes)
            counts[video.video_id] = self._cells(video, history, probes)
        lags = len(self.edges) - 1
        hits = {v: x[0] for v, x in counts.items()}
        cells = {v: x[1] for v, x in counts.items()}
        plain = self.shares(hits, cells)
        total = sum(tables.values(), torch.zeros(len(self._named()), 2, lags, dtype=torch.float64))
        values = {number: self._headline(table.sum(-1)) for number, table in tables.items()}
        extras = {"accuracy": plain.value, "cells": float(plain.curves["cells_by_lag"].sum())}
        corrected = self._corrected(total.sum(-1))
        extras |= dict(zip(self._named(), corrected.tolist(), strict=True))
        by_lag = [self._headline(total[..., lag]) for lag in range(lags)]
        curves = {
            **plain.curves,
            "by_lag": torch.tensor(by_lag, dtype=torch.float64),
            "accuracy_by_lag": plain.curves["by_lag"],
        }
        return self.answer(
            self._headline(total.sum(-1)),
            values,
            reasons=plain.reasons,
            extras=extras,
            curves=curves,
            pooled=plain.pooled,
        )

    def _named(self) -> dict[str, int]:
        """Row and attribute -> how many values it has."""
        sizes = {}
        for row, attributes in self.world.rows().items():
            for name, classes in attributes.items():
                sizes[f"{row}/{name}"] = max(classes) + 1
            sizes[f"{row}/{IDENTITY}"] = max(len(classes) for classes in attributes.values())
        return sizes

    def _attributes(
        self, video: Scored, history: CellVisits, probes: Tensor
    ) -> Float[Tensor, "attributes 2 lags"]:
        """Hits and cells of each attribute by lag."""
        rows = []
        for row, attributes in enumerate(self.world.rows().values()):
            painted, true = (x[:, row] for x in (history.watched.made, history.watched.true))
            banks = [torch.tensor(classes) for classes in attributes.values()]
            banks.append(torch.arange(len(banks[0])))
            for bank in banks:
                where = (probes[:, row] & (bank[true] >= 0))[:, None]
                right = where & (bank[painted] == bank[true])[:, None]
                pair = [self.by_lag(video, history.lag, part) for part in (right, where)]
                rows.append(torch.stack(pair))
        return torch.stack(rows)

    def _cells(self, video: Scored, history: CellVisits, probes: Tensor) -> tuple[Tensor, Tensor]:
        right = probes & (history.watched.made == history.watched.true)
        return self.by_lag(video, history.lag, right), self.by_lag(video, history.lag, probes)

    def _corrected(self, table: Float[Tensor, "attributes 2"]) -> Float[Tensor, " attributes"]:
        chance = 1 / torch.tensor(list(self._named().values()), dtype=torch.float64)
        return (share(table[:, 0], table[:, 1]) - chance) / (1 - chance)

    def _headline(self, table: Float[Tensor, "attributes 2"]) -> float:
        """Mean over attributes; whole identities are told apart."""
        corrected = self._corrected(table).tolist()
        named = zip(self._named(), corrected, strict=True)
        return mean(value for name, value in named if not name.endswith(IDENTITY))
