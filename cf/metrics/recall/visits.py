"""When each cell was in view before, and whether the camera really went away in between."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.metrics.recall.cells import Cells, CellWorld, Watched
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
class CellVisits:
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


def visits(measurement: Cells, one: Scored) -> CellVisits:
    """Follow a video from its first frame to its last."""
    watched, world = measurement.watched(one), measurement.world
    # Frame by frame on arrays: as tensors, so many small ones would take most of the time.
    cells, given = watched.made.numpy(), watched.given.numpy()
    place, first = watched.place.tolist(), watched.first.tolist()
    shape = (world.num_places, world.room_cells)
    frames, rows, columns = cells.shape
    last, given_at = np.full(shape, -1), np.zeros(shape, bool)
    painted = np.full((shape[0], rows, shape[1]), -1)
    at_cut, painted_at_cut, start = last.copy(), painted.copy(), 0
    lag, known = np.zeros((frames, columns), np.int64), np.zeros((frames, columns), bool)
    before, starts = np.zeros_like(cells), np.zeros(frames, np.int64)
    for frame, cut in enumerate((watched.fresh == 0).tolist()):
        if cut:
            start, at_cut, painted_at_cut = frame, last.copy(), painted.copy()
        room, view = place[frame], slice(first[frame], first[frame] + world.view_cells)
        last_seen = at_cut[room, view]
        lag[frame] = np.where(last_seen >= 0, start - last_seen, -1)
        known[frame] = given_at[room, view]
        before[frame] = painted_at_cut[room, :, view]
        starts[frame] = start
        last[room, view] = frame
        if given[frame]:
            given_at[room, view] = True
        else:
            painted[room, :, view] = cells[frame]
    return CellVisits(
        watched,
        torch.from_numpy(lag),
        torch.from_numpy(known),
        torch.from_numpy(before),
        torch.from_numpy(starts),
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
    hits = cells = 0
    for place in range(world.num_places):
        shared = (painted[:place] >= 0) & (painted[place] >= 0)
        hits += int((shared & (painted[:place] == painted[place])).sum())
        cells += int(shared.sum())
    return hits, cells


def _trials(watched: Watched, world: CellWorld) -> list[Trial]:
    """The trials of a video, in order."""
    begins = (watched.fresh == 0).nonzero().flatten().tolist()
    stays = list(zip(begins, [*begins[1:], len(watched.fresh)], strict=True))
    shown, given = watched.shown.numpy(), watched.given.numpy()
    place, first = watched.place.tolist(), watched.first.tolist()
    columns = np.array(first)[:, None] + np.arange(world.view_cells)
    trials: list[Trial] = []
    snapshots: list[np.ndarray] = []  # of each stay: its place as it was shown last
    looks = np.full((world.num_places, shown.shape[1], world.room_cells), -1)
    latest: dict[int, int] = {}
    for number, (begin, stop) in enumerate(stays):
        room = place[begin]
        for frame in range(begin, stop):
            looks[room, :, first[frame] : first[frame] + world.view_cells] = shown[frame]
        if room in latest and not given[begin:stop].all():
            earlier = latest[room]
            gone, back = slice(stays[earlier][1], begin), slice(begin, stop)
            left = _agreement(shown[gone], snapshots[earlier], columns[gone])
            returned = _agreement(shown[back], snapshots[number - 1], columns[back])
            away = begin - stays[earlier][1]
            trials.append(Trial(begin, stop, away, left <= _ALIKE, returned <= _ALIKE))
        latest[room] = number
        snapshots.append(looks[room].copy())
    return trials


def _agreement(
    shown: Int[np.ndarray, "n rows columns"],
    look: Int[np.ndarray, "rows cells"],
    columns: Int[np.ndarray, "n columns"],
) -> float:
    """Share of cells in these frames that look as a place did in the same columns."""
    earlier = look[:, columns].transpose(1, 0, 2)
    visible = earlier >= 0
    return float((visible & (earlier == shown)).sum() / visible.sum()) if visible.any() else 0.0


def share(hits: Float[Tensor, "..."], seen: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Hits among what was seen; NaN where nothing was."""
    return torch.where(seen > 0, hits / seen.clamp(min=1), torch.nan)
