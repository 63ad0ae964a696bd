"""What stands still in WALK: trees, houses, rocks and what hangs in the sky."""

import numpy as np
from torch import Tensor

from cf.data.world.brush import Box, Figure, Rgb

_BARK, _GLASS, _DOOR = (0.42, 0.29, 0.20), (1.0, 0.93, 0.62), (0.32, 0.22, 0.18)


def _painted(
    rgb: Rgb, x: float, y: float, wide: float, tall: float, round: float | None = None
) -> Box:
    return Box(x, y, wide, tall, round, body=0.0, paint=rgb)


def _shining(rgb: Rgb, x: float, y: float, wide: float, tall: float, round: float) -> Box:
    return _painted(rgb, x, y, wide, tall, round)._replace(lit=True)


def _tree(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        _painted(_BARK, 0, -0.22, 0.055, 0.24),
        Box(0, -0.60, 0.25, 0.22, body=0.78),
        Box(-0.13, -0.50, 0.16, 0.16, body=0.86),
        Box(0.14, -0.54, 0.17, 0.17, body=0.92),
        Box(0.02, -0.70, 0.20, 0.18),
        Box(0.07, -0.76, 0.10, 0.09, paint=(0.08, 0.08, 0.04)),
    ]


def _fir(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        _painted(_BARK, 0, -0.08, 0.04, 0.09),
        Box(0, -0.28, 0.13, 0.16, 0.02, taper=1.0, body=0.74),
        Box(0, -0.48, 0.11, 0.15, 0.02, taper=1.0, body=0.86),
        Box(0, -0.68, 0.08, 0.14, 0.02, taper=1.0),
        Box(0, -0.77, 0.035, 0.06, 0.02, taper=1.0, body=0.0, paint=(0.96, 0.97, 1.0)),
    ]


def _palm(swing: Tensor, face: Tensor) -> list[Box]:
    leaves = ((-0.17, -0.62, -0.42), (0.19, -0.64, 0.42), (-0.13, -0.74, 0.5), (0.15, -0.76, -0.5))
    return [
        _painted(_BARK, 0.0, -0.32, 0.04, 0.36)._replace(lean=0.08),
        *(
            Box(x, y, 0.19, 0.05, lean=lean, body=0.8 + 0.05 * i)
            for i, (x, y, lean) in enumerate(leaves)
        ),
        _painted((0.50, 0.34, 0.18), 0.03, -0.64, 0.045, 0.045),
    ]


def _cactus(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        Box(-0.17, -0.40, 0.055, 0.13, body=0.8),
        Box(-0.10, -0.30, 0.10, 0.05, body=0.8),
        Box(0.18, -0.30, 0.055, 0.12, body=0.8),
        Box(0.10, -0.21, 0.10, 0.05, body=0.8),
        Box(0, -0.30, 0.085, 0.33),
        Box(0.02, -0.32, 0.02, 0.26, paint=(0.10, 0.10, 0.05)),
    ]


def _rock(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        Box(0, -0.10, 0.22, 0.13, 0.09, taper=0.3, body=0.72),
        Box(0.04, -0.13, 0.15, 0.09, 0.07, taper=0.3),
        Box(-0.22, -0.05, 0.09, 0.06, 0.05, body=0.85),
    ]


def _bush(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        Box(0, -0.08, 0.30, 0.10, body=0.74),
        Box(-0.17, -0.13, 0.14, 0.13, body=0.86),
        Box(0.17, -0.12, 0.13, 0.12, body=0.80),
        Box(0.02, -0.18, 0.17, 0.15),
        Box(0.06, -0.23, 0.08, 0.06, paint=(0.08, 0.08, 0.04)),
    ]


