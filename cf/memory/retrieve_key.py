"""Past frames found by how alike their keys are to those of the newest frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.memory.base import Query
from cf.memory.retrieval import Retrieval, best, copied_frames, indices
from cf.types import Block, Context


@dataclass(frozen=True)
class RetrieveKey(Retrieval):
    """Reads the older frames whose mean keys have the largest cosine with the newest frame's.

    The newest frame stands for the coming block, whose own keys are not known before it is read;
    so what is read can be prepared once for all passes of the block. Mean keys are before RoPE, so
    that likeness is of content and not of time, and are kept beside the context.

    Attributes:
        per_layer: let every layer choose for itself, or all by their common similarity.
    """

    per_layer: bool = False

    def note(self, block: Block) -> tuple[Tensor, ...]:
        """Each layer's mean key of each frame."""
        frames = (-1, block.tokens_per_frame)
        return tuple(
            layer.k.detach().unflatten(1, frames).mean(2).flatten(2) for layer in block.layers
        )

    def find(
        self, context: Context, query: Query, bank: Sequence[int], count: int
    ) -> list[Int[Tensor, "b count"]]:
        """One choice for each layer, or one for all."""
        terms = torch.stack([_terms(note, bank) for note in context.state])
        times, choices = self.times(context, bank), []
        for dots, own, others in terms if self.per_layer else [terms.sum(0)]:
            cosine = dots / (own * others).sqrt().clamp(min=1e-12)
            places = best(partial(_same, cosine), times, count, self.apart_frames)
            choices.append(indices(bank, places.device)[places])
        return choices


def _same(cosine: Float[Tensor, "b f"], earlier: Sequence[Tensor]) -> Float[Tensor, "b f"]:
    """Likeness does not change by what was taken."""
    return cosine


def _terms(keys: Float[Tensor, "b f width"], bank: Sequence[int]) -> Float[Tensor, "3 b bank"]:
    """Inner products of the newest mean key with those in the bank, and squared norms of both."""
    newest, others = keys[:, -1:].float(), copied_frames(keys, bank).float()
    dots, own = (others * newest).sum(-1), newest.square().sum(-1)
    return torch.stack((dots, own.expand_as(dots), others.square().sum(-1)))
