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

    def __post_init__(self) -> None:
        for name in ("name", "semantic"):
            if not hasattr(self.extractor, name):
                raise ValueError(
                    f"{type(self.extractor).__name__} has no {name!r}; an extractor says its name, "
                    f"and by semantic whether its features tell what is shown"
                )

    @property
    def takes_bytes(self) -> bool:  # type: ignore[override]
        """As its extractor."""
        return self.extractor.takes_bytes

    @property
    @override
    def width(self) -> int:
        return self.extractor.width

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t d"]:
        if not len(seen.frames):  # none of a short piece need be looked at
            return torch.zeros(0, self.width)
        kind, raw = type(self.extractor).__name__, self.extractor(seen.frames)
        if not isinstance(raw, Tensor):
            raise ValueError(f"{kind} must make features as a tensor, got {type(raw).__name__}")
        features = raw.to(torch.float32)
        if features.shape != (len(seen.frames), self.width):
            raise ValueError(
                f"{kind} made features of shape {tuple(features.shape)} "
                f"of {len(seen.frames)} frames; its width={self.width} asks for "
                f"{(len(seen.frames), self.width)}"
            )
        if not features.isfinite().all() and torch.isfinite(seen.frames).all():
            raise ValueError(f"{kind} made features that are not finite of frames that are")
        return torch.nn.functional.normalize(features, dim=-1, eps=1e-12)

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
