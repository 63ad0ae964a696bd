"""The places of WALK as they are painted: sky, ridges in parallax and ground before the camera."""

from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.data.world.brush import Canvas
from cf.data.world.landscape import BANDS, RIDGES, STROKE
from cf.data.world.themes import BLOCKS, HILLS, HOURS, PEAKS, THEMES, Theme


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
        first, second = ((x if thick is None else x + thick)[:, None] for x in self[:2])
        first = ((row - first) / stretch + 0.5).clamp(0, 1)
        if not self.weight.any():
            return first
        second = ((row - second) / stretch + 0.5).clamp(0, 1)
        return first + (second - first) * self.weight[:, None]


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
    place = (outlook.camera[:, None] + torch.arange(width) + 0.5) / (STROKE * height)
    index = place.floor()
    part = place - index
    part = part * part * (3 - 2 * part)
    shade = torch.zeros(1)
    for band, (middle, reach) in enumerate(BANDS):
        left, right = (outlook.strokes[:, band].gather(1, index.long() + i) for i in (0, 1))
        near = (1 - (row / height - middle).abs() / reach).clamp(min=0)
        shade = shade + near * (left + (right - left) * part)[:, None]
    canvas.colour[:, :, top:].mul_(1 + 0.10 * shade * line.below(row)).clamp_(0, 1)
