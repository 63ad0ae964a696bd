"""Between latents and the patches that a token stands for."""

import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn

from cf.types import Latents

Grid = tuple[int, int]
"""Rows and columns of tokens in a frame."""


def embed_patches(
    x_t: Latents, embedding: nn.Conv3d, patch_size: tuple[int, int]
) -> tuple[Float[Tensor, "b f n dim"], Grid]:
    """One token per patch, and their grid; the convolution as one product.

    Raises:
        ValueError: the latents have other channels, or sides that do not divide into patches.
    """
    rows, columns = patch_size
    height, width = x_t.shape[-2:]
    channels = embedding.in_channels
    if x_t.shape[2] != channels or height % rows or width % columns:
        raise ValueError(
            f"latents of shape {tuple(x_t.shape[2:])} do not fit this model: it takes "
            f"{channels} channels, heights in multiples of {rows} and widths in "
            f"multiples of {columns}"
        )
    grid, weight = (height // rows, width // columns), embedding.weight.flatten(1)
    x = x_t.reshape(*x_t.shape[:3], grid[0], rows, grid[1], columns).permute(0, 1, 3, 5, 2, 4, 6)
    patches = x.reshape(*x_t.shape[:2], grid[0] * grid[1], weight.shape[1])
    return F.linear(patches.to(weight.dtype), weight, embedding.bias), grid


def unpatch(
    patches: Float[Tensor, "b f*n patch"], frames: int, grid: Grid, patch_size: tuple[int, int]
) -> Latents:
    """Latents whose patches these are."""
    (height, width), (rows, columns) = grid, patch_size
    shape = len(patches), frames, patches.shape[-1] // (rows * columns)
    x = patches.reshape(*shape[:2], height, width, rows, columns, shape[2])
    return x.permute(0, 1, 6, 2, 4, 3, 5).reshape(*shape, height * rows, width * columns)
