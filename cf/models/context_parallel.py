"""The tokens of one sample spread over processes: Ulysses (https://arxiv.org/abs/2309.14509).

Each process has a part of every frame's tokens. Attention is given all tokens of a part of the
heads instead, by an exchange before and one after it. All processes have the same sample and
compute the same loss, so that the mean of their gradients is the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cf.models.rope import Rotation


@dataclass(frozen=True)
class Split:
    """How the tokens of a sample are spread.

    Attributes:
        group: the processes that share it.
    """

    group: dist.ProcessGroup

    @property
    def count(self) -> int:
        """Processes that share a sample."""
        return self.group.size()

    def mine(self, x: Tensor, dim: int) -> Tensor:
        """This process's part of a dimension.

        Raises:
            ValueError: if it does not divide evenly.
        """
        if x.shape[dim] % self.count:
            raise ValueError(
                f"trainer.strategy.context_parallel={self.count} must divide the {x.shape[dim]} "
                "tokens of a latent frame; give another number or data.size"
            )
        return x.chunk(self.count, dim)[self.group.rank()]

    def rows(self, x: Tensor, frames: int) -> Tensor:
        """This process's part of what is told of each token: (b, frames n, ...)."""
        return self.mine(x.unflatten(1, (frames, -1)), 2).flatten(1, 2)

    def to_heads(self, x: Tensor, frames: int) -> Tensor:
        """From a part of the tokens to all of them, of a part of the heads: (b, n, heads, d).

        Raises:
            ValueError: if they cannot be as many everywhere.
        """
        if x.shape[2] % self.count:
            raise ValueError(
                f"trainer.strategy.context_parallel={self.count} must divide the network's "
                f"{x.shape[2]} heads"
            )
        parts = x.unflatten(2, (self.count, -1)).movedim(2, 0)
        return self._in_order(_Exchange.apply(parts.contiguous(), self.group), frames)

    def to_tokens(self, x: Tensor, frames: int) -> Tensor:
        """Back to a part of the tokens, of all heads: (b, n, width)."""
        parts = x.unflatten(1, (frames, self.count, -1)).movedim(2, 0)
        back: Tensor = _Exchange.apply(parts.contiguous(), self.group)
        return back.movedim(0, 3).flatten(3).flatten(1, 2)

    def gather(self, x: Tensor, frames: int) -> Tensor:
        """All tokens of a part of them: (b, n, ...)."""
        return self._in_order(_Gather.apply(x.contiguous(), self.group), frames)

    def _in_order(self, parts: Tensor, frames: int) -> Tensor:
        """Tokens by frame, of the parts of all processes: (count, b, n, ...) -> (b, all, ...)."""
        ordered: Tensor = parts.unflatten(2, (frames, -1)).movedim(0, 2).flatten(1, 3)
        return ordered


def own_tokens(
    split: Split | None, x: Tensor, place: tuple[Rotation, Rotation]
) -> tuple[Tensor, tuple[Rotation, Rotation]]:
    """This process's tokens (b, f, n, dim), and the rotations of their queries and keys."""
    if split is None:
        return x, place
    queries, keys = (split.rows(rotation, x.shape[1]) for rotation in place)
    return split.mine(x, 2), (queries, keys)


def all_tokens(split: Split | None, parts: tuple[Tensor, ...], frames: int) -> tuple[Tensor, ...]:
    """All tokens of each, where they are spread."""
    return parts if split is None else tuple(split.gather(x, frames) for x in parts)


class _Exchange(torch.autograd.Function):
    """Part i of this process goes to process i, whose part comes to stand in its place."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _exchanged(parts, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _exchanged(grads[0].contiguous(), ctx.group), None


class _Gather(torch.autograd.Function):
    """All parts, in every process."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        gathered = part.new_empty((group.size(), *part.shape))
        dist.all_gather(list(gathered), part, group)
        return gathered

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _exchanged(grads[0].contiguous(), ctx.group).sum(0), None


def _exchanged(parts: Tensor, group: dist.ProcessGroup) -> Tensor:
    received = torch.empty_like(parts)
    dist.all_to_all_single(received, parts, group=group)
    return received
