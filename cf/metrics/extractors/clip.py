"""CLIP's embeddings of frames and of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms.functional import (
    InterpolationMode,
    center_crop,
    normalize,
    resize,
)

from cf.metrics.extractors.base import TextExtractor
from cf.metrics.extractors.lookup import find
from cf.metrics.extractors.names import clip_names
from cf.metrics.extractors.network import Network, full_precision
from cf.metrics.extractors.tokenizer import Tokenizer
from cf.metrics.extractors.towers import Clip

_MEAN = [0.48145466, 0.4578275, 0.40821073]
_STD = [0.26862954, 0.26130258, 0.27577711]
_VOCABULARY = "clip-bpe"


class ClipExtractor(Network, TextExtractor):
    """CLIP ViT-B/32 or ViT-L/14 (arXiv 2103.00020), in float32 whatever the file's precision.

    Frames are resized to a short side of 224 pixels, bicubically on floats and without
    antialiasing, what overshoots [0, 1] is kept, and the middle square is cropped: the
    preprocessing of VBench's background consistency. What lies outside of the middle square is
    not seen.

    Attributes:
        vocabulary: file of merges for texts; None to look where it usually lies, when the first
            text comes.
    """

    network: Clip

    def __init__(
        self,
        name: str,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch: int | None = None,
        vocabulary: str | Path | None = None,
    ) -> None:
        super().__init__(name, weights, device, batch)
        self.vocabulary = vocabulary
        self._tokenizer: Tokenizer | None = None

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """See `Network`."""
        return Clip.of(clip_names(state))

    @property
    def width(self) -> int:
        """See `Extractor`."""
        return self.network.width

    def prepare(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 size1 size2"]:
        """See `Network`."""
        size = [self.network.visual.size]
        sized = resize(frames, size, InterpolationMode.BICUBIC, antialias=False)
        normalised: Tensor = normalize(center_crop(sized, size), _MEAN, _STD)
        return normalised

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """See `Network`."""
        features: Tensor = self.network.visual(pictures)
        return features

    @torch.no_grad()
    @full_precision()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Features of each text, not normalised; CLIP reads the first 75 tokens of a text.

        Raises:
            MissingWeightsError: if CLIP's vocabulary is not on this machine.
        """
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.of(find(_VOCABULARY, self.vocabulary).path)
        tokens = self._tokenizer(texts, len(self.network.positional_embedding))
        each = [self.network.encode_text(one[None].to(self.device)) for one in tokens]
        return torch.cat([torch.zeros(0, self.width, device=self.device), *each])

    def preprocessing(self) -> dict[str, Any]:
        """See `Network`."""
        return {
            "short side": self.network.visual.size,
            "interpolation": "bicubic on floats, no antialiasing, overshoot kept",
            "crop": "centre square",
            "mean": _MEAN,
            "std": _STD,
        }
