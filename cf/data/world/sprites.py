"""The sprites of WALK: six kinds in six colours, each kind with its own way of going about."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from cf.data.world.brush import Box, Figure
from cf.data.world.motion import leap, sway, wave
from cf.data.world.tiles import COLOURS

RADIUS = 0.135
"""Half the height of a sprite, in heights of the picture; so are all lengths in this file."""
WALK, BOUNCE, HOVER = range(3)
_EASE = 0.12
_STRIDE, _ROLL = 0.22, 0.35
_WHITE, _BLACK = (1.0, 1.0, 1.0), (0.08, 0.08, 0.12)


def _dark(part: Box, rim: float = 0.13) -> Box:
    """The outline of a part, to be painted before it."""
    around = None if part.round is None else part.round + rim
    wide, tall = part.wide + rim, part.tall + rim
    return part._replace(wide=wide, tall=tall, round=around, body=0.42, paint=(0.0, 0.0, 0.0))


def _dot(x: float, y: float, radius: float, paint: tuple[float, float, float]) -> Box:
    return Box(x, y, radius, radius, body=0.0, paint=paint)


def _robot(swing: Tensor, face: Tensor) -> list[Box]:
    chest, head = Box(0, 0.14, 0.60, 0.44, 0.14), Box(0.06, -0.60, 0.44, 0.28, 0.14)
    left = Box(-0.28 + 0.26 * swing, 0.78, 0.15, 0.30, 0.08, body=0.42)
    right = Box(0.28 - 0.26 * swing, 0.78, 0.15, 0.30, 0.08, body=0.42)
    return [
        left,
        right,
        *(_dark(part) for part in (chest, head)),
        chest,
        head,
        Box(0.20, -0.60, 0.22, 0.12, body=0.0, paint=_WHITE),
        _dot(0.28, -0.60, 0.10, _BLACK),
        Box(0.0, 0.10, 0.26, 0.14, 0.05, body=0.45, paint=(0.45, 0.45, 0.45)),
    ]


def _snail(swing: Tensor, face: Tensor) -> list[Box]:
    shell = Box(-0.18, -0.08, 0.68, 0.68)
    pale = (0.52, 0.46, 0.40)
    foot = Box(0.04, 0.74, 0.86 + 0.10 * swing, 0.20, body=0.35, paint=pale)
    neck = Box(0.78, 0.28, 0.17, 0.52, body=0.35, paint=pale)
    return [
        *(_dark(part, 0.10) for part in (foot, neck)),
        foot,
        neck,
        _dark(shell),
        shell,
        Box(-0.14, -0.04, 0.42, 0.42, body=0.62),
        Box(-0.12, -0.02, 0.22, 0.22, body=0.6, paint=(0.4, 0.4, 0.4)),
        _dot(0.84, -0.10, 0.10, _BLACK),
    ]


def _ball(swing: Tensor, face: Tensor) -> list[Box]:
    ball = Box(0, 0, 0.82, 0.82)
    return [
        _dark(ball),
        ball,
        Box(0, 0, 0.20, 0.84, lean=swing, body=0.0, paint=(0.98, 0.97, 0.93)),
        Box(0, 0, 0.30, 0.30, body=0.62),
    ]


def _slime(swing: Tensor, face: Tensor) -> list[Box]:
    slime = Box(0, 0, 0.72, 0.80, 0.42, taper=0.34)
    return [
        _dark(slime),
        slime,
        Box(-0.24, -0.42, 0.16, 0.12, body=0.4, paint=(0.6, 0.6, 0.6)),
        _dot(-0.02, 0.02, 0.20, _WHITE),
        _dot(0.48, 0.02, 0.20, _WHITE),
        _dot(0.05, 0.04, 0.10, _BLACK),
        _dot(0.55, 0.04, 0.10, _BLACK),
    ]


def _balloon(swing: Tensor, face: Tensor) -> list[Box]:
    balloon = Box(0, -0.28, 0.74, 0.74)
    basket = Box(0, 0.90, 0.24, 0.16, 0.05, body=0.0, paint=(0.55, 0.38, 0.22))
    rope = (0.35, 0.28, 0.22)
    return [
        Box(-0.20, 0.58, 0.05, 0.30, lean=-0.15, body=0.0, paint=rope),
        Box(0.20, 0.58, 0.05, 0.30, lean=0.15, body=0.0, paint=rope),
        _dark(balloon),
        balloon,
        Box(0, -0.28, 0.30, 0.74, body=0.62),
        Box(0, -0.28, 0.10, 0.74, body=0.5, paint=(0.5, 0.5, 0.5)),
        _dark(basket),
        basket,
    ]


def _bird(swing: Tensor, face: Tensor) -> list[Box]:
    trunk, head = Box(-0.08, 0.12, 0.74, 0.36), Box(0.56, -0.20, 0.34, 0.34)
    wing = Box(-0.16, -0.06 - 0.42 * swing, 0.24, 0.16 + 0.42 * swing.abs(), lean=0.25)
    return [
        Box(-0.84, 0.02, 0.26, 0.15, lean=0.3, body=0.42),
        Box(0.94, -0.14, 0.22, 0.10, body=0.0, paint=(0.98, 0.62, 0.12)),
        *(_dark(part) for part in (trunk, head)),
        trunk,
        head,
        _dark(wing, 0.10),
        wing._replace(body=0.62, paint=(0.30, 0.30, 0.30)),
        _dot(0.64, -0.26, 0.10, _BLACK),
    ]


KINDS = {
    "robot": (WALK, Figure((-0.8, -1.1, 0.8, 1.1), _robot)),
    "snail": (WALK, Figure((-1.15, -1.0, 1.15, 1.1), _snail)),
    "ball": (BOUNCE, Figure((-1.0, -1.0, 1.0, 1.0), _ball)),
    "slime": (BOUNCE, Figure((-1.15, -1.0, 1.15, 1.0), _slime)),
    "balloon": (HOVER, Figure((-0.9, -1.2, 0.9, 1.2), _balloon)),
    "bird": (HOVER, Figure((-1.2, -1.2, 1.2, 1.2), _bird)),
}
"""How each kind goes about, and what it looks like; the unit is RADIUS, the anchor the middle."""
IDENTITIES = len(KINDS) * len(COLOURS)
_GAITS = np.array([gait for gait, _ in KINDS.values()])


@dataclass(frozen=True)
class Poses:
    """Sprites in each frame. Lengths in heights of the picture; (row, column) of the place.

    Attributes:
        centre: middle of each sprite.
        stretch: its size, down and across, as a share of what it is at rest.
        swing, face: as a figure is drawn.
    """

    centre: Float[np.ndarray, "t sprites 2"]
    stretch: Float[np.ndarray, "t sprites 2"]
    swing: Float[np.ndarray, "t sprites"]
    face: Float[np.ndarray, "t sprites"]


@dataclass(frozen=True)
class Troupe:
    """The sprites of a video and their laws of motion, which hold whether they are seen or not.

    Attributes:
        kind, colour: of each, as they are listed in KINDS and COLOURS.
        home: the place in which it lives.
        lane: row of the ground under its feet, or of the air in which it hovers.
        left, length: between which columns of its place it goes to and fro.
        way: how far it had gone before the first frame.
        speed: per frame.
        rise, period, phase: height of a bounce or of its hovering, frames that one takes, and
            how many had gone by before the first frame.
    """

    kind: Int[np.ndarray, " sprites"]
    colour: Int[np.ndarray, " sprites"]
    home: Int[np.ndarray, " sprites"]
    lane: Float[np.ndarray, " sprites"]
    left: Float[np.ndarray, " sprites"]
    length: Float[np.ndarray, " sprites"]
    way: Float[np.ndarray, " sprites"]
    speed: Float[np.ndarray, " sprites"]
    rise: Float[np.ndarray, " sprites"]
    period: Float[np.ndarray, " sprites"]
    phase: Float[np.ndarray, " sprites"]

    @classmethod
    def draw(cls, rng: np.random.Generator, places: int, each: int, wide: float) -> "Troupe":
        """Sprites of which no two look alike, `each` in every place of that width."""
        count = places * each
        kind, colour = np.divmod(rng.permutation(IDENTITIES)[:count], len(COLOURS))
        chance = rng.uniform(size=(count, 8))
        home, slot = np.divmod(np.arange(count), max(each, 1))
        gait = _GAITS[kind]
        ground = 0.85 + 0.10 * (slot + 0.5) / max(each, 1)
        length = (0.35 + 0.45 * chance[:, 0]) * wide
        middle = (slot + chance[:, 1]) / max(each, 1) * wide
        rise = np.where(gait == BOUNCE, 0.16 + 0.20 * chance[:, 2], 0.03 + 0.03 * chance[:, 2])
        brisk = np.where(gait == WALK, 1.0, np.where(gait == BOUNCE, 0.7, 0.8))
        return cls(
            kind=kind,
            colour=colour,
            home=home,
            lane=np.where(gait == HOVER, 0.26 + 0.24 * chance[:, 3], ground),
            left=np.clip(middle - length / 2, 0, wide - length),
            length=length,
            way=2 * length * chance[:, 4],
            speed=brisk * (0.012 + 0.014 * chance[:, 5]),
            rise=rise,
            period=np.where(gait == BOUNCE, 11 + 7 * chance[:, 6], 16 + 14 * chance[:, 6]),
            phase=chance[:, 7],
        )

    def poses(self, frames: Int[np.ndarray, " t"]) -> Poses:
        """How all of them are in those frames, each in its own place; frames may be negative."""
        time = frames[:, None].astype(np.float64)
        way = self.way + self.speed * time
        column, facing = sway(way, self.length, np.minimum(_EASE, self.length / 2))
        turns = self.phase + time / self.period
        gait = np.broadcast_to(_GAITS[self.kind], way.shape)
        height = leap(turns)
        # Flat where it touches the ground, and of the same area at all times.
        tall = np.where(gait == BOUNCE, 1 - 0.24 * np.maximum(0, 1 - height / 0.3) ** 2, 1.0)
        feet = np.where(gait == HOVER, 0.0, RADIUS * tall)
        rise = np.where(gait == HOVER, wave(turns), np.where(gait == BOUNCE, height, 0.0))
        row = self.lane - feet - self.rise * rise
        swing = np.where(gait == HOVER, wave(time / 6.0 + self.phase), wave(way / _STRIDE))
        rolls = np.broadcast_to(self.kind == list(KINDS).index("ball"), way.shape)
        # Half a turn looks like none: the sine of an angle that goes from -90 to 90 degrees.
        swing = np.where(rolls, wave(column / _ROLL % 1 / 2 - 0.25), swing)
        return Poses(
            centre=np.stack((row, self.left + column), -1),
            stretch=np.stack((tall, 1 / tall), -1),
            swing=swing,
            face=np.where(rolls, 1.0, np.clip(3 * facing, -1, 1)),
        )

    def name(self, sprite: int) -> str:
        """Colour and kind."""
        colours, kinds = list(COLOURS), list(KINDS)
        return f"{colours[self.colour[sprite]]} {kinds[self.kind[sprite]]}"
