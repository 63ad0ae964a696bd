"""Rotary position embedding of tokens whose positions are data (https://arxiv.org/abs/2104.09864)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor


class Rotation(NamedTuple):
    """Cosine and sine by which every head's channel pairs turn; float64."""

    cos: Float[Tensor, "b n 1 pairs"]
    sin: Float[Tensor, "b n 1 pairs"]


def wan_axes(head_dim: int) -> tuple[int, int, int]:
    """Channels that Wan2.1 gives to (frame, row, column).

    >>> wan_axes(128)
    (44, 42, 42)
    """
    space = 2 * (head_dim // 6)
    return head_dim - 2 * space, space, space


def rotation(ids: Float[Tensor, "b n 3"], axes: tuple[int, int, int], base: float) -> Rotation:
    """The rotation of tokens at `ids`, in float64: a position may be any real number."""
    angles = []
    for axis, channels in enumerate(axes):
        exponent = torch.arange(0, channels, 2, device=ids.device, dtype=torch.float64) / channels
        angles.append(ids[..., axis, None].double() * base**-exponent)
    angle = torch.cat(angles, -1).unsqueeze(-2)
    return Rotation(angle.cos(), angle.sin())


def rotate(x: Float[Tensor, "b n heads d"], by: Rotation) -> Float[Tensor, "b n heads d"]:
    """Turn adjacent channel pairs of `x`, in float32 or better."""
    wide = torch.promote_types(x.dtype, torch.float32)
    cos, sin = by.cos.to(wide), by.sin.to(wide)
    even, odd = x.to(wide).unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    return turned.flatten(-2).to(x.dtype)


def positions(
    at: Tensor, grid: tuple[int, int], origin: Float[Tensor, "b f 2"] | None
) -> Float[Tensor, "b n 3"]:
    """Where the tokens of the frames `at` stand, ordered by (frame, row, column).

    Args:
        at: numbers of frames.
        grid: rows and columns of tokens in a frame.
        origin: (row, column) of each frame's top-left corner; None: (0, 0).
    """
    rows, columns = (torch.arange(size, device=at.device) for size in grid)
    ids = torch.stack(torch.meshgrid(at, rows, columns, indexing="ij"), -1).float()[None]
    if origin is not None:
        shift = F.pad(origin[:, at].float(), (1, 0))
        ids = ids + shift[:, :, None, None, :]
    return ids.flatten(1, 3)
