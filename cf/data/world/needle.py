"""Needles: a room of ROOMS shown once for a moment, and again at the end of a long past."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cf.data.world.rooms import Rooms


@dataclass(frozen=True)
class Needle(Rooms):
    """ROOMS in which room 0 is shown once, at a depth of the past, and asked for when that ends.

    The past is a video of the other rooms. Both times the camera stands at the same column, so
    that every cell that is asked for was shown.

    Attributes:
        past_frames: frames before room 0 is asked for; give them to the model.
        shown_frames: for how many of them it is shown.
        away_frames: for how many at least it is out of view before it is asked for.
        depth: where: 0 at the beginning, 1 as late as that allows; at a block's edge.

    >>> world = Needle(past_frames=12, shown_frames=3, away_frames=3, depth=1)
    >>> world.role(15).tolist()
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 2, 2, 2]
    """

    past_frames: int = 48
    shown_frames: int = 9
    away_frames: int = 9
    depth: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_places < 2:
            raise ValueError(f"num_places={self.num_places} leaves no room but the needle's")
        if not 0 <= self.depth <= 1:
            raise ValueError(f"depth={self.depth} must lie in [0, 1]")
        if min(self.shown_frames, self.away_frames) < 1 or self._spare < 0:
            raise ValueError(
                f"shown_frames={self.shown_frames} and away_frames={self.away_frames} must be at "
                f"least 1 and together at most past_frames={self.past_frames}"
            )
        for name in ("past_frames", "shown_frames", "away_frames"):
            if getattr(self, name) % self.block_frames:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be a multiple of "
                    f"block_frames={self.block_frames}, between which cuts lie"
                )

    @property
    def _spare(self) -> int:
        return self.past_frames - self.shown_frames - self.away_frames

    @property
    def first(self) -> int:
        """Frame with which the needle begins."""
        return round(self.depth * (self._spare // self.block_frames)) * self.block_frames

    def role(self, frames: int) -> Int[Tensor, " t"]:
        """Of each frame: 1 shows the needle, 2 is asked to show it again, else 0."""
        time = torch.arange(frames)
        shown = (time >= self.first) & (time < self.first + self.shown_frames)
        return shown.long() + 2 * (time >= self.past_frames)

    def _path(self, rng: np.random.Generator, frames: int) -> Int[np.ndarray, "frames 3"]:
        column = int(rng.integers(self.room_cells - self.view_cells + 1))
        plain = {field.name: getattr(self, field.name) for field in fields(Rooms)}
        others = Rooms(**{**plain, "num_places": self.num_places - 1})
        place, columns, age = others._path(rng, frames).T
        in_needle = self.role(frames).numpy() > 0
        place = np.where(in_needle, 0, place + 1)
        columns = np.where(in_needle, column, columns)
        cut = np.diff(place, prepend=-1) != 0
        cut |= ~in_needle & (age == 0)
        since = np.maximum.accumulate(np.where(cut, np.arange(frames), 0))
        return np.stack((place, columns, np.arange(frames) - since), 1)
