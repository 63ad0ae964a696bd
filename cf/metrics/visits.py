"""When each cell was in view before, and whether the camera really went away in between."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.metrics.cells import Cells, CellWorld, Watched
from cf.metrics.scored import Scored

AWAY_SECONDS = 1.0
"""A place must be out of view for that long before a return counts as a trial."""
_ALIKE = 0.5
"""Two views of which more cells than that agree show one place."""


@dataclass(frozen=True)
class Trial:
    """A stay at a place that was shown before, some of it generated.

    Attributes:
        begin, stop: frames of the stay.
        away: frames from the end of the last stay there to the beginning of this one.
        left: while away, the video showed something else than what it had left.
        returned: back again, it shows something else than while it was away.
    """

    begin: int
    stop: int
    away: int
    left: bool
    returned: bool


@dataclass(frozen=True)
class Visits:
    """A video's cells with what had been seen of them before the cut that began the stay.

    Attributes:
        lag: frames from when a column was last in view to that cut; -1 if it never was.
        known: whether the column had been in view in a given frame, at any time before.
        before: what the model itself had painted there last before that cut; -1 if nothing.
        start: frame at which the stay began.
        trials: returns, with whether they really were.
        away: frames that a trial must be away to be valid.
    """

    watched: Watched
    lag: Int[Tensor, "n columns"]
    known: Bool[Tensor, "n columns"]
    before: Int[Tensor, "n rows columns"]
    start: Int[Tensor, " n"]
    trials: tuple[Trial, ...]
    away: float

    @property
    def generated(self) -> Bool[Tensor, " n"]:
        """Frames that the model made."""
        return ~self.watched.given

    @property
    def revisit(self) -> Bool[Tensor, "n columns"]:
        """Columns of generated frames that were in view before the cut."""
        return (self.lag >= 0) & self.generated[:, None]

    @property
    def valid(self) -> Bool[Tensor, " n"]:
        """Frames of valid trials."""
        valid = torch.zeros(len(self.lag), dtype=torch.bool)
        for trial in self.trials:
            valid[trial.begin : trial.stop] = self.is_valid(trial)
        return valid

    def is_valid(self, trial: Trial) -> bool:
        """Whether the video really left, for long enough, and came back."""
        return trial.left and trial.returned and trial.away >= self.away


def visits(measurement: Cells, one: Scored) -> Visits:
    """Follow a video from its first frame to its last."""
    watched, world = measurement.watched(one), measurement.world
    shape = (world.num_places, world.room_cells)
    frames, rows, columns = watched.made.shape
    last, given_at = torch.full(shape, -1), torch.zeros(shape, dtype=torch.bool)
    painted = torch.full((shape[0], rows, shape[1]), -1)
    at_cut, painted_at_cut, start = last, painted, 0
    # Filled frame by frame: so many small tensors would weigh ten times as much.
    lag, known = torch.zeros(frames, columns).long(), torch.zeros(frames, columns).bool()
    before, starts = torch.zeros_like(watched.made), torch.zeros(frames).long()
    for frame in range(frames):
        if watched.fresh[frame] == 0:
            start, at_cut, painted_at_cut = frame, last.clone(), painted.clone()
        place = int(watched.place[frame])
        view = slice(first := int(watched.first[frame]), first + world.view_cells)
        seen = at_cut[place, view]
        lag[frame] = torch.where(seen >= 0, start - seen, -1)
        known[frame] = given_at[place, view]
        before[frame] = painted_at_cut[place, :, view]
        starts[frame] = start
        last[place, view] = frame
        if watched.given[frame]:
            given_at[place, view] = True
        else:
            painted[place, :, view] = watched.made[frame]
    return Visits(
        watched,
        lag,
        known,
        before,
        starts,
        tuple(_trials(watched, world)),
        AWAY_SECONDS * float(one.clock.fps),
    )


def alike(watched: Watched, world: CellWorld) -> tuple[int, int]:
    """Cells that two places share, painted alike or in all, by what was generated there last."""
    painted = torch.full((world.num_places, watched.made.shape[1], world.room_cells), -1)
    for frame in (~watched.given).nonzero().flatten().tolist():
        first = int(watched.first[frame])
        painted[int(watched.place[frame]), :, first : first + world.view_cells] = watched.made[
            frame
        ]
    hits = seen = 0
    for one in range(world.num_places):
        both = (painted[:one] >= 0) & (painted[one] >= 0)
        hits += int((both & (painted[:one] == painted[one])).sum())
        seen += int(both.sum())
    return hits, seen


def _trials(watched: Watched, world: CellWorld) -> list[Trial]:
    """Every return, in order."""
    begins = (watched.fresh == 0).nonzero().flatten().tolist()
    stays = list(zip(begins, [*begins[1:], len(watched.fresh)], strict=True))
    shown = watched.shown
    trials: list[Trial] = []
    snapshots: list[Tensor] = []  # of each stay: its place as it was shown last
    looks = torch.full((world.num_places, shown.shape[1], world.room_cells), -1)
    latest: dict[int, int] = {}
    for number, (begin, stop) in enumerate(stays):
        place = int(watched.place[begin])
        for frame in range(begin, stop):
            first = int(watched.first[frame])
            looks[place, :, first : first + world.view_cells] = shown[frame]
        if place in latest and not watched.given[begin:stop].all():
            earlier = latest[place]
            gone = range(stays[earlier][1], begin)
            left = _agreement(watched, shown, gone, snapshots[earlier], world)
            back = _agreement(watched, shown, range(begin, stop), snapshots[number - 1], world)
            trials.append(Trial(begin, stop, len(gone), left <= _ALIKE, back <= _ALIKE))
        latest[place] = number
        snapshots.append(looks[place].clone())
    return trials


def _agreement(
    watched: Watched, shown: Tensor, frames: range, look: Tensor, world: CellWorld
) -> float:
    """Share of cells in these frames that look as a place did in the same columns."""
    same = known = 0
    for frame in frames:
        first = int(watched.first[frame])
        there = look[:, first : first + world.view_cells]
        known += int((there >= 0).sum())
        same += int(((there >= 0) & (there == shown[frame])).sum())
    return same / known if known else 0.0


def share(hits: Float[Tensor, "..."], seen: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Hits among what was seen; NaN where nothing was."""
    return torch.where(seen > 0, hits / seen.clamp(min=1), torch.nan)
