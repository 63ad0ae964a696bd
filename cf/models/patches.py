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
    patches = x_t.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
    patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
    weight = embedding.weight.flatten(1)
    return F.linear(patches.to(weight.dtype), weight, embedding.bias), (
        height // rows,
        width // columns,
    )


def unpatch(
    patches: Float[Tensor, "b f n patch"], grid: Grid, patch_size: tuple[int, int]
) -> Latents:
    """Latents whose patches these are."""
    x: Tensor = patches.unflatten(2, grid).unflatten(-1, (*patch_size, -1))
    return x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
