"""The mean colour of a frame: what examples are told with."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from cf.metrics.extractors.base import Extractor


class MeanColour(Extractor):
    """Mean red, green and blue; for examples and tests, where features should be plain to see.

    >>> import torch
    >>> MeanColour()(torch.full((1, 3, 8, 8), 0.5))
    tensor([[0.5000, 0.5000, 0.5000]])
    """

    name = "colour"
    semantic = False

    @property
    def width(self) -> int:
        """See `Extractor`."""
        return 3

    def __call__(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        """See `Extractor`."""
        return frames.double().mean((2, 3)).float()

    def provenance(self) -> dict[str, Any]:
        """See `Extractor`."""
        return {"extractor": self.name}
