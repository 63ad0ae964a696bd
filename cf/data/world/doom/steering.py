"""A camera that a person walks through a place: it turns, steps, and stops at walls and things."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from cf.data.world.doom.path import CameraPath
from cf.data.world.doom.place import DOOR, Place, Room
from cf.data.world.doom.walking import TURN, Gait, Pose, gait_of
from cf.data.world.steered import across, along

BODY = 24
"""Map units that a camera keeps from walls: nearer, the engine would show what is behind them."""
_THING = 40
"""Map units from a thing's middle, east or north; nearer, a player touches or takes it."""
_SPEED, _TURN = 160.0, 120.0
"""Of a path that does not say: map units and degrees per second, as `Tour` goes."""


def gait(path: CameraPath, fps: float) -> Gait:
    """As fast as the world's own path, with which a network was trained."""
    tour: Any = path
    speed = getattr(tour, "speed", _SPEED)
    return gait_of(speed, getattr(tour, "turn_degrees", _TURN) or _TURN, fps)


def next_pose(place: Place, at: Pose, keys: Collection[str], gait: Gait) -> Pose:
    """Where the camera is a frame later; along a wall it slides."""
    heading = (at.heading - across(keys) * gait.turn) % TURN
    ahead = along(keys) * gait.step
    angle = 2 * math.pi * heading / TURN
    x, y = at.x + round(ahead * math.cos(angle)), at.y + round(ahead * math.sin(angle))
    for point in ((x, y), (x, at.y), (at.x, y)):
        if free(place, *point, since=(at.x, at.y)):
            return Pose(*point, heading)
    return Pose(at.x, at.y, heading)


def free(place: Place, x: int, y: int, since: tuple[int, int] | None = None) -> bool:
    """Whether a camera may stand there: in a room or a doorway, and no nearer to a thing.

    Args:
        place: whose walls count.
        x: in map units.
        y: in map units.
        since: where it comes from, from which it may always go away from a thing.
    """
    if not (
        any(_inside(room, x, y) for room in place.rooms)
        or any(_in_doorway(place, a, b, x, y) for a, b in place.doors)
    ):
        return False
    for item in (item for room in place.rooms for item in room.items):
        apart = max(abs(x - item.x), abs(y - item.y))
        before = apart
        if since is not None:
            before = max(abs(since[0] - item.x), abs(since[1] - item.y))
        if apart < _THING and apart <= before:
            return False
    return True


def _inside(room: Room, x: int, y: int) -> bool:
    wide = room.left + BODY <= x <= room.right - BODY
    return wide and room.bottom + BODY <= y <= room.top - BODY


def _in_doorway(place: Place, a: int, b: int, x: int, y: int) -> bool:
    """From one room's floor through the wall to the other's."""
    room_a, room_b = place.rooms[a], place.rooms[b]
    middle, reach = place.threshold(a, b), DOOR // 2 - BODY
    if room_b.left > room_a.right:
        return room_a.right - BODY <= x <= room_b.left + BODY and abs(y - middle[1]) <= reach
    return room_a.top - BODY <= y <= room_b.bottom + BODY and abs(x - middle[0]) <= reach
