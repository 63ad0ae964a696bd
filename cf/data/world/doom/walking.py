"""How a camera walks through a place: turns, straight lines, ways home, trips of a given length."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cf.data.world.doom.place import Place

TURN = 1024
"""Steps of heading in a full turn; 0 is east, and they count counter-clockwise."""


class Pose(NamedTuple):
    """A camera: map units from the place's lower left corner, and steps of heading."""

    x: int
    y: int
    heading: int


@dataclass(frozen=True)
class Gait:
    """How fast the camera goes.

    Attributes:
        step: map units per frame.
        turn: steps of heading per frame.
    """

    step: int
    turn: int

    def facing(self, pose: Pose, heading: int) -> list[Pose]:
        """Turn on the spot, the shorter way."""
        angle = (heading - pose.heading + TURN // 2) % TURN - TURN // 2
        return self._turned(pose, angle)

    def around(self, pose: Pose, way: int, frames: int | None = None) -> list[Pose]:
        """A full turn to the left (1) or right (-1), in so many frames if told."""
        if frames is None:
            return self._turned(pose, way * TURN)
        marks = np.linspace(0, way * TURN, frames + 1)[1:].round().astype(int).tolist()
        return [pose._replace(heading=(pose.heading + mark) % TURN) for mark in marks]

    def to(self, pose: Pose, x: int, y: int) -> list[Pose]:
        """Face a point and walk there in a straight line."""
        across, up = x - pose.x, y - pose.y
        if not across and not up:
            return []
        heading = round(math.atan2(up, across) / (2 * math.pi) * TURN) % TURN
        poses = self.facing(pose, heading)
        frames = math.ceil(math.hypot(across, up) / self.step)
        for i in range(1, frames + 1):
            share = min(i * self.step / math.hypot(across, up), 1.0)
            at = round(pose.x + share * across), round(pose.y + share * up)
            poses.append(Pose(*at, heading))
        return poses

    def _turned(self, pose: Pose, by: int) -> list[Pose]:
        frames = math.ceil(abs(by) / self.turn)
        way = 1 if by > 0 else -1
        marks = [min(i * self.turn, abs(by)) for i in range(1, frames + 1)]
        return [pose._replace(heading=(pose.heading + way * mark) % TURN) for mark in marks]


def excursion(
    place: Place, home: int, pose: Pose, gait: Gait, frames: int, rng: np.random.Generator
) -> list[Pose]:
    """From a room's centre out and back to it, out of the room for so many frames."""
    nearest = place.neighbours(home)
    if not nearest:  # a single room: it waits with its face to the wall
        return [pose] * frames
    out = through(place, home, int(rng.choice(nearest)), pose, gait)
    leave = next(i for i, spot in enumerate(out) if place.room_at(spot.x, spot.y) != home)
    back = _homeward(place, home, out[-1], gait)
    if _outside(place, home, [*out, *back]) > frames:  # too far: turn round on the way
        for stop in range(leave + 1, len(out)):
            back = _homeward(place, home, out[stop], gait)
            if _outside(place, home, [*out[: stop + 1], *back]) >= frames:
                return [*out[: stop + 1], *back]
        return [*out, *_homeward(place, home, out[-1], gait)]
    while True:
        room = place.room_at(out[-1].x, out[-1].y)
        choices = [n for n in place.neighbours(room) if n != home]
        longer = [
            [*out, *through(place, room, n, out[-1], gait)]
            for n in rng.permutation(choices).astype(int).tolist()
        ]
        fitting = [
            way
            for way in longer
            if _outside(place, home, [*way, *_homeward(place, home, way[-1], gait)]) <= frames
        ]
        if not fitting:
            break
        out = fitting[0]
    spare = frames - _outside(place, home, [*out, *_homeward(place, home, out[-1], gait)])
    if spare:
        out += gait.around(out[-1], 1, spare)
    return [*out, *_homeward(place, home, out[-1], gait)]


def _outside(place: Place, home: int, poses: Sequence[Pose]) -> int:
    """Frames in which the camera is not at home."""
    return sum(place.room_at(pose.x, pose.y) != home for pose in poses)


def through(place: Place, room: int, other: int, pose: Pose, gait: Gait) -> list[Pose]:
    """From a room through a doorway to the centre of the next one; never empty."""
    poses = gait.to(pose, *place.threshold(room, other))
    poses += gait.to(poses[-1] if poses else pose, *place.rooms[other].centre)
    return poses


def _homeward(place: Place, home: int, pose: Pose, gait: Gait) -> list[Pose]:
    """The shortest way to the centre of a room, by doorways."""
    room = place.room_at(pose.x, pose.y)
    poses: list[Pose] = []
    for following in _route(place, room, home):
        poses += through(place, room, following, poses[-1] if poses else pose, gait)
        room = following
    return poses or gait.to(pose, *place.rooms[home].centre)


def _route(place: Place, start: int, goal: int) -> list[int]:
    """Rooms after `start` up to `goal`, as few as there are."""
    came: dict[int, int] = {start: start}
    waiting = deque([start])
    while waiting:
        room = waiting.popleft()
        for neighbour in place.neighbours(room):
            if neighbour not in came:
                came[neighbour] = room
                waiting.append(neighbour)
    route = [goal]
    while came[route[0]] != route[0]:
        route.insert(0, came[route[0]])
    return route[1:]


def per_frame(degrees: float, fps: float) -> int:
    """Steps of heading per frame at so many degrees per second; at least one if it turns at all."""
    return max(round(degrees / fps / 360 * TURN), 1) if degrees else 0


def gait_of(speed: float, turn_degrees: float, fps: float) -> Gait:
    """At so many map units and degrees per second."""
    return Gait(max(round(speed / fps), 1), per_frame(turn_degrees, fps))


def check_gait(speed: float, turn_degrees: float) -> None:
    """Raise a ValueError for a speed or a turn that no camera goes at."""
    if not 0 < speed <= 10_000 or not 0 < turn_degrees <= 3600:
        raise ValueError(
            f"speed={speed} must lie in (0, 10000] map units per second and turn_degrees="
            f"{turn_degrees} in (0, 3600] per second"
        )
