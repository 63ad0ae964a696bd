"""A small trained module that makes one remembered token of each 2 x 2, in every layer."""

import torch
from torch import Tensor, nn

from cf.memory.pooling import fours, pooled
from cf.types import LayerKV


class Compressor(nn.Module):
    """Weighs the four tokens by their keys, head by head, and corrects the means by a low rank.

    It begins as plain mean pooling, exactly: the weighing and the correction start at zero. Being a
    part of the network it is optimised, averaged, checkpointed and exported like any other
    parameter; `memory=learned` calls it through `Block.compress`. It learns from rollouts whose
    past is differentiable; an objective that sees the past through a mask leaves it as it is.
    Context Forcing (https://arxiv.org/abs/2602.06028) names learned compression as future work.

    Attributes:
        weigh: per layer, the direction of keys that counts more, for each head.
        down, up: per layer, the two factors of the correction to the mean (keys | values).
    """

    def __init__(self, dim: int, num_heads: int, num_layers: int, rank: int) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"compressor_rank must be at least 1, got {rank}; null builds none")
        self.num_heads = num_heads
        self.weigh = nn.Parameter(torch.zeros(num_layers, num_heads, dim // num_heads))
        self.down = nn.Parameter(torch.randn(num_layers, rank, 2 * dim) / (2 * dim) ** 0.5)
        self.up = nn.Parameter(torch.zeros(num_layers, 2 * dim, rank))

    def forward(self, layer: int, tokens: LayerKV, grid: tuple[int, int]) -> LayerKV:
        """Fewer tokens of whole frames on a grid; positions become the mean positions."""
        k, v = (fours(x, grid) for x in tokens[:2])
        inside = fours(torch.ones_like(tokens.k[:, :, 0, 0]), grid)[..., None] > 0
        scores = (k * self.weigh[layer].to(k)).sum(-1) / k.shape[-1] ** 0.5
        shares = scores.masked_fill(~inside, -torch.inf).softmax(2)[..., None]
        mean = torch.cat([(x * shares).sum(2).flatten(2) for x in (k, v)], -1)
        correction = mean @ self.down[layer].to(mean).mT @ self.up[layer].to(mean).mT
        new_k, new_v = (mean + correction).chunk(2, -1)
        ids = pooled(tokens._replace(k=tokens.ids, v=tokens.ids), grid).ids
        return LayerKV(self._heads(new_k), self._heads(new_v), ids)

    def _heads(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return split
