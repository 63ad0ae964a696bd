"""How much of one view lies in another: cameras over a plane of tokens, and in space."""

from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cf.seeding import seeded

Seen = Bool[Tensor, "b f points"]


def plane(
    ahead: Float[Tensor, "b n 2"], past: Float[Tensor, "b f 2"], grid: tuple[int, int]
) -> tuple[Seen, Bool[Tensor, "b points"]]:
    """For the tokens of coming frames: whether they lie in a past frame's view; all of them count.

    Args:
        ahead: (row, column) of each coming frame's top-left token in the world.
        past: the same of each past frame.
        grid: rows and columns of a view.
    """
    rows, columns = (torch.arange(size, device=ahead.device) for size in grid)
    tokens = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    points = (ahead[:, :, None] + tokens.to(ahead)).flatten(1, 2)
    away = points[:, None] - past[:, :, None]
    row, column = away.unbind(-1)
    inside = (row >= -0.5) & (row < grid[0] - 0.5) & (column >= -0.5) & (column < grid[1] - 0.5)
    return inside, torch.ones_like(points[..., 0], dtype=torch.bool)


def space(
    ahead: Float[Tensor, "b 5"],
    past: Float[Tensor, "b f 5"],
    *,
    radius: float,
    half_angles: tuple[float, float],
    points: int,
) -> tuple[Seen, Bool[Tensor, "b points"]]:
    """For points around the coming camera: whether a past one sees them, and whether it does.

    A pose is (x, y, z, pitch, yaw), the angles in degrees; yaw turns from +z to +x, pitch from the
    plane to +y.

    Args:
        ahead: pose of the coming camera.
        past: poses of the past ones.
        radius: of the ball in which points are drawn, always the same ones.
        half_angles: degrees from the axis to the left and right edge, and to the upper and lower.
        points: how many are drawn.
    """
    at = radius * _ball(points, ahead.device).to(ahead.dtype) + ahead[:, None, :3]
    return (
        _in_view(at[:, None], past[:, :, None], half_angles),
        _in_view(at[:, None], ahead[:, None, None], half_angles)[:, 0],
    )


@cache
def _ball(points: int, device: torch.device) -> Float[Tensor, "points 3"]:
    """Points spread evenly in the unit ball; copied to a device once."""
    generator = seeded(points)
    drawn = torch.randn(points, 3, generator=generator)
    reach = torch.rand(points, 1, generator=generator) ** (1 / 3)
    ball: Tensor = drawn / drawn.norm(dim=1, keepdim=True) * reach
    return ball.to(device)


def _in_view(
    points: Float[Tensor, "*#b p 3"],
    pose: Float[Tensor, "*#b 1 5"],
    half_angles: tuple[float, float],
) -> Bool[Tensor, "*b p"]:
    """Whether points lie in the views of cameras."""
    x, y, z = (points - pose[..., :3]).unbind(-1)
    yaw = torch.rad2deg(torch.atan2(x, z)) - pose[..., 4]
    pitch = torch.rad2deg(torch.atan2(y, (x.square() + z.square()).sqrt())) - pose[..., 3]
    turned = (yaw + 180).remainder(360) - 180
    return (turned.abs() <= half_angles[0]) & (pitch.abs() <= half_angles[1])


def gaussian(distance: Float[Tensor, "*b k"], width: float) -> Float[Tensor, "*b"]:
    """1 where two signals are equal, falling with the distance between them.

    >>> round(float(gaussian(torch.tensor([3.0, 4.0]), 5.0)), 4)
    0.6065
    """
    return (-distance.square().sum(-1) / (2 * width**2)).exp()
