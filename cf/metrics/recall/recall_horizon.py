"""The recall horizon of generated videos: for how many seconds a cell that left view is known."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from cf.metrics.recall.cells import CellWorld
from cf.metrics.recall.l50 import ENOUGH_PROBES, Horizon, recall_horizon
from cf.metrics.recall.recall import LAGS, LagMetric
from cf.metrics.result import Result
from cf.metrics.scored import Scored

_EMPTY = torch.zeros(0, dtype=torch.long)


class RecallHorizon(LagMetric):
    r"""Seconds out of view after which half of recall is gone (L50); up.

    .. math:: \text{acc}(L_{50}) = \text{chance} + (\text{acc}(\ell_0) - \text{chance}) / 2

    Probes are cells of houses, all k identities of which are equally likely: one for each cell and
    return, at the first generated frame of a valid trial (`TriggerGate`) that shows it; in one bin
    of lag only the first return counts, so that probes are independent where nothing is recalled.
    Accuracy by lag is fitted by a falling curve and read off in the logarithm of the lag, a bin
    standing at its geometric mean (the first at two thirds of its upper edge).

    NaN where the shortest lag with probes is no better than guessing (binomial test, p < .01), or
    below `least`: it cannot be told what is forgotten if little was recalled, and who recalls a
    tenth at any lag would have a horizon without end. `extras`: `censored` (1: it lies
    beyond the longest lag, which is given; -1: before the shortest), `low` and `high` (95 %
    bootstrap over worlds; infinite or 0 if that end is censored), `gate` (p), `recalled` (at the
    shortest lag), `thin_lags` (lags
    with fewer than 64 probes, also told under `reasons[None]`). It measures what a model does, not
    what it could (`cf.rollout.influence`) nor what it is configured for (`Memory.max_frames`).
    Definition: this project's; blind to any lag that the worlds do not ask for.

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> world = Rooms()
    >>> drawn = world.draw(0, [0, 1], 72)
    >>> metric = RecallHorizon(world, gate=False, resamples=10)
    >>> for i in range(2):
    ...     metric.update(drawn.video[i], i, fps=8, truth=known(drawn, i, given=36))
    >>> metric.result().reasons[None].split(";")[0]  # the truth forgets nothing
    'censored: >8.49 s'

    Attributes:
        significance: of the gate; None leaves it out, for tests of other things.
        least: recall at the shortest lag, corrected for chance, that there is to lose.
        resamples: of the bootstrap.
    """

    higher_is_better = True

    def __init__(
        self,
        world: CellWorld,
        edges: Sequence[float] = LAGS,
        gate: bool = True,
        scene: Sequence[str] = ("sky",),
        significance: float | None = 0.01,
        least: float = 0.5,
        resamples: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(world, edges, gate, scene, **kwargs)
        self.significance, self.least, self.resamples = significance, least, resamples

    @property
    def lags(self) -> np.ndarray:
        """Where each bin stands, in seconds."""
        low, high = np.array(self.edges[:-1]), np.array(self.edges[1:])
        return np.where(low > 0, np.sqrt(low * high), high * 2 / 3)

    @override
    def score(self, videos: list[Scored]) -> Result:
        table = np.array([self.probes(video) for video in videos]).reshape(-1, 2, len(self.lags))
        right, probes = table[:, 0], table[:, 1]
        per_video = {video.video_id: float("nan") for video in videos}
        reasons: dict[int | None, str] = {
            video.video_id: "a horizon is of a set of worlds" for video in videos
        }
        used = probes.sum(0) > 0
        if used.sum() < 2:
            if videos:
                reasons[None] = "fewer than two lags have probes in valid trials"
            return self.answer(float("nan"), per_video, reasons=reasons)
        kinds = list(self.world.rows().values())[-1]
        chance = 1 / len(next(iter(kinds.values())))
        horizon = recall_horizon(
            self.lags[used],
            right[:, used],
            probes[:, used],
            chance,
            significance=2.0 if self.significance is None else self.significance,
            resamples=self.resamples,
        )
        recalled = float((horizon.fitted[0] - chance) / (1 - chance))
        if recalled < self.least:
            horizon = replace(horizon, seconds=math.nan, censored=0, low=math.nan, high=math.nan)
        note = self._note(horizon, recalled)
        if note:
            reasons[None] = note
        extras = {
            "censored": float(horizon.censored),
            "low": horizon.low,
            "high": horizon.high,
            "gate": horizon.gate,
            "recalled": recalled,
            "chance": chance,
            "thin_lags": float(len(horizon.thin)),
        }
        curves = {
            "lags": torch.from_numpy(self.lags[used]),
            "accuracy": torch.from_numpy(right.sum(0)[used] / probes.sum(0)[used]),
            "fitted": torch.from_numpy(horizon.fitted),
            "probes": torch.from_numpy(probes.sum(0)[used]).double(),
        }
        return self.answer(
            horizon.seconds, per_video, reasons=reasons, extras=extras, curves=curves
        )

    def _note(self, horizon: Horizon, recalled: float) -> str:
        parts = []
        if str(horizon) == "none":
            parts.append(
                f"none: at the shortest lag {recalled:.2f} is recalled (1: all, 0: guessing, "
                f"p={horizon.gate:.3g}), and {self.least:g} is asked for"
            )
        elif horizon.censored:
            parts.append(f"censored: {horizon}")
        if horizon.thin:
            parts.append(f"fewer than {ENOUGH_PROBES} probes at {len(horizon.thin)} lags")
        return "; ".join(parts)

    def probes(self, one: Scored) -> tuple[np.ndarray, np.ndarray]:
        """Right answers and questions of one video by lag."""
        history = self.visits(one)
        probes = history.revisit & history.known & self.counted(history)[:, None]
        bins = self.bins(one, history.lag)
        frames, columns = (probes & (bins >= 0)).nonzero().T
        keys = torch.stack(
            (
                history.watched.place[frames],
                history.watched.first[frames] + columns,
                bins[frames, columns],
            ),
            1,
        )
        first = _first(keys)
        frames, columns = frames[first], columns[first]
        painted, true = (
            x[frames, -1, columns] for x in (history.watched.made, history.watched.true)
        )
        lag = bins[frames, columns]
        count = len(self.edges) - 1
        right = torch.bincount(lag[painted == true], minlength=count)
        return right.numpy(), torch.bincount(lag, minlength=count).numpy()


def _first(keys: torch.Tensor) -> torch.Tensor:
    """Where each distinct row stands first."""
    if not len(keys):
        return _EMPTY
    _, index = torch.unique(keys, dim=0, return_inverse=True)
    order = torch.full((int(index.max()) + 1,), len(keys))
    return order.scatter_reduce(0, index, torch.arange(len(keys)), "amin")
