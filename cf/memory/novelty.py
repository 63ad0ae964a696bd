"""How alike a candidate's keys are to others, and whether that makes it novel."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    triples = zip(*(layer[:3] for layer in layers), strict=True)
    dots, own, others = (torch.stack(parts).sum(0) for parts in triples)
    return Likeness(dots, own, others, layers[0].counted)


def highest_cosine(one: Likeness) -> Float[Tensor, " b"]:
    """Similarity with the most similar of the others; -1 where there is none."""
    cosine = one.dots / (one.own * one.others).sqrt().clamp(min=1e-12)
    if one.counted is not None:
        cosine = cosine.masked_fill(~one.counted, -1)
    return F.pad(cosine, (1, 0), value=-1).amax(1)


_NONE = 2.0
"""No similarity: a cosine is at most 1."""


@dataclass(frozen=True)
class Judge:
    """Which candidates are novel enough.

    Attributes:
        threshold: similarity below which a candidate is novel.
        quantile, calibration: the threshold is that quantile of the last `calibration`
            similarities, as soon as there is one; None: always `threshold`.
        alike: want what is above the threshold instead.
        per_layer: each layer for itself, or all by their common similarity.
    """

    threshold: float
    quantile: float | None
    calibration: int
    alike: bool
    per_layer: bool

    def empty(self, layers: int, like: Tensor) -> tuple[Tensor, ...]:
        """No similarities yet, for each layer."""
        if self.quantile is None:
            return ()
        nothing = like.new_full((like.shape[0], self.calibration), _NONE, dtype=torch.float32)
        return (nothing,) * layers

    def __call__(
        self, compared: Sequence[Likeness], seen: tuple[Tensor, ...]
    ) -> tuple[list[Bool[Tensor, " b"]], tuple[Tensor, ...]]:
        """The verdict for each layer and sample, and the similarities seen so far."""
        if not self.per_layer:
            compared = [summed(compared)] * len(compared)
        verdicts, after = [], []
        for i, layer in enumerate(compared):
            similarity, limit = highest_cosine(layer), torch.as_tensor(self.threshold)
            if self.quantile is not None:
                history = seen[i].masked_fill(seen[i] == _NONE, torch.nan)
                quantile = torch.nanquantile(history, self.quantile, dim=1)
                limit = torch.where(quantile.isnan(), self.threshold, quantile)
                if layer.dots.shape[1]:
                    seen_now = torch.cat((seen[i][:, 1:], similarity[:, None]), 1)
                    after.append(seen_now)
                else:
                    after.append(seen[i])
            verdicts.append(similarity > limit if self.alike else similarity < limit)
        return verdicts, tuple(after)
