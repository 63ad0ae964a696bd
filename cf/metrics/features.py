"""Feature vectors of frames, summed over windows of time: what most metrics of likeness rest on."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cf.metrics.extractors.base import Extractor
from cf.metrics.measurement import Measurement, Seen


@dataclass(frozen=True)
class Features(Measurement):
    """Unit feature vectors.

    Attributes:
        extractor: what makes them.
        rate: frames per second that are looked at.
    """

    extractor: Extractor
    rate: float | None = 4.0

    @property
    def width(self) -> int:
        """See `Measurement`."""
        return self.extractor.width

    def see(self, seen: Seen) -> Float[Tensor, "t d"]:
        """See `Measurement`."""
        features = self.extractor(seen.frames).to(torch.float32)
        return torch.nn.functional.normalize(features, dim=-1, eps=1e-12)

    def measure(self, kept: Tensor) -> Float[Tensor, "n width"]:
        """See `Measurement`."""
        return kept

    def provenance(self) -> dict[str, Any]:
        """See `Measurement`."""
        return {"by": self.extractor.name, "rate": self.rate, **self.extractor.provenance()}
