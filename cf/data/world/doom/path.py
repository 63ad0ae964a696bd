"""Where the camera stands and looks in each frame: cuts, walks, returns, or nothing at all.

A path is planned without the engine, on whole map units and whole steps of heading, so that a pose
that comes again is the same to the bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from cf.bounds import check_above, check_least, check_share
from cf.data.world.doom.place import Place
from cf.data.world.doom.walking import (
    TURN,
    Gait,
    Pose,
    check_gait,
    excursion,
    gait_of,
    per_frame,
    through,
)


class CameraFrame(NamedTuple):
    """One frame: where the camera is, and how many frames ago it was last put there by a cut."""

    pose: Pose
    fresh: int


class CameraPath(ABC):
    """A rule by which a camera goes through any place; a shorter path begins a longer one."""

    @abstractmethod
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[CameraFrame]:
        """Frames without end, at `fps` frames per second."""


@dataclass(frozen=True)
class Visits(CameraPath):
    """Hard cuts between rooms, in each of which the camera turns on the spot.

    Attributes:
        cut: chance of a cut to another room at the edge of a block.
        block_frames: frames between which cuts may lie.
        turn_degrees: per second, in one direction for the length of a stay.
        wander: greatest distance of a stay's camera from the room's centre, in map units.
        headings: a stay begins with one of so many, from east on and evenly apart; None: any.
    """

    cut: float = 0.5
    block_frames: int = 3
    turn_degrees: float = 90.0
    wander: int = 40
    headings: int | None = None

    def __post_init__(self) -> None:
        _check_headings(self.headings)
        check_share(cut=self.cut)
        check_least(1, block_frames=self.block_frames)
        check_least(0, wander=self.wander)

    @override
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[CameraFrame]:
        step = per_frame(self.turn_degrees, fps)
        room, fresh, way = int(rng.integers(len(place.rooms))), 0, 1
        pose = Pose(0, 0, 0)
        frame = 0
        while True:
            leave, where, x, y, heading, side = rng.uniform(size=6).tolist()
            leaves = frame > 0 and frame % self.block_frames == 0 and leave < self.cut
            if leaves and len(place.rooms) > 1:
                room = (room + 1 + int(where * (len(place.rooms) - 1))) % len(place.rooms)
            if leaves or not frame:
                pose = self._entered(place.rooms[room].centre, x, y, heading)
                fresh, way = 0, 1 if side < 0.5 else -1
            elif frame:
                pose = pose._replace(heading=(pose.heading + way * step) % TURN)
            yield CameraFrame(pose, fresh)
            fresh, frame = fresh + 1, frame + 1

    def _entered(self, centre: tuple[int, int], x: float, y: float, heading: float) -> Pose:
        """Where a stay begins, from numbers in [0, 1)."""
        across, up = (round((2 * u - 1) * self.wander) for u in (x, y))
        return Pose(centre[0] + across, centre[1] + up, _heading(heading, self.headings))


@dataclass(frozen=True)
class Return(CameraPath):
    """Look around in a room, walk off through doors, and come back after a given time.

    The lags come in rounds, each in an order drawn anew, so that every lag has its trials.

    Attributes:
        lags: seconds out of the room.
        look: seconds of a full turn in the room, before and after.
        speed: map units per second.
        turn_degrees: per second, wherever it changes direction.
        headings: the video begins with one of so many, from east on and evenly apart; None: any.
            Doorways lie to the east, north, west and south, so that a camera that begins with one
            of 16 and turns by 22.5 degrees a frame sees the same views again, to the pixel.
    """

    lags: Sequence[float] = (2, 4, 8, 16, 32, 60)
    look: float = 3.0
    speed: float = 240.0
    turn_degrees: float = 180.0
    headings: int | None = None

    def __post_init__(self) -> None:
        _check_headings(self.headings)
        if not self.lags or min(self.lags) <= 0:
            raise ValueError(f"lags={list(self.lags)} must be seconds above 0")
        check_gait(self.speed, self.turn_degrees)
        check_above(0, look=self.look)

    @override
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[CameraFrame]:
        return _unbroken(self._poses(place, rng, fps))

    def _poses(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Pose]:
        gait = gait_of(self.speed, self.turn_degrees, fps)
        home = int(rng.integers(len(place.rooms)))
        pose = Pose(
            *place.rooms[home].centre, _heading(int(rng.integers(TURN)) / TURN, self.headings)
        )
        yield pose
        while True:
            for lag in rng.permutation(np.asarray(self.lags, float)).tolist():
                way = 1 if rng.uniform() < 0.5 else -1
                trip = gait.around(pose, way, max(round(self.look * fps), 1))
                trip += excursion(place, home, trip[-1], gait, max(round(lag * fps), 1), rng)
                yield from trip
                pose = trip[-1]
            moved = _moved_on(place, home, pose, gait, rng)
            yield from moved
            pose = moved[-1] if moved else pose
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
        check_gait(self.speed, self.turn_degrees)

    @override
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[CameraFrame]:
        return _unbroken(self._poses(place, rng, fps))

    def _poses(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[Pose]:
        gait = gait_of(self.speed, self.turn_degrees, fps)
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
            walked = through(place, room, following, pose, gait)
            yield from walked
            pose, before, room = walked[-1], room, following


@dataclass(frozen=True)
class Still(CameraPath):
    """The camera does not move: what drifts, drifts by itself."""

    @override
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[CameraFrame]:
        room = place.rooms[int(rng.integers(len(place.rooms)))]
        pose = Pose(*room.centre, int(rng.integers(TURN)))
        fresh = 0
        while True:
            yield CameraFrame(pose, fresh)
            fresh += 1


@dataclass(frozen=True)
class OneOf(CameraPath):
    """Each video goes one of several ways, each as often as the others.

    Attributes:
        paths: the ways; one that is named twice is taken twice as often.
    """

    paths: Sequence[CameraPath]

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("paths names no camera path: give at least one")

    @override
    def shots(self, place: Place, rng: np.random.Generator, fps: float) -> Iterator[CameraFrame]:
        return self.paths[int(rng.integers(len(self.paths)))].shots(place, rng, fps)


def planned_frames(
    path: CameraPath, place: Place, rng: np.random.Generator, fps: float, frames: int
) -> list[CameraFrame]:
    """The first `frames` frames."""
    return list(islice(path.shots(place, rng, fps), frames))


def _moved_on(
    place: Place, room: int, pose: Pose, gait: Gait, rng: np.random.Generator
) -> list[Pose]:
    """Walk to a neighbouring room, so that the next round has another home."""
    ahead = place.neighbours(room)
    return through(place, room, int(rng.choice(ahead)), pose, gait) if ahead else []


def _check_headings(headings: int | None) -> None:
    if headings is not None and not 1 <= headings <= TURN:
        raise ValueError(f"headings={headings} must lie in 1..{TURN}, or be null for any")


def _heading(share: float, headings: int | None) -> int:
    """A heading from a number in [0, 1)."""
    if headings is None:
        return int(share * TURN)
    return int(share * headings) * TURN // headings


def _unbroken(poses: Iterator[Pose]) -> Iterator[CameraFrame]:
    for fresh, pose in enumerate(poses):
        yield CameraFrame(pose, fresh)
