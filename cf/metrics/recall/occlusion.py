"""Absences of a thing from view, the frames before and after, and means over absences."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.metrics.base import VideoMetric
from cf.metrics.lags import lag_bins
from cf.metrics.recall.recall import LAGS as LAGS
from cf.metrics.recall.visits import share
from cf.metrics.result import Result
from cf.metrics.scored import Scored

_HIDDEN, _VISIBLE = 0.01, 0.25
"""Of the largest area that it ever shows: at most, and at least."""
_NOTHING = "nothing was hidden and shown again in generated frames"


@dataclass(frozen=True)
class Hiding:
    """A thing that was seen, then hidden for long enough, then seen again.

    Attributes:
        before, after: samples in which it is well visible, up to a second of them.
        lag: samples from the last of `before` to the first of `after`.
    """

    before: Int[Tensor, " n"]
    after: Int[Tensor, " m"]
    lag: int


def hidings(
    area: Float[Tensor, " t"], generated: Bool[Tensor, " t"], second: float, least: float = 1.0
) -> list[Hiding]:
    """When one thing is out of view; only absences after which the frames are generated.

    Args:
        area: of the thing in each sampled frame, in pixels; 0 where it is hidden.
        generated: whether each sampled frame is generated, not given.
        second: samples in a second.
        least: seconds for which it must be hidden.
    """
    most = float(area.max()) if len(area) else 0.0
    if most <= 0:
        return []
    visible, hidden = area >= _VISIBLE * most, area < _HIDDEN * most
    absences = []
    for start, stop in _runs(hidden):
        ahead = visible[stop:].nonzero().flatten()
        behind = visible[:start].nonzero().flatten()
        if stop - start < least * second or not len(ahead) or not len(behind):
            continue
        last, first = int(behind[-1]), stop + int(ahead[0])
        if hidden[stop:first].any() or hidden[last + 1 : start].any():
            continue  # the same absence, told by its longest part
        before = behind[behind > last - second]
        after = stop + ahead[stop + ahead < first + second]
        after = after[generated[after]]
        if len(after):
            absences.append(Hiding(before, after, first - last))
    return absences


def _runs(where: Bool[Tensor, " t"]) -> list[tuple[int, int]]:
    """Begin and end of each stretch of True."""
    padded = torch.nn.functional.pad(where.long(), (1, 1))
    steps = padded.diff()
    begins, ends = (steps == 1).nonzero().flatten(), (steps == -1).nonzero().flatten()
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def hidden_again(one: Scored, given: Tensor, area: Tensor) -> list[Hiding]:
    """Absences of one thing."""
    return hidings(area, given == 0, float(one.clock.fps) / one.clock.stride)


def areas(mask: Tensor, things: int) -> Tensor:
    """Pixels of each thing."""
    return torch.bincount(mask.long().flatten().cpu(), minlength=things + 1)[1 : things + 1]


def seconds(one: Scored, absence: Hiding) -> float:
    """How long an absence was."""
    return absence.lag * one.clock.stride / float(one.clock.fps)


def over_absences(
    metric: VideoMetric,
    trials: dict[int, list[tuple[float, float]]],
    edges: Sequence[float],
    **extras: float,
) -> Result:
    """Mean over all trials, over those of each video, and by lag."""
    pairs = [pair for rows in trials.values() for pair in rows]
    lag, value = torch.tensor(pairs, dtype=torch.float64).view(-1, 2).T
    where = lag_bins(lag, edges)
    inside = where >= 0
    lags = torch.tensor(edges[:-1], dtype=torch.float64)
    total, count = torch.zeros(2, len(lags), dtype=torch.float64)
    total = total.index_add(0, where[inside], value[inside])
    count = count.index_add(0, where[inside], torch.ones_like(value[inside]))
    per_video = {
        video: sum(x for _, x in rows) / len(rows) if rows else float("nan")
        for video, rows in trials.items()
    }
    reasons: dict[int | None, str] = {v: _NOTHING for v, x in per_video.items() if x != x}
    if trials and not pairs:
        reasons[None] = _NOTHING
    return metric.answer(
        float(value.mean()) if len(value) else float("nan"),
        per_video,
        reasons=reasons,
        curves={"by_lag": share(total, count), "trials_by_lag": count, "lags": lags},
        extras={**extras, "trials": float(len(pairs))},
    )
