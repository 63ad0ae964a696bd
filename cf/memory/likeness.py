"""How alike a candidate's keys are to others, added up over layers before it becomes a cosine."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Bool, Float
from torch import Tensor


class Likeness(NamedTuple):
    """Inner products of a candidate with what it is compared with, and squared norms."""

    dots: Float[Tensor, "b others"]
    own: Float[Tensor, "b 1"]
    others: Float[Tensor, "b others"]
    counted: Bool[Tensor, "b others"] | None


def likeness(
    own: Float[Tensor, "b width"],
    others: Float[Tensor, "b others width"],
    counted: Bool[Tensor, "b others"] | None,
) -> Likeness:
    """Compare descriptors; `counted` leaves some of the others out, per sample."""
    own, others = own.float(), others.float()
    dots = (others @ own[..., None]).squeeze(-1)
    return Likeness(dots, own.square().sum(-1, keepdim=True), others.square().sum(-1), counted)


def summed(layers: Sequence[Likeness]) -> Likeness:
    """As if the layers' descriptors were one long one."""
    triples = zip(*(one[:3] for one in layers), strict=True)
    dots, own, others = (torch.stack(parts).sum(0) for parts in triples)
    return Likeness(dots, own, others, layers[0].counted)


def cosine(one: Likeness) -> Float[Tensor, " b"]:
    """Similarity with the most similar of the others; -1 where there is none."""
    cosine = one.dots / (one.own * one.others).sqrt().clamp(min=1e-12)
    if one.counted is not None:
        cosine = cosine.masked_fill(~one.counted, -1)
    return F.pad(cosine, (1, 0), value=-1).amax(1)
