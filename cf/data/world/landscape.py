"""The places of WALK: a landscape each, its sky and ridges in parallax, and what stands in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.data.world.brush import Canvas
from cf.data.world.scenery import NAMES, colours
from cf.data.world.themes import BLOCKS, HILLS, HOURS, PEAKS, THEMES, Theme

RIDGES = 3
_CLOUDS, _STARS = 3, 16
SKY = _STARS + 1 + _CLOUDS
"""Slots of what hangs in the sky."""
_STROKE = 0.11
"""Columns, in heights of the picture, between the knots of the ground's texture."""
_BANDS = ((0.80, 0.06), (0.87, 0.07), (0.95, 0.08))
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
        strokes = rng.uniform(-1, 1, (places, len(_BANDS), int(wide / _STROKE) + 3))
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


class _Palette(NamedTuple):
    """Every theme's ridges as numbers; the last axes are ridges and red, green, blue."""

    shape: Tensor
    level: Tensor
    rise: Tensor
    period: Tensor
    depth: Tensor
    haze: Tensor
    rgb: Tensor
    cap: Tensor
    rim: Tensor
    snow: Tensor


@cache
def _palette() -> _Palette:
    themes: list[Theme] = list(THEMES.values())
    fields = zip(*(zip(*theme.ridges, strict=True) for theme in themes), strict=True)
    return _Palette(*(torch.tensor(field) for field in fields))


@cache
def _hours() -> tuple[Tensor, ...]:
    return tuple(torch.tensor(field) for field in zip(*HOURS.values(), strict=True))


class Outlook(NamedTuple):
    """The land before the camera in each frame; its column is in pixels."""

    theme: Int[Tensor, " f"]
    hour: Int[Tensor, " f"]
    knots: Float[Tensor, "f ridges knots"]
    strokes: Float[Tensor, "f bands strokes"]
    camera: Float[Tensor, " f"]
    parallax: Float[Tensor, " f"]


def paint_sky(canvas: Canvas, outlook: Outlook) -> None:
    """From the colour above to that of the horizon."""
    top, horizon = (_hours()[i][outlook.hour].T[:, :, None, None] for i in (0, 1))
    height = canvas.label.shape[1]
    down = ((torch.arange(height) + 0.5) / height / 0.7).clamp(max=1)[:, None]
    canvas.colour.copy_(top + (horizon - top) * down)


def paint_ridges(canvas: Canvas, outlook: Outlook) -> None:
    """From the farthest to the ground."""
    _, height, width = canvas.label.shape
    across = torch.arange(width) + 0.5
    for i in range(RIDGES):
        look = _Palette(*(field[outlook.theme, i] for field in _palette()))
        look = look._replace(depth=1 - outlook.parallax + outlook.parallax * look.depth)
        at = (outlook.camera * look.depth)[:, None] + across
        line = _line(look, outlook.knots[:, i], at, height)
        _paint_ridge(canvas, look, line, outlook.hour, mist=0.35 if i < RIDGES - 1 else 0.0)
    _paint_strokes(canvas, line, outlook)


def _paint_ridge(
    canvas: Canvas, look: _Palette, line: "_Line", hour: Int[Tensor, " f"], mist: float
) -> None:
    """Its upper edge, then what is below; so much mist lies over the foot of it."""
    height = canvas.label.shape[1]
    row = torch.arange(line.top(), height)[:, None] + 0.5
    _, horizon, light, *_ = _hours()
    far, haze = horizon[hour], look.haze[:, None]
    rgb, cap = (
        (colour * light[hour] * (1 - haze) + far * haze).T[:, :, None, None]
        for colour in (look.rgb, look.cap)
    )
    foot = ((row / height - look.level[:, None, None] + 0.15) * 2.5).clamp(0, 1)
    rgb = rgb + (far.T[:, :, None, None] - rgb) * (mist * (1 - haze)[..., None] * foot)
    canvas.cover(line.below(row), cap.expand_as(rgb), look.depth)
    rise = (look.level[:, None] * height - line.first).clamp(min=0)
    thick = (look.rim * height)[:, None] + look.snow[:, None] * rise
    canvas.cover(line.below(row, thick), rgb)


class _Line(NamedTuple):
    """Rows of a ridge's edge: of two parts of each column, the weight of the second, the slope."""

    first: Float[Tensor, "f w"]
    second: Float[Tensor, "f w"]
    weight: Float[Tensor, "f w"]
    slope: Float[Tensor, "f w"]

    def top(self) -> int:
        """Row of pixels above which it covers nothing."""
        reach = (1 + self.slope * self.slope).sqrt() / 2 + 1
        return max(0, int((torch.minimum(self.first, self.second) - reach).min()))

    def below(
        self, row: Float[Tensor, "rows 1"], thick: Float[Tensor, "f w"] | None = None
    ) -> Float[Tensor, "f rows w"]:
        """Share of each pixel that lies below the line, more than so far if told."""
        stretch = (1 + self.slope * self.slope).sqrt()[:, None]
        one, two = ((x if thick is None else x + thick)[:, None] for x in self[:2])
        one = ((row - one) / stretch + 0.5).clamp(0, 1)
        if not self.weight.any():
            return one
        two = ((row - two) / stretch + 0.5).clamp(0, 1)
        return one + (two - one) * self.weight[:, None]


def _line(
    look: _Palette, knots: Float[Tensor, "f knots"], at: Float[Tensor, "f w"], height: int
) -> _Line:
    shape = look.shape[:, None]
    period = (look.period * height)[:, None]
    peaks = torch.arange(knots.shape[1]) % 2
    knots = torch.where(shape == PEAKS, 0.35 * knots + 0.65 * peaks, knots)
    place = at / period
    index = place.floor()
    part = place - index
    left, right = (knots.gather(1, index.long() + i) for i in (0, 1))
    smooth = torch.where(shape == HILLS, part * part * (3 - 2 * part), part)
    steep = torch.where(shape == HILLS, 6 * part * (1 - part), 1.0)
    # Steps: the part of a column that lies beyond an edge belongs to the next block.
    last = ((at + 0.5) / period).floor()
    first = ((at - 0.5) / period).floor().clamp(min=0)
    beyond = (at + 0.5 - last * period).clamp(0, 1)
    blocks = shape == BLOCKS
    one = torch.where(blocks, knots.gather(1, first.long()), left + (right - left) * smooth)
    two = torch.where(blocks, knots.gather(1, last.long()), one)
    base, rise = (look.level + look.rise / 2)[:, None] * height, look.rise[:, None] * height
    slope = torch.where(blocks, torch.zeros(1), rise * (right - left) * steep / period)
    return _Line(base - rise * one, base - rise * two, torch.where(blocks, beyond, 0.0), slope)


def _paint_strokes(canvas: Canvas, line: _Line, outlook: Outlook) -> None:
    """Light and shade on the ground, so that its motion can be seen."""
    _, height, width = canvas.label.shape
    top = line.top()
    row = torch.arange(top, height)[:, None] + 0.5
    place = (outlook.camera[:, None] + torch.arange(width) + 0.5) / (_STROKE * height)
    index = place.floor()
    part = place - index
    part = part * part * (3 - 2 * part)
    shade = torch.zeros(1)
    for band, (middle, reach) in enumerate(_BANDS):
        left, right = (outlook.strokes[:, band].gather(1, index.long() + i) for i in (0, 1))
        near = (1 - (row / height - middle).abs() / reach).clamp(min=0)
        shade = shade + near * (left + (right - left) * part)[:, None]
    canvas.colour[:, :, top:].mul_(1 + 0.10 * shade * line.below(row)).clamp_(0, 1)
