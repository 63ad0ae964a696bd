"""The landscapes and the hours of the day in which a place of WALK may lie."""

from typing import NamedTuple

from cf.data.world.brush import Rgb

HILLS, PEAKS, BLOCKS = range(3)
"""Shapes of a ridge: rolling, pointed, and rising and falling in steps."""


class Ridge(NamedTuple):
    """A line of hills, mountains or roofs. Lengths are in heights of the picture.

    Attributes:
        level: row about which it rises and falls.
        rise: between its highest and lowest row.
        period: columns from one knot to the next.
        depth: columns by which it shifts for every column that the camera moves.
        haze: how much of the horizon's colour lies over it.
        rgb, cap: colours of what is below, and of its upper edge.
        rim: how thick that edge is.
        snow: how much thicker for every height above `level`.
    """

    shape: int
    level: float
    rise: float
    period: float
    depth: float
    haze: float
    rgb: Rgb
    cap: Rgb
    rim: float = 0.02
    snow: float = 0.0


class Theme(NamedTuple):
    """A kind of landscape: ridges from far to near, the last being the ground underfoot.

    Attributes:
        behind, front: what stands behind the sprites, and before them.
    """

    ridges: tuple[Ridge, Ridge, Ridge]
    behind: tuple[str, ...]
    front: tuple[str, ...]


class Hour(NamedTuple):
    """Colours of the sky, of its sun or moon, and the light by which all else is seen."""

    top: Rgb
    horizon: Rgb
    light: Rgb
    disc: Rgb
    cloud: Rgb


def _ground(rgb: Rgb, cap: Rgb) -> Ridge:
    return Ridge(HILLS, 0.79, 0.035, 0.45, 1.0, 0.0, rgb, cap, 0.03)


THEMES = {
    "meadow": Theme(
        (
            Ridge(HILLS, 0.56, 0.24, 0.80, 0.25, 0.50, (0.30, 0.50, 0.52), (0.40, 0.58, 0.56)),
            Ridge(HILLS, 0.69, 0.18, 0.60, 0.50, 0.15, (0.36, 0.60, 0.36), (0.50, 0.72, 0.40)),
            _ground((0.44, 0.66, 0.32), (0.62, 0.80, 0.40)),
        ),
        ("tree", "house", "bush", "tree"),
        ("bush", "tree"),
    ),
    "desert": Theme(
        (
            Ridge(BLOCKS, 0.58, 0.26, 0.42, 0.25, 0.35, (0.76, 0.45, 0.33), (0.86, 0.56, 0.40)),
            Ridge(HILLS, 0.70, 0.18, 0.90, 0.50, 0.10, (0.86, 0.63, 0.40), (0.95, 0.76, 0.52)),
            _ground((0.90, 0.74, 0.48), (0.97, 0.85, 0.60)),
        ),
        ("cactus", "rock", "cactus"),
        ("rock", "cactus"),
    ),
    "city": Theme(
        (
            Ridge(BLOCKS, 0.50, 0.40, 0.17, 0.25, 0.55, (0.40, 0.45, 0.60), (0.50, 0.55, 0.68)),
            Ridge(BLOCKS, 0.64, 0.28, 0.24, 0.50, 0.20, (0.36, 0.38, 0.50), (0.48, 0.50, 0.60)),
            _ground((0.50, 0.50, 0.53), (0.70, 0.69, 0.68)),
        ),
        ("tower", "lamp", "house", "tower"),
        ("lamp", "bush"),
    ),
    "valley": Theme(
        (
            Ridge(
                *(PEAKS, 0.50, 0.50, 0.36, 0.25, 0.25, (0.42, 0.47, 0.62), (0.96, 0.97, 1.0)),
                rim=0.0,
                snow=0.9,
            ),
            Ridge(PEAKS, 0.70, 0.16, 0.16, 0.50, 0.15, (0.20, 0.36, 0.36), (0.28, 0.44, 0.42)),
            _ground((0.78, 0.84, 0.92), (0.95, 0.97, 1.0)),
        ),
        ("fir", "rock", "fir", "house"),
        ("fir", "rock"),
    ),
    "shore": Theme(
        (
            Ridge(BLOCKS, 0.60, 0.0, 1.0, 0.25, 0.10, (0.16, 0.50, 0.68), (0.55, 0.80, 0.88)),
            Ridge(HILLS, 0.76, 0.12, 0.75, 0.50, 0.0, (0.30, 0.66, 0.74), (0.95, 0.98, 0.98)),
            _ground((0.94, 0.84, 0.62), (0.99, 0.93, 0.76)),
        ),
        ("palm", "house", "rock", "palm"),
        ("palm", "rock"),
    ),
}
HOURS = {
    "noon": Hour(
        (0.30, 0.58, 0.92), (0.80, 0.91, 0.98), (1.0, 1.0, 1.0), (1.0, 0.94, 0.62), (1.0, 1.0, 1.0)
    ),
    "dawn": Hour(
        (0.48, 0.50, 0.82),
        (0.99, 0.80, 0.70),
        (0.98, 0.88, 0.86),
        (1.0, 0.90, 0.70),
        (1.0, 0.90, 0.88),
    ),
    "dusk": Hour(
        (0.26, 0.20, 0.46),
        (0.98, 0.54, 0.36),
        (0.80, 0.62, 0.66),
        (1.0, 0.62, 0.36),
        (0.90, 0.56, 0.56),
    ),
    "night": Hour(
        (0.04, 0.06, 0.19),
        (0.20, 0.27, 0.50),
        (0.40, 0.47, 0.72),
        (0.94, 0.94, 0.86),
        (0.30, 0.35, 0.55),
    ),
}
