"""The pictures in the cells of ROOMS: things in the sky above, houses below, as paint and alpha."""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cf.system.opencv import cv2

COLOURS = {
    "red": (0.87, 0.22, 0.20),
    "yellow": (0.98, 0.83, 0.20),
    "green": (0.20, 0.62, 0.28),
    "blue": (0.18, 0.33, 0.85),
    "white": (0.97, 0.96, 0.93),
    "violet": (0.58, 0.22, 0.66),
}
SKY = ("sun", "moon", "kite")
HOUSES = ("hut", "house", "tower")
_HEIGHTS = (0.36, 0.60, 0.86)
_SUPERSAMPLE = 8
_GRASS = np.array((0.36, 0.56, 0.30))


class Tiles(NamedTuple):
    """Paint and coverage of every identity of a row of cells; identity 0 of the sky is empty."""

    paint: Float[Tensor, "identities 3 h w"]
    alpha: Float[Tensor, "identities 1 h w"]


def identity_names() -> tuple[list[str], list[str]]:
    """What each identity is called, in the sky and on the ground.

    >>> sky, ground = identity_names()
    >>> len(sky), sky[1], len(ground), ground[-1]
    (19, 'red sun', 18, 'violet tower')
    """
    sky, ground = _names()
    return [*sky], [*ground]


@cache
def _names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    sky = ("nothing", *(f"{colour} {kind}" for kind in SKY for colour in COLOURS))
    return sky, tuple(f"{colour} {kind}" for kind in HOUSES for colour in COLOURS)


def attributes() -> dict[str, dict[str, list[int]]]:
    """What each identity of a row is like, numbered; -1 where nothing stands.

    >>> attributes()["ground"]["height"][-1], attributes()["sky"]["colour"][:3]
    (2, [-1, 0, 1])
    """
    colours = len(COLOURS)
    sky, houses = range(len(SKY) * colours), range(len(HOUSES) * colours)
    return {
        "sky": {
            "colour": [-1, *(i % colours for i in sky)],
            "shape": [-1, *(i // colours for i in sky)],
        },
        "ground": {
            "colour": [i % colours for i in houses],
            "height": [i // colours for i in houses],
        },
    }


@lru_cache(maxsize=8)
def tiles(height: int, width: int) -> tuple[Tiles, Tiles]:
    """The tiles of sky and ground for cells of that many pixels."""
    sky = [_empty(height, width)]
    sky += [_in_the_sky(kind, rgb, height, width) for kind in SKY for rgb in COLOURS.values()]
    ground = [_house(rise, rgb, height, width) for rise in _HEIGHTS for rgb in COLOURS.values()]
    return _stacked(sky), _stacked(ground)


@lru_cache(maxsize=8)
def covers(height: int, width: int) -> tuple[Bool[Tensor, "identities h w"], ...]:
    """Where each identity hides what is behind it."""
    return tuple(row.alpha[:, 0] > 0.5 for row in tiles(height, width))


def _empty(height: int, width: int) -> np.ndarray:
    return np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE, 4))


def _in_the_sky(kind: str, rgb: tuple[float, ...], height: int, width: int) -> np.ndarray:
    canvas = _empty(height, width)
    tall, wide = canvas.shape[:2]
    centre, radius = np.array((wide / 2, tall * 0.45)), 0.40 * min(wide, tall)
    ink = (*rgb, 1.0)
    if kind == "sun":
        for turn in range(8):
            angle = turn * math.pi / 4
            way = np.array((math.cos(angle), math.sin(angle)))
            start, stop = centre + 0.8 * radius * way, centre + 1.2 * radius * way
            cv2.line(canvas, _pixel(start), _pixel(stop), ink, max(wide // 16, 1))
        cv2.circle(canvas, _pixel(centre), round(0.72 * radius), ink, -1)
        cv2.circle(canvas, _pixel(centre), round(0.40 * radius), (*_lighter(rgb), 1.0), -1)
    elif kind == "moon":
        cv2.circle(canvas, _pixel(centre), round(1.05 * radius), ink, -1)
        bite = centre + np.array((0.62, -0.34)) * radius
        cv2.circle(canvas, _pixel(bite), round(0.86 * radius), (0.0, 0.0, 0.0, 0.0), -1)
    else:
        offsets = ((0, -1.5), (0.95, -0.3), (0, 1.6), (-0.95, -0.3), (0, -0.3))
        top, right, bottom, left, cross = (centre + radius * np.array(o) for o in offsets)
        _fill(canvas, (top, right, bottom, left), ink)
        for corners in ((top, right, cross), (left, bottom, cross)):
            _fill(canvas, corners, (*_lighter(rgb), 1.0))
    return canvas


def _house(rise: float, rgb: tuple[float, ...], height: int, width: int) -> np.ndarray:
    canvas = _empty(height, width)
    tall, wide = canvas.shape[:2]
    ground, top = 0.88 * tall, (1 - rise) * tall
    left, right, eaves = 0.12 * wide, 0.88 * wide, top + 0.22 * wide
    dark, light = (*(0.55 * np.array(rgb)), 1.0), (1.0, 0.95, 0.62, 1.0)
    canvas[round(ground) :] = (*_GRASS, 1.0)
    _fill(canvas, ((left, eaves), (right, eaves), (right, ground), (left, ground)), (*rgb, 1.0))
    _fill(canvas, ((0.0, eaves), (wide / 2, top), (wide, eaves)), dark)
    floor, size = 0.20 * wide, 0.19 * wide
    y = eaves + 0.5 * floor
    while y + size < ground - 0.3 * floor:
        for x in (0.24 * wide, 0.57 * wide):
            _fill(canvas, ((x, y), (x + size, y), (x + size, y + size), (x, y + size)), light)
        y += size + 1.1 * floor
    return canvas


def _stacked(canvases: list[np.ndarray]) -> Tiles:
    """Average the fine pixels; paint is kept premultiplied until its alpha is known."""
    fine = torch.from_numpy(np.stack(canvases)).permute(0, 3, 1, 2)
    fine[:, :3] *= fine[:, 3:]
    small = torch.nn.functional.avg_pool2d(fine, _SUPERSAMPLE)
    alpha = small[:, 3:]
    return Tiles((small[:, :3] / alpha.clamp(min=1e-6)).float(), alpha.float())


def _lighter(rgb: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(0.55 * c + 0.45 for c in rgb)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _fill(
    canvas: np.ndarray, corners: Sequence[np.ndarray | tuple[float, float]], ink: tuple[float, ...]
) -> None:
    cv2.fillPoly(canvas, [np.array(corners).round().astype(np.int32)], ink)
