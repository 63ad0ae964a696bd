"""The contract of extractors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor


class Extractor(ABC):
    """Turns frames into feature vectors, each frame on its own; hashable, by identity as a rule.

    Attributes:
        name: by which it is chosen and printed.
        semantic: whether features tell what is shown; else they tell how it looks.
        kappa: mean cosine of frames of unrelated videos; None where nobody has measured it.
        takes_bytes: frames may come in bytes, 0 to 255, as they are: a quarter of the memory.
    """

    name: str
    semantic: bool
    kappa: float | None = None
    takes_bytes: bool = False

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of a feature vector."""

    @abstractmethod
    def __call__(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        """Features of each frame of any size, not normalised; a frame's never depend on others."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Name, weights and their hash, preprocessing."""


class TextExtractor(Extractor):
    """An extractor that puts texts into the space of its frames."""

    @abstractmethod
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Features of each text, not normalised."""
