"""What a generated video of ROOMS remembers: its cells against the truth and against itself."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.data.world.base import Drawn, Truth
from cf.data.world.rooms import Rooms
from cf.types import Video

Cells = Int[Tensor, "b t rows columns"]


@dataclass(frozen=True)
class Tally:
    """Counts per world, from which every statistic of recall is a ratio of sums.

    A cell counts at a revisit if it was in view before the cut that began the current stay; its
    lag is the time from then to that cut. A cell is novel where it was never in view before.

    Attributes:
        hits, seen: cells of given frames that are shown at a revisit, painted right or in all,
            by lag.
        own_hits, own_seen: cells painted as the model itself had painted them at its last visit.
        cross_hits, cross_seen: pairs of one column in two rooms, painted alike or in all.
        novel_error, novel_seen: mean squared error of novel cells from the nearest clean picture.
        early_error, early_seen, late_error, late_seen: of all cells in the first and last quarter
            of what was generated.
        painted: novel cells of each identity, per row.
    """

    hits: Float[Tensor, "b lags"]
    seen: Float[Tensor, "b lags"]
    own_hits: Float[Tensor, " b"]
    own_seen: Float[Tensor, " b"]
    cross_hits: Float[Tensor, " b"]
    cross_seen: Float[Tensor, " b"]
    novel_error: Float[Tensor, " b"]
    novel_seen: Float[Tensor, " b"]
    early_error: Float[Tensor, " b"]
    early_seen: Float[Tensor, " b"]
    late_error: Float[Tensor, " b"]
    late_seen: Float[Tensor, " b"]
    painted: Float[Tensor, "b rows identities"]

    def weighted(self, weights: Float[Tensor, "resamples b"]) -> "Tally":
        """Sums over worlds, each taken as often as its weight says: one row per resample."""
        return Tally(
            **{
                f.name: torch.einsum("rb,b...->r...", weights, getattr(self, f.name))
                for f in fields(self)
            }
        )


def joined(parts: Sequence[Tally]) -> Tally:
    """The worlds of several tallies."""
    names = [f.name for f in fields(Tally)]
    return Tally(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def tally(world: Rooms, drawn: Drawn, video: Video, given: int, edges: Sequence[float]) -> Tally:
    """Score a video that continues the first `given` frames of `drawn` under its control.

    Attributes:
        edges: of the bins of lag, in frames, ascending; lags outside them are not counted.

    Raises:
        ValueError: if `given` leaves nothing to score.
    """
    if not 0 < given < video.shape[1]:
        raise ValueError(
            f"given={given} frames must lie between 1 and the video's {video.shape[1]} less one"
        )
    truth = drawn.truth
    made, error = world.read(video, drawn.scene)
    made[:, :given] = truth.identity[:, :given]
    history = _history(world, truth, made, given)
    here, error = slice(given, None), error[:, given:].double()
    made, right = made[:, here], made[:, here] == truth.identity[:, here]
    lag, known, before = (part[:, here] for part in history)
    revisit = (lag >= 0)[:, :, None].expand_as(right)
    known = known[:, :, None].expand_as(right)
    bins = torch.bucketize(lag.double(), torch.tensor(edges, dtype=torch.double), right=True)
    inside = [revisit & known & (bins == i)[:, :, None] for i in range(1, len(edges))]
    own = revisit & (before >= 0)
    novel = ~revisit & ~known
    quarter = max(made.shape[1] // 4, 1)
    time = torch.arange(made.shape[1])[:, None, None]
    early, late = (
        (time < quarter).expand_as(right),
        (time >= made.shape[1] - quarter).expand_as(right),
    )
    cross_hits, cross_seen = _alike(world, truth, made, given)
    return Tally(
        hits=torch.stack([_count(right & one) for one in inside], -1),
        seen=torch.stack([_count(one) for one in inside], -1),
        own_hits=_count(own & (made == before)),
        own_seen=_count(own),
        cross_hits=cross_hits,
        cross_seen=cross_seen,
        novel_error=_sum(error, novel),
        novel_seen=_count(novel),
        early_error=_sum(error, early),
        early_seen=_count(early),
        late_error=_sum(error, late),
        late_seen=_count(late),
        painted=_painted(made, novel, _kinds(world)),
    )


def _history(
    world: Rooms, truth: Truth, made: Cells, given: int
) -> tuple[Int[Tensor, "b t columns"], Bool[Tensor, "b t columns"], Cells]:
    """Of each cell: its lag or -1, whether it was given, what the model painted last time or -1."""
    batch, frames = truth.place.shape
    rows = torch.arange(batch)
    last = torch.full((batch, world.num_places, world.room_cells), -1)
    given_at = torch.zeros_like(last, dtype=torch.bool)
    painted = torch.full((batch, world.num_places, made.shape[2], world.room_cells), -1)
    at_cut, painted_at_cut = last.clone(), painted.clone()
    start = torch.zeros(batch, dtype=torch.long)
    lags, knowns, befores = [], [], []
    across = torch.arange(world.view_cells)
    for frame in range(frames):
        begins = truth.fresh[:, frame] == 0
        start = torch.where(begins, frame, start)
        at_cut = torch.where(begins[:, None, None], last, at_cut)
        painted_at_cut = torch.where(begins[:, None, None, None], painted, painted_at_cut)
        place = truth.place[:, frame]
        first = (truth.camera[:, frame] / world.cell[1]).round().long()
        columns = first[:, None] + across
        key = (rows[:, None], place[:, None], columns)
        lags.append(torch.where(at_cut[key] >= 0, start[:, None] - at_cut[key], -1))
        knowns.append(given_at[key])
        slots = (rows[:, None, None], place[:, None, None], torch.arange(made.shape[2])[:, None])
        befores.append(painted_at_cut[(*slots, columns[:, None])])
        last[key] = frame
        if frame < given:
            given_at[key] = True
        else:
            painted[(*slots, columns[:, None])] = made[:, frame]
    return torch.stack(lags, 1), torch.stack(knowns, 1), torch.stack(befores, 1)


def _alike(world: Rooms, truth: Truth, made: Cells, given: int) -> tuple[Tensor, Tensor]:
    """Pairs of rooms that look alike in a column, by what was painted there last."""
    batch = len(made)
    painted = torch.full((batch, world.num_places, made.shape[2], world.room_cells), -1)
    rows, lines = torch.arange(batch)[:, None, None], torch.arange(made.shape[2])[:, None]
    for frame in range(made.shape[1]):
        place = truth.place[:, given + frame, None, None]
        first = (truth.camera[:, given + frame] / world.cell[1]).round().long()
        columns = first[:, None, None] + torch.arange(world.view_cells)
        painted[rows, place, lines, columns] = made[:, frame]
    hits, seen = torch.zeros(batch).double(), torch.zeros(batch).double()
    for one in range(world.num_places):
        for other in range(one):
            both = (painted[:, one] >= 0) & (painted[:, other] >= 0)
            hits += _count(both & (painted[:, one] == painted[:, other]))
            seen += _count(both)
    return hits, seen


def _painted(made: Cells, where: Tensor, kinds: int) -> Float[Tensor, "b rows identities"]:
    one_hot = torch.nn.functional.one_hot(made, kinds).double() * where[..., None]
    return one_hot.sum((1, 3))


def _kinds(world: Rooms) -> int:
    return max(len(bank.alpha) for bank in world.tiles())


def _count(where: Tensor) -> Float[Tensor, " b"]:
    return where.flatten(1).sum(1).double()


def _sum(values: Tensor, where: Tensor) -> Float[Tensor, " b"]:
    return (values * where).flatten(1).sum(1)
