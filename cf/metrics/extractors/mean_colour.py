"""The mean colour of a frame, for examples and tests."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.extractors.base import Extractor


class MeanColour(Extractor):
    """Mean red, green and blue; of a text, which of these it names. For examples and tests.

    >>> MeanColour()(torch.full((1, 3, 8, 8), 0.5))
    tensor([[0.5000, 0.5000, 0.5000]])
    """

    name = "colour"
    semantic = False
    width = 3

    @override
    def __call__(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        return frames.double().mean((2, 3)).float()

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """A feature of each text: the primary colours that it names."""
        return torch.tensor(
            [[float(c in text) for c in ("red", "green", "blue")] for text in texts]
        )

    @override
    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.name}
