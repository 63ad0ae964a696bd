"""DOOM as a world: numbered places, a camera that goes through them, and what the engine shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from typing_extensions import override

from cf.data.world.base import Film, WorldTruth, generators
from cf.data.world.camera_control import CameraControl, PoseFeatures
from cf.data.world.doom.engine import views
from cf.data.world.doom.path import CameraPath, Visits, planned_frames
from cf.data.world.doom.place import Place
from cf.data.world.doom.steering import gait, next_pose
from cf.data.world.doom.walking import TURN, Pose
from cf.data.world.steered import Stage, Standpoint, SteeredWorld
from cf.types import Video

_MOST_ROOMS = 64


@dataclass(frozen=True)
class _PlaceStage(Stage):
    """A place before it is painted; the camera stands at (x, y, heading, fresh)."""

    world: Doom
    place: Place
    seed: int
    number: int

    @override
    def planned(self, frames: int) -> list[Standpoint]:
        rng = generators(self.seed, self.number, 2)[1]
        shots = planned_frames(self.world.path, self.place, rng, self.world.fps, frames)
        return [(*shot.pose, shot.fresh) for shot in shots]

    @override
    def moved(self, at: Standpoint, keys: Collection[str], edge: bool) -> Standpoint:
        pace = gait(self.world.path, self.world.fps)
        return (*next_pose(self.place, Pose(*at[:3]), keys, pace), at[3] + 1)

    @override
    def film(self, way: Sequence[Standpoint]) -> Film:
        return self.world.filmed([self], [way])


@dataclass(frozen=True)
class Doom(SteeredWorld):
    """Rooms with doorways, drawn from a number and painted by ViZDoom with Freedoom's textures.

    No video shows the place of another one. Whatever is drawn stands still, so that the same pose
    in the same place has the same pixels, at any time and in any process.

    In the truth of a video, `place` is the room in which the camera is, `instance` numbers the
    things over all rooms from 1, and `pose` is where the camera stands; `camera` is 0.

    Attributes:
        size: height and width in pixels; the engine's picture is cropped where it is not 3 : 4.
        grid: rows and columns of rooms.
        things: most things in a room.
        path: where the camera goes.
        control: how a network is told.
        fps: frames per second, for the path's speeds.

    >>> Doom().place(seed=0, number=7).rooms[0].words()
    'a black scale and pink brick room with a mossy floor, a tall red column and two lamps'
    """

    told: ClassVar = {
        "ahead": "walk ahead",
        "left": "turn left",
        "back": "walk back",
        "right": "turn right",
    }
    size: Sequence[int] = (48, 64)
    grid: Sequence[int] = (2, 2)
    things: int = 3
    path: CameraPath = field(default_factory=Visits)
    control: CameraControl = field(default_factory=PoseFeatures)
    fps: float = 8.0

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not 16 <= min(self.size) <= max(self.size) <= 1280:
            raise ValueError(f"size={list(self.size)} must be two sides of 16 to 1280 pixels")
        if len(self.grid) != 2 or min(self.grid) < 1 or self.num_places > _MOST_ROOMS:
            raise ValueError(
                f"grid={list(self.grid)} must be rows and columns of 1 to {_MOST_ROOMS} rooms"
            )
        if not 0 <= self.things <= 4 or not 0 < self.fps <= 1000:
            raise ValueError(
                f"things={self.things} must lie in 0..4 (a room has four corners) and "
                f"fps={self.fps} in (0, 1000]"
            )

    @property
    def num_places(self) -> int:
        """Rooms of a video."""
        return int(np.prod(self.grid))

    @property
    def control_width(self) -> int:
        """Of the camera's features."""
        return self.control.width

    def place(self, seed: int, number: int, other: int = 0) -> Place:
        """The place of a video; with `other` above 0 one of the same geometry, furnished anew."""
        place = Place.draw(generators(seed, number, 2)[0], self.grid, self.things)
        if not other:
            return place
        again = np.random.default_rng([seed, number, other])
        return place.furnished(again, self.things)

    @override
    def stage(self, seed: int, number: int) -> Stage:
        return _PlaceStage(self, self.place(seed, number), seed, number)

    @override
    def filmed(self, stages: Sequence[Stage], ways: Sequence[Sequence[Standpoint]]) -> Film:
        place_stages = cast(Sequence[_PlaceStage], stages)
        places = [stage.place for stage in place_stages]
        rows = np.array([list(way) for way in ways], np.int64).reshape(len(place_stages), -1, 4)
        pose, fresh = rows[..., :3].astype(np.int32), rows[..., 3]
        signals = [self.control(camera(track), age) for track, age in zip(pose, fresh, strict=True)]
        numbers = [(stage.seed, stage.number) for stage in place_stages]
        seed, number = torch.tensor(numbers).reshape(-1, 2).unbind(1)
        return Film(
            torch.from_numpy(np.stack(signals)).float(),
            torch.zeros(len(places), rows.shape[1], 2),
            [f"A walk through {_listed(place)}" for place in places],
            {"seed": seed, "number": number},
            partial(self._part, places, pose, fresh),
            torch.from_numpy(pose),
        )

    def _part(
        self,
        places: Sequence[Place],
        pose: Int[np.ndarray, "b frames 3"],
        fresh: Int[np.ndarray, "b frames"],
        start: int,
        stop: int,
    ) -> tuple[Video, WorldTruth]:
        size = (self.size[0], self.size[1])
        poses = [[Pose(*row) for row in track[start:stop].tolist()] for track in pose]
        renders = [views(place, track, size) for place, track in zip(places, poses, strict=True)]
        pixels = torch.from_numpy(np.stack([render.pixels for render in renders]))
        rooms = [
            [place.room_at(at.x, at.y) for at in track]
            for place, track in zip(places, poses, strict=True)
        ]
        shape = (len(places), stop - start)
        truth = WorldTruth(
            place=torch.tensor(rooms),
            camera=torch.zeros(shape),
            fresh=torch.from_numpy(fresh[:, start:stop]),
            identity=torch.zeros(*shape, 0, 0, dtype=torch.long),
            instance=torch.from_numpy(np.stack([render.thing for render in renders])).long(),
            pose=torch.from_numpy(pose[:, start:stop]),
            depth=torch.from_numpy(np.stack([render.depth for render in renders])),
        )
        return pixels.permute(0, 1, 4, 2, 3).float() / 255, truth


def camera(pose: Int[np.ndarray, "t 3"]) -> Float[np.ndarray, "t 3"]:
    """Poses with the heading in radians, as `CameraControl` takes them."""
    scaled: Float[np.ndarray, "t 3"] = pose * np.array([1, 1, 2 * np.pi / TURN])
    return scaled


def _listed(place: Place) -> str:
    return "; ".join(room.words() for room in place.rooms)
