"""Where the camera stands and looks in each frame: cuts, walks, returns, or nothing at all.

A path is planned without the engine, on whole map units and whole steps of heading, so that a pose
that comes again is the same to the bit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
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


class Shot(NamedTuple):
    """One frame: where the camera is, and how many frames ago it was last put there by a cut."""

    pose: Pose
    fresh: int


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
        rest = (heading - pose.heading + TURN // 2) % TURN - TURN // 2
        return self._turned(pose, rest)

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


class CameraPath(ABC):
    """A rule by which a camera goes through any place; a shorter path begins a longer one."""

    @abstractmethod
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Shot]:
        """Frames without end, at `fps` frames per second."""


@dataclass(frozen=True)
class Visits(CameraPath):
    """Hard cuts between rooms, in each of which the camera turns on the spot.

    Attributes:
        cut: chance of a cut to another room at the edge of a block.
        block_frames: frames between which cuts may lie.
        turn_degrees: per second, in one direction for the length of a stay.
        wander: greatest distance of a stay's camera from the room's centre, in map units.
    """

    cut: float = 0.5
    block_frames: int = 3
    turn_degrees: float = 90.0
    wander: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.cut <= 1 or self.block_frames < 1 or self.wander < 0:
            raise ValueError(
                f"cut={self.cut} is a chance in [0, 1], block_frames={self.block_frames} at least "
                f"1 and wander={self.wander} not negative"
            )

    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Shot]:
        """See `CameraPath`."""
        step = _per_frame(self.turn_degrees, fps)
        room, fresh, way = int(rng.integers(len(place.rooms))), 0, 1
        pose = Pose(0, 0, 0)
        frame = 0
        while True:
            leave, where, x, y, heading, side = rng.uniform(size=6).tolist()
            leaves = frame > 0 and frame % self.block_frames == 0 and leave < self.cut
            if leaves and len(place.rooms) > 1:
                room = (room + 1 + int(where * (len(place.rooms) - 1))) % len(place.rooms)
            if leaves or not frame:
                middle = place.rooms[room].centre
                at = (
                    round(m + (2 * u - 1) * self.wander)
                    for m, u in zip(middle, (x, y), strict=True)
                )
                pose, fresh, way = Pose(*at, int(heading * TURN)), 0, 1 if side < 0.5 else -1
            elif frame:
                pose = pose._replace(heading=(pose.heading + way * step) % TURN)
            yield Shot(pose, fresh)
            fresh, frame = fresh + 1, frame + 1


@dataclass(frozen=True)
class Return(CameraPath):
    """Look around in a room, walk off through doors, and come back after a given time.

    The lags come in rounds, each in an order drawn anew, so that every lag has its trials.

    Attributes:
        lags: seconds out of the room.
        look: seconds of a full turn in the room, before and after.
        speed: map units per second.
        turn_degrees: per second, wherever it changes direction.
    """

    lags: Sequence[float] = (2, 4, 8, 16, 32, 60)
    look: float = 3.0
    speed: float = 240.0
    turn_degrees: float = 180.0

    def __post_init__(self) -> None:
        if not self.lags or min(self.lags) <= 0:
            raise ValueError(f"lags={list(self.lags)} must be seconds above 0")
        _check_gait(self.speed, self.turn_degrees)
        if self.look <= 0:
            raise ValueError(f"look={self.look} must be seconds above 0")

    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Shot]:
        """See `CameraPath`."""
        return _unbroken(self._poses(place, rng, fps))

    def _poses(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Pose]:
        gait = _gait(self.speed, self.turn_degrees, fps)
        home = int(rng.integers(len(place.rooms)))
        pose = Pose(*place.rooms[home].centre, int(rng.integers(TURN)))
        yield pose
        while True:
            for lag in rng.permutation(np.asarray(self.lags, float)).tolist():
                way = 1 if rng.uniform() < 0.5 else -1
                trip = gait.around(pose, way, max(round(self.look * fps), 1))
                trip += _excursion(place, home, trip[-1], gait, max(round(lag * fps), 1), rng)
                yield from trip
                pose = trip[-1]
            pose = yield from _moved_on(place, home, pose, gait, rng)
            home = place.room_at(pose.x, pose.y)


@dataclass(frozen=True)
class Tour(CameraPath):
    """Walk on from room to room, looking to both sides in each.

    Attributes:
        speed: map units per second.
        turn_degrees: per second.
        glance_degrees: how far it looks to either side; 0 for straight on.
    """

    speed: float = 160.0
    turn_degrees: float = 120.0
    glance_degrees: float = 60.0

    def __post_init__(self) -> None:
        _check_gait(self.speed, self.turn_degrees)

    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Shot]:
        """See `CameraPath`."""
        return _unbroken(self._poses(place, rng, fps))

    def _poses(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Pose]:
        gait = _gait(self.speed, self.turn_degrees, fps)
        glance = round(self.glance_degrees / 360 * TURN)
        room = int(rng.integers(len(place.rooms)))
        pose = Pose(*place.rooms[room].centre, int(rng.integers(TURN)))
        yield pose
        before = None
        while True:
            ahead = [n for n in place.neighbours(room) if n != before] or place.neighbours(room)
            if glance or not ahead:
                side = 1 if rng.uniform() < 0.5 else -1
                straight = pose.heading
                for to in (side * glance, -side * glance, 0) if glance else (TURN // 2,):
                    turned = gait.facing(pose, (straight + to) % TURN)
                    yield from turned
                    pose = turned[-1] if turned else pose
            if not ahead:
                continue
            following = int(rng.choice(ahead))
            walked = _through(place, room, following, pose, gait)
            yield from walked
            pose, before, room = walked[-1], room, following


@dataclass(frozen=True)
class Still(CameraPath):
    """The camera does not move: what drifts, drifts by itself."""

    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Shot]:
        """See `CameraPath`."""
        room = place.rooms[int(rng.integers(len(place.rooms)))]
        pose = Pose(*room.centre, int(rng.integers(TURN)))
        fresh = 0
        while True:
            yield Shot(pose, fresh)
            fresh += 1


def planned(
    path: CameraPath, place: Place, rng: np.random.Generator, fps: float, frames: int
) -> list[Shot]:
    """The first `frames` frames."""
    return list(islice(path.shots(place, rng, fps), frames))


def _excursion(
    place: Place, home: int, pose: Pose, gait: Gait, frames: int, rng: np.random.Generator
) -> list[Pose]:
    """From a room's centre out and back to it, out of the room for so many frames."""
    nearest = place.neighbours(home)
    if not nearest:  # a single room: it waits with its face to the wall
        return [pose] * frames
    out = _through(place, home, int(rng.choice(nearest)), pose, gait)
    leave = next(i for i, one in enumerate(out) if place.room_at(one.x, one.y) != home)
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
            [*out, *_through(place, room, n, out[-1], gait)]
            for n in rng.permutation(choices).astype(int).tolist()
        ]
        fitting = [
            one
            for one in longer
            if _outside(place, home, [*one, *_homeward(place, home, one[-1], gait)]) <= frames
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
    return sum(place.room_at(one.x, one.y) != home for one in poses)


def _through(place: Place, room: int, other: int, pose: Pose, gait: Gait) -> list[Pose]:
    """From a room through a doorway to the centre of the next one; never empty."""
    poses = gait.to(pose, *place.threshold(room, other))
    poses += gait.to(poses[-1] if poses else pose, *place.rooms[other].centre)
    return poses


def _homeward(place: Place, home: int, pose: Pose, gait: Gait) -> list[Pose]:
    """The shortest way to the centre of a room, by doorways."""
    room = place.room_at(pose.x, pose.y)
    poses: list[Pose] = []
    for following in _route(place, room, home):
        poses += _through(place, room, following, poses[-1] if poses else pose, gait)
        room = following
    return poses or gait.to(pose, *place.rooms[home].centre)


def _route(place: Place, start: int, goal: int) -> list[int]:
    """Rooms after `start` up to `goal`, as few as there are."""
    came: dict[int, int] = {start: start}
    waiting = deque([start])
    while waiting:
        room = waiting.popleft()
        for one in place.neighbours(room):
            if one not in came:
                came[one] = room
                waiting.append(one)
    route = [goal]
    while came[route[0]] != route[0]:
        route.insert(0, came[route[0]])
    return route[1:]


def _moved_on(
    place: Place, room: int, pose: Pose, gait: Gait, rng: np.random.Generator
) -> Iterator[Pose]:
    """Walk to a neighbouring room, so that the next round has another home; returns the pose."""
    ahead = place.neighbours(room)
    if ahead:
        walked = _through(place, room, int(rng.choice(ahead)), pose, gait)
        yield from walked
        pose = walked[-1]
    return pose


def _unbroken(poses: Iterator[Pose]) -> Iterator[Shot]:
    for fresh, pose in enumerate(poses):
        yield Shot(pose, fresh)


def _per_frame(degrees: float, fps: float) -> int:
    return max(round(degrees / fps / 360 * TURN), 1) if degrees else 0


def _gait(speed: float, turn_degrees: float, fps: float) -> Gait:
    return Gait(max(round(speed / fps), 1), _per_frame(turn_degrees, fps))


def _check_gait(speed: float, turn_degrees: float) -> None:
    if not 0 < speed <= 10_000 or not 0 < turn_degrees <= 3600:
        raise ValueError(
            f"speed={speed} must lie in (0, 10000] map units per second and turn_degrees="
            f"{turn_degrees} in (0, 3600] per second"
        )
