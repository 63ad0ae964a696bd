"""The places of WALK as they are drawn: a landscape each, and what stands in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from cf.data.world.scenery import NAMES, colours
from cf.data.world.themes import HOURS, THEMES

RIDGES = 3
_CLOUDS, _STARS = 3, 16
SKY = _STARS + 1 + _CLOUDS
"""Slots of what hangs in the sky."""
STROKE = 0.11
"""Columns, in heights of the picture, between the knots of the ground's texture."""
BANDS = ((0.80, 0.06), (0.87, 0.07), (0.95, 0.08))
"""Rows of the ground's texture, and how far each reaches."""


class Things(NamedTuple):
    """What stands still in each place. Lengths are in heights of the picture.

    Attributes:
        kind: index of its figure; -1 for an empty slot.
        row, column: anchor, as the camera at column 0 sees it.
    """

    kind: Int[np.ndarray, "places things"]
    row: Float[np.ndarray, "places things"]
    column: Float[np.ndarray, "places things"]
    unit: Float[np.ndarray, "places things"]
    face: Float[np.ndarray, "places things"]
    colour: Float[np.ndarray, "places things 3"]
    light: Float[np.ndarray, "places things 3"]
    depth: Float[np.ndarray, "places things"]


@dataclass(frozen=True)
class Land:
    """The places of a video before any camera looks at them.

    Attributes:
        theme, hour: of each place, as they are listed in THEMES and HOURS.
        knots: heights of each ridge in [0, 1], from left to right.
        strokes: shades of each band of the ground in [-1, 1].
        sky, behind, front: what hangs above, and stands behind and before the sprites.
        parallax: 1: what is far shifts less than the ground; 0: everything as the ground does.
    """

    theme: Int[np.ndarray, " places"]
    hour: Int[np.ndarray, " places"]
    knots: Float[np.ndarray, "places ridges knots"]
    strokes: Float[np.ndarray, "places bands strokes"]
    sky: Things
    behind: Things
    front: Things
    parallax: float

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        places: int,
        wide: float,
        view: float,
        themes: Sequence[str],
        hours: Sequence[str],
        parallax: float,
    ) -> "Land":
        """Places of that width seen through pictures of another; themes recur when all are used."""
        rounds = -(-places // len(themes))
        drawn = np.concatenate([rng.permutation(len(themes)) for _ in range(rounds)])[:places]
        theme = np.array([list(THEMES).index(name) for name in themes])[drawn]
        hour = np.array([list(HOURS).index(name) for name in hours])[
            rng.integers(0, len(hours), places)
        ]
        narrowest = min(ridge.period for theme in THEMES.values() for ridge in theme.ridges)
        knots = rng.uniform(size=(places, RIDGES, int(wide / narrowest) + 3))
        strokes = rng.uniform(-1, 1, (places, len(BANDS), int(wide / STROKE) + 3))
        light = np.array([HOURS[name].light for name in HOURS])[hour]
        kinds = list(THEMES.values())
        return cls(
            theme,
            hour,
            knots,
            strokes,
            _sky(rng, hour, wide, view, parallax),
            _standing(rng, [kinds[i].behind for i in theme], light, wide, 0.62, (0.80, 1.0)),
            _standing(rng, [kinds[i].front for i in theme], light, wide, 1.35, (1.005, 1.3)),
            parallax,
        )

    def name(self, place: int) -> str:
        """Theme and hour."""
        theme, hour = list(THEMES)[self.theme[place]], list(HOURS)[self.hour[place]]
        return f"{theme} at {hour}"


def _sky(
    rng: np.random.Generator, hour: np.ndarray, wide: float, view: float, parallax: float
) -> Things:
    """Stars, a disc, clouds; the nearer they are the wider is the strip over which they lie."""
    places, names = len(hour), list(HOURS)
    shape = (places, SKY)
    chance = rng.uniform(size=(4, *shape))
    kinds = ["star"] * _STARS + ["disc"] + ["cloud"] * _CLOUDS
    kind = np.broadcast_to([NAMES.index(name) for name in kinds], shape).copy()
    kind[hour != names.index("night"), :_STARS] = -1
    order = np.array([*range(_STARS), 0, *range(_CLOUDS)])
    share = np.array([*[_STARS] * _STARS, 1, *[_CLOUDS] * _CLOUDS])
    depth = np.array([*[0.0] * _STARS, 0.05, *np.linspace(0.08, 0.2, _CLOUDS)])
    depth = 1 - parallax + parallax * depth
    strip = view + depth * (wide - view)
    column = (order + 0.15 + 0.7 * chance[0]) / share * strip
    is_cloud = np.arange(SKY) > _STARS
    row = np.where(is_cloud, 0.10 + 0.26 * chance[1], 0.13 + 0.14 * chance[1])
    row[:, :_STARS] = 0.02 + 0.42 * chance[1, :, :_STARS]
    hues = [(hour.disc, hour.cloud) for hour in HOURS.values()]
    colour = np.array(hues)[hour][:, is_cloud.astype(np.int64)]
    return Things(
        kind=kind,
        row=row,
        column=column,
        unit=np.where(is_cloud, 0.6 + 0.2 * chance[2], 1.0),
        face=np.where(chance[3] < 0.5, -1.0, 1.0),
        colour=colour,
        light=np.ones((*shape, 3)),
        depth=np.broadcast_to(depth, shape),
    )


def _standing(
    rng: np.random.Generator,
    kinds: list[tuple[str, ...]],
    light: np.ndarray,
    wide: float,
    apart: float,
    footing: tuple[float, float],
) -> Things:
    """Things in a row, roughly as far apart as told; `footing` is their row and their size."""
    count = max(1, round(wide / apart))
    shape = (len(kinds), count)
    chance = rng.uniform(size=(5, *shape))
    choice = np.array(
        [
            [NAMES.index(names[int(c * len(names))]) for c in row]
            for names, row in zip(kinds, chance[0], strict=True)
        ]
    )
    return Things(
        kind=choice,
        row=np.broadcast_to(footing[0], shape),
        column=(np.arange(count) + 0.15 + 0.7 * chance[1]) / count * wide,
        unit=footing[1] * (0.55 + 0.2 * chance[2]),
        face=np.where(chance[3] < 0.5, -1.0, 1.0),
        colour=colours(choice, chance[4]),
        light=np.broadcast_to(light[:, None], (*shape, 3)),
        depth=np.ones(shape),
    )