def _house(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        Box(0, -0.20, 0.25, 0.21, 0.01),
        Box(0, -0.49, 0.16, 0.10, 0.02, taper=0.9, body=0.0, paint=(0.56, 0.24, 0.18)),
        _painted(_DOOR, -0.10, -0.10, 0.05, 0.10, 0.01),
        _shining(_GLASS, 0.11, -0.22, 0.06, 0.06, 0.01),
    ]


def _tower(swing: Tensor, face: Tensor) -> list[Box]:
    windows = [
        _shining(_GLASS, x, y, 0.035, 0.04, 0.005)
        for y in (-0.66, -0.50, -0.34, -0.18)
        for x in (-0.08, 0.08)
    ]
    return [
        Box(0, -0.40, 0.19, 0.41, 0.01),
        Box(0.13, -0.40, 0.06, 0.41, 0.01, body=0.80),
        Box(0, -0.79, 0.21, 0.03, 0.01, body=0.62),
        *windows,
    ]


def _lamp(swing: Tensor, face: Tensor) -> list[Box]:
    iron = (0.20, 0.21, 0.25)
    return [
        _painted(iron, 0, -0.03, 0.06, 0.03),
        _painted(iron, 0, -0.30, 0.035, 0.30),
        _painted(iron, 0, -0.70, 0.10, 0.10),
        _shining((1.0, 0.95, 0.70), 0, -0.69, 0.075, 0.075, 0.075),
    ]


def _cloud(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        Box(0, 0.02, 0.30, 0.06, body=0.95),
        Box(-0.10, -0.03, 0.12, 0.09),
        Box(0.09, -0.05, 0.14, 0.11),
    ]


def _disc(swing: Tensor, face: Tensor) -> list[Box]:
    return [
        Box(0, 0, 0.13, 0.13, body=0.93),
        Box(0, 0, 0.10, 0.10),
    ]


def _star(swing: Tensor, face: Tensor) -> list[Box]:
    return [Box(0, 0, 0.012, 0.012)]


SCENERY = {
    "tree": Figure((-0.32, -0.89, 0.32, 0.03), _tree),
    "fir": Figure((-0.28, -0.85, 0.28, 0.02), _fir),
    "palm": Figure((-0.40, -0.92, 0.40, 0.05), _palm),
    "cactus": Figure((-0.24, -0.64, 0.24, 0.04), _cactus),
    "rock": Figure((-0.32, -0.24, 0.32, 0.04), _rock),
    "bush": Figure((-0.32, -0.35, 0.32, 0.03), _bush),
    "house": Figure((-0.34, -0.61, 0.34, 0.02), _house),
    "tower": Figure((-0.22, -0.83, 0.22, 0.02), _tower),
    "lamp": Figure((-0.11, -0.81, 0.11, 0.01), _lamp),
    "cloud": Figure((-0.31, -0.17, 0.31, 0.09), _cloud),
    "disc": Figure((-0.14, -0.14, 0.14, 0.14), _disc),
    "star": Figure((-0.013, -0.013, 0.013, 0.013), _star),
}
"""The unit is the height of the picture; things that stand have their anchor at the foot."""
NAMES = tuple(SCENERY)

_GREEN = ((0.27, 0.52, 0.26), (0.36, 0.58, 0.24), (0.22, 0.46, 0.33), (0.50, 0.56, 0.22))
_WALL = ((0.88, 0.80, 0.68), (0.80, 0.62, 0.52), (0.66, 0.72, 0.78), (0.84, 0.76, 0.60))
_STONE = ((0.56, 0.54, 0.54), (0.62, 0.52, 0.44), (0.48, 0.50, 0.56), (0.66, 0.62, 0.58))
_COLOURS = {"rock": _STONE, "house": _WALL, "tower": _WALL}


def colours(kinds: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """One of the four natural colours of each thing's kind, by a number in [0, 1)."""
    shades = np.array([_COLOURS.get(name, _GREEN) for name in NAMES])
    rgb: np.ndarray = shades[kinds, (chance * shades.shape[1]).astype(np.int64)]
    return rgb
