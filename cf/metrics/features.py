"""Unit feature vectors of frames, summed over windows of time."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

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
    @override
    def width(self) -> int:
        return self.extractor.width

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t d"]:
        if not len(seen.frames):  # none of a short piece need be looked at
            return torch.zeros(0, self.width)
        features = self.extractor(seen.frames).to(torch.float32)
        return torch.nn.functional.normalize(features, dim=-1, eps=1e-12)

    @override
    def measure(self, kept: Tensor) -> Float[Tensor, "n width"]:
        return kept

    @override
    def provenance(self) -> dict[str, Any]:
        return {"by": self.extractor.name, "rate": self.rate, **self.extractor.provenance()}


@dataclass(frozen=True)
class FrameFeatures(Features):
    """Unit feature vectors of single frames, where sums over windows do not suffice.

    With `window=None` an hour at 16 frames per second takes 177 MB at 768 numbers per frame.
    """

    rate: float | None = None
    dtype = torch.float32

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "rows": "single frames"}
