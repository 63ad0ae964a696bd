"""Laws of the figures of WALK: painted to less than a pixel, and moved without a jerk."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cf.data.world.brush import Canvas, Cast, Figure
from cf.data.world.motion import sway
from cf.data.world.scenery import SCENERY
from cf.data.world.sprites import KINDS, RADIUS


def stamped(figure: Figure, at: Tensor, unit: float, swing: Tensor) -> tuple[Canvas, Tensor]:
    """A white figure on black at that row and column of each frame."""
    frames = len(at)
    ones, white = torch.ones(frames, 1), torch.ones(frames, 1, 3)
    one = torch.ones(frames, 1, dtype=torch.long)
    size = torch.full((frames, 1, 2), unit)
    where = at[:, None]
    cast = Cast(0 * one, one, where, where, size, swing[:, None], ones, white, white, ones)
    canvas = Canvas(frames, 48, 48)
    canvas.colour.zero_()
    return canvas, canvas.stamp([figure], cast)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_move_by_less_than_a_pixel_when_told_so(kind: str) -> None:
    shifts = torch.linspace(0, 2, 21)
    canvas, area = stamped(KINDS[kind][1], 24 + shifts, 32 * RADIUS, torch.full((21,), 0.3))
    light = canvas.colour[0].double()
    total = light.sum((1, 2))
    where = torch.arange(48).double() + 0.5
    path = torch.stack((light.sum(2) @ where, light.sum(1) @ where), -1) / total[:, None]
    assert (path - path[0] - shifts[:, None]).abs().max() < 0.1
    assert total.std() / total.mean() < 0.02
    assert torch.equal(area[:, 0], (canvas.label == 1).sum((1, 2)))


@pytest.mark.parametrize("unit", [4.3, 17.0])
@pytest.mark.parametrize("name", [*KINDS, *SCENERY])
def test_boxes_hold_all_of_a_figure(name: str, unit: float) -> None:
    figure = SCENERY[name] if name in SCENERY else KINDS[name][1]
    unit = 2.5 * unit if name in SCENERY else unit
    at, swing = 30 + torch.linspace(0, 1, 9), torch.linspace(-1, 1, 9)
    left, top, right, bottom = figure.box
    wide = figure._replace(box=(left - 0.5, top - 0.5, right + 0.5, bottom + 0.5))
    told, all_of_it = (stamped(f, at, unit, swing)[0].colour for f in (figure, wide))
    assert told.max() > 0.5
    torch.testing.assert_close(told, all_of_it, atol=0.02, rtol=0)


def test_swaying_is_smooth_and_says_how_fast() -> None:
    way = np.linspace(-7, 40, 4701)
    at, speed = sway(way, 10.0, 3.0)
    assert np.isclose(at.min(), 1.5)
    assert np.isclose(at.max(), 8.5)
    np.testing.assert_allclose(np.gradient(at, way)[1:-1], speed[1:-1], atol=4e-3)
