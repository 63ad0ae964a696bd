"""Frames at half their rows and columns: tokens by fours, how many each stands for, their mean."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor

from cf.types import LayerKV


def half(grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns after pooling 2 x 2; a row or column that is left over stays.

    >>> half((5, 8))
    (3, 4)
    """
    return -(-grid[0] // 2), -(-grid[1] // 2)


def fours(x: Float[Tensor, "b n *rest"], grid: tuple[int, int]) -> Float[Tensor, "b m four *rest"]:
    """Tokens of whole frames, those of each 2 x 2 side by side; zero where the grid has ended."""
    rows, columns = half(grid)
    frames = x.reshape(*x.shape[:2], -1).unflatten(1, (-1, *grid))
    frames = F.pad(frames, (0, 0, 0, 2 * columns - grid[1], 0, 2 * rows - grid[0]))
    split = frames.unflatten(3, (columns, 2)).unflatten(2, (rows, 2)).transpose(3, 4)
    by_four: Tensor = split.flatten(1, 3).flatten(2, 3)
    return by_four.reshape(x.shape[0], -1, 4, *x.shape[2:])


def counts(
    grid: tuple[int, int], levels: int, device: torch.device
) -> Sequence[Float[Tensor, " tokens"]]:
    """Original tokens behind each token of a frame, unpooled and after 1 ... `levels` poolings."""
    per_level = [torch.ones(grid[0] * grid[1], device=device)]
    for _ in range(levels):
        per_level.append(fours(per_level[-1][None], grid)[0].sum(-1))
        grid = half(grid)
    return per_level


def pooled(
    layer: LayerKV, grid: tuple[int, int], weight: Float[Tensor, " tokens"] | None = None
) -> LayerKV:
    """Mean keys, values and positions of each 2 x 2.

    Args:
        layer: whole frames.
        grid: rows and columns of their tokens.
        weight: of each token of a frame in the mean, as in `counts`; None: all alike.
    """
    tokens = grid[0] * grid[1]
    weight = torch.ones(tokens, device=layer.k.device) if weight is None else weight
    shares = fours(weight[None], grid)[0]
    shares = shares / shares.sum(-1, keepdim=True)
    frames = layer.k.shape[1] // tokens

    def mean(x: Tensor) -> Tensor:
        by_four = fours(x, grid)
        share = shares.to(x).repeat(frames, 1).view(1, -1, 4, *(1,) * (x.ndim - 2))
        total: Tensor = (by_four * share).sum(2)
        return total

    return LayerKV(mean(layer.k), mean(layer.v), mean(layer.ids))
