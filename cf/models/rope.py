"""Rotary position embedding of tokens whose positions are data (https://arxiv.org/abs/2104.09864)."""

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Complex, Float
from torch import Tensor

WIDE = (torch.float32, torch.float64)  # most are; to ask PyTorch costs as much as a small product
ROPE_BASE = 10_000.0
"""Of every published model of Wan's."""
Rotation = Complex[Tensor, "b n 1 pairs"]
"""By which every head's channel pairs are multiplied: cosine + i sine."""
RealRotation = Float[Tensor, "b n 1 pairs 2"]
"""The same as two real numbers, for compilers, which make one kernel of real arithmetic only."""


def wan_axes(head_dim: int) -> tuple[int, int, int]:
    """Channels that Wan2.1 gives to (frame, row, column).

    >>> wan_axes(128)
    (44, 42, 42)
    """
    space = 2 * (head_dim // 6)
    return head_dim - 2 * space, space, space


def rotation(
    ids: Float[Tensor, "b n 3"],
    axes: tuple[int, int, int],
    base: float,
    dtype: torch.dtype = torch.float64,
) -> Rotation:
    """The rotation of tokens at `ids`, found in float64: a position may be any real number.

    `dtype` is that of what will be rotated; it is cast here, once, to the width of `rotate`.
    """
    on_host = ids.device.type == "cpu"
    compute = _on_host if on_host else frequencies
    axis, frequency = compute((axes[0], axes[1], axes[2]), base, ids.device)
    angle = (ids.double().index_select(-1, axis) * frequency).unsqueeze(-2)
    return torch.complex(angle.cos(), angle.sin()).to(_wide(dtype).to_complex())


def frequencies(
    axes: tuple[int, int, int], base: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Of each channel pair: along which axis it turns, and how fast.

    Args:
        axes: channels of a head for (frame, row, column).
        base: of the slowest.
        device: of both.
    """
    pairs = []
    for axis, channels in enumerate(axes):
        exponent = torch.arange(0, channels, 2, device=device, dtype=torch.float64) / channels
        pairs.append((torch.full((len(exponent),), axis, device=device), base**-exponent))
    which, frequency = zip(*pairs, strict=True)
    return torch.cat(which), torch.cat(frequency)


@lru_cache(maxsize=64)
def _on_host(
    axes: tuple[int, int, int], base: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The same, found once; not on a GPU, where a graph that is captured may own what is made."""
    with torch.inference_mode(False):
        return frequencies(axes, base, device)


def rotate(
    x: Float[Tensor, "b n heads d"], by: Rotation | RealRotation
) -> Float[Tensor, "b n heads d"]:
    """Turn adjacent channel pairs of `x`, in float32 or better."""
    wide = _wide(x.dtype)
    if x.dtype != wide:
        return rotate(x.to(wide), by).to(x.dtype)
    if by.is_complex():
        turned = torch.view_as_complex(_pairs(x)) * by.to(wide.to_complex())
        return torch.view_as_real(turned).view(x.shape)
    real, imaginary = _pairs(x).unbind(-1)
    cosine, sine = by.to(wide).unbind(-1)
    parts = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    return torch.stack(parts, -1).reshape(x.shape)


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


def rotate_into(storage: Tensor, x: Float[Tensor, "b n heads d"], by: Rotation) -> None:
    """As `rotate`, written where it is to stay; without gradient."""
    if storage.dtype != _wide(x.dtype):
        storage.copy_(rotate(x, by))
        return
    pairs, out = (torch.view_as_complex(_pairs(tensor)) for tensor in (x, storage))
    torch.mul(pairs, by.to(out.dtype), out=out)


def _pairs(x: Tensor) -> Tensor:
    return x.view(*x.shape[:-1], x.shape[-1] // 2, 2)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in WIDE else torch.promote_types(dtype, torch.float32)
