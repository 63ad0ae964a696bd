"""Fréchet distance of two Gaussians that are fitted to feature vectors."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Mean and unbiased covariance of feature vectors, in float64."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]
    count: int

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> "Moments":
        """Those of two vectors or more."""
        if len(features) < 2:
            raise ValueError(f"{len(features)} feature vectors have no covariance; give two")
        rows = features.double()
        centred = rows - rows.mean(0)
        return cls(rows.mean(0), centred.T @ centred / (len(rows) - 1), len(rows))

    def digest(self) -> str:
        """How many vectors they are of, and 16 hex digits of them."""
        numbers = torch.cat((self.mean[None], self.covariance)).double().cpu().numpy()
        return f"{self.count} clips, {hashlib.sha256(numbers.tobytes()).hexdigest()[:16]}"


def frechet_distance(one: Moments, other: Moments) -> float:
    """Squared Fréchet distance of two Gaussians.

    The trace of the root of a product is taken of the symmetric root(S1) S2 root(S1), which has
    the same eigenvalues and needs no complex numbers.

    >>> import torch
    >>> gaussian = Moments.of(torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 3.0]]))
    >>> abs(round(frechet_distance(gaussian, gaussian), 9))
    0.0
    """
    apart = (one.mean - other.mean).square().sum()
    values, vectors = torch.linalg.eigh(one.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ other.covariance @ root
    crossed = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    squared = float(apart + one.covariance.trace() + other.covariance.trace() - 2 * crossed)
    return max(squared, 0.0)  # of equal sets, rounding may be below
