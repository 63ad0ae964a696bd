"""How camera and sprites of WALK go: closed laws that ease at every turn and never jump."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Floats = Float[np.ndarray, "..."]


def sway(way: Floats, length: Floats | float, ease: Floats | float) -> tuple[Floats, Floats]:
    """To and fro between two ends: where one is after a way of that length, and how fast.

    The ends are rounded off within `ease` of them, so that one slows down, turns and speeds up.

    Returns:
        the position in [ease / 2, length - ease / 2], and its change per way, in [-1, 1].

    >>> at, speed = sway(np.array([0.0, 5.0, 10.0, 15.0]), 10.0, 2.0)
    >>> at.tolist(), speed.tolist()
    ([1.0, 5.0, 9.0, 5.0], [0.0, 1.0, -0.0, -1.0])
    """
    along = way % (2 * length)
    rise = length - np.abs(along - length)
    fall = length - rise
    low, high = rise < ease, fall < ease
    at = np.where(low, ease / 2 + rise * rise / (2 * ease), rise)
    at = np.where(high, length - ease / 2 - fall * fall / (2 * ease), at)
    speed = np.minimum(1, np.minimum(rise, fall) / ease)
    return at, np.where(along < length, speed, -speed)


def leap(phase: Floats) -> Floats:
    """Height of a bounce, 0 on the ground and 1 at the top, by the number of bounces so far.

    >>> leap(np.array([0.0, 0.25, 0.5, 3.0])).tolist()
    [0.0, 0.75, 1.0, 0.0]
    """
    part = phase % 1
    height: Floats = 4 * part * (1 - part)
    return height


def wave(phase: Floats) -> Floats:
    """Up and down in [-1, 1], smoothly, by the number of waves so far.

    >>> wave(np.array([0.0, 0.25, 0.5, 0.75])).tolist()
    [0.0, 1.0, -0.0, -1.0]
    """
    part = phase % 1
    half = 2 * part % 1
    swing: Floats = np.where(part < 0.5, 4.0, -4.0) * half * (1 - half)
    return swing


class Route(NamedTuple):
    """What the camera shows: place, column in pixels, its change, frames since the last cut.

    The change is since the frame before, and 0 where a stay begins.
    """

    place: Int[np.ndarray, " t"]
    column: Float[np.ndarray, " t"]
    step: Float[np.ndarray, " t"]
    fresh: Int[np.ndarray, " t"]


class Camera(NamedTuple):
    """A camera that strolls to and fro in a place, and cuts to another one now and then.

    Attributes:
        places: how many there are.
        last: greatest column, in pixels.
        ease: pixels within which it turns at the ends of a place.
        speed: least and greatest cruising speed, pixels per frame.
        accelerate: greatest change of its speed from frame to frame, away from the ends.
        turn: chance of another speed and direction at the edge of a block.
        cut: chance of a cut there.
        block_frames: frames of a block.
        stay_blocks: instead of chance: blocks of a stay, places in turn.
    """

    places: int
    last: float
    ease: float
    speed: tuple[float, float]
    accelerate: float
    turn: float
    cut: float
    block_frames: int
    stay_blocks: int | None

    def route(self, rng: np.random.Generator, frames: int) -> Route:
        """Where it is in each frame; a shorter route is the beginning of a longer one."""
        length = self.last + self.ease
        place = int(rng.integers(self.places))
        way, speed, target, age = 0.0, 0.0, 0.0, 0
        rows = np.empty((frames, 3))
        for frame in range(frames):
            leave, where, start, turn, cruise, side = rng.uniform(size=6).tolist()
            at_edge = frame % self.block_frames == 0
            leaves = frame > 0 and at_edge and self._leaves(frame // self.block_frames, leave)
            if leaves and self.places > 1:
                ahead = 1 if self.stay_blocks else 1 + int(where * (self.places - 1))
                place = (place + ahead) % self.places
            begins = leaves or not frame
            if begins or (at_edge and turn < self.turn):
                target = self.speed[0] + cruise * (self.speed[1] - self.speed[0])
                target = target if side < 0.5 else -target
            if begins:
                way, speed, age = start * 2 * length, target, 0
            else:
                change = target - speed
                speed += min(max(change, -self.accelerate), self.accelerate)
                way, age = way + speed, age + 1
            rows[frame] = place, way, age
        places, ways, ages = rows.T
        column = np.clip(sway(ways, length, self.ease)[0] - self.ease / 2, 0, self.last)
        step = np.where(ages > 0, np.diff(column, prepend=0.0), 0.0)
        return Route(places.astype(np.int64), column, step, ages.astype(np.int64))

    def _leaves(self, block: int, chance: float) -> bool:
        if self.stay_blocks is not None:
            return block % self.stay_blocks == 0
        return chance < self.cut
