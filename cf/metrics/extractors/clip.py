"""CLIP's embeddings of frames and of texts."""

import math
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
from typing_extensions import override

from cf.metrics.extractors.base import TextExtractor
from cf.metrics.extractors.hugging_face import frozen_network, transformers
from cf.metrics.extractors.lookup import find
from cf.metrics.extractors.names import clip_names, depth
from cf.metrics.extractors.network import HEAD_WIDTH, FeatureNetwork, full_precision
from cf.metrics.extractors.tokenizer import clean_caption, tokenizer

_MEAN = [0.48145466, 0.4578275, 0.40821073]
_STD = [0.26862954, 0.26130258, 0.27577711]
_VOCABULARY = "clip-bpe"


class ClipExtractor(FeatureNetwork, TextExtractor):
    """CLIP ViT-B/32 or ViT-L/14 (arXiv 2103.00020), in float32 whatever the file's precision.

    Network and tokenizer are those of `transformers` (extra `features`). Frames are resized to a
    short side of 224 pixels, bicubically on floats and without antialiasing, what overshoots [0, 1]
    is kept, and the middle square is cropped: the preprocessing of VBench's background consistency.
    What lies outside of the middle square is not seen.

    Attributes:
        vocabulary: file of merges for texts; None to look where it usually lies, when the first
            text comes.
    """

    network: Any

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
        self._tokenizer: Any = None

    @override
    def build(self, state: dict[str, Tensor]) -> nn.Module:
        return clip_network(clip_names(state))

    @property
    @override
    def width(self) -> int:
        return int(self.network.config.projection_dim)

    @override
    def prepare(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 size1 size2"]:
        size = [self._size]
        sized = resize(frames, size, InterpolationMode.BICUBIC, antialias=False)
        normalised: Tensor = normalize(center_crop(sized, size), _MEAN, _STD)
        return normalised

    @override
    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        pooled = self.network.vision_model(pictures).pooler_output
        features: Tensor = self.network.visual_projection(pooled)
        return features

    @torch.no_grad()
    @full_precision()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Features of each text, not normalised; CLIP reads the first 75 tokens of a text.

        Raises:
            MissingWeightsError: if CLIP's vocabulary is not on this machine.
        """
        if self._tokenizer is None:
            self._tokenizer = tokenizer(find(_VOCABULARY, self.vocabulary).path)
        most = self.network.config.text_config.max_position_embeddings
        features = [torch.zeros(0, self.width, device=self.device)]
        for text in texts:
            tokens = self._tokenizer(
                clean_caption(text), truncation=True, max_length=most, return_tensors="pt"
            ).input_ids.to(self.device)
            features.append(
                self.network.text_projection(self.network.text_model(tokens).pooler_output)
            )
        return torch.cat(features)

    @property
    def _size(self) -> int:
        """Side of a picture in pixels."""
        return int(self.network.config.vision_config.image_size)

    @override
    def preprocessing(self) -> dict[str, Any]:
        return {
            "short side": self._size,
            "interpolation": "bicubic on floats, no antialiasing, overshoot kept",
            "crop": "centre square",
            "mean": _MEAN,
            "std": _STD,
        }


def clip_network(state: dict[str, Tensor]) -> nn.Module:
    """CLIP with a vision transformer, built to the shapes of its weights in Hugging Face's layout.

    Raises:
        ValueError: if names or shapes are not those of such a network.
    """
    eyes, words = "vision_model.embeddings", "text_model.embeddings"
    try:
        width, _, patch, _ = state[f"{eyes}.patch_embedding.weight"].shape
        grid = math.isqrt(len(state[f"{eyes}.position_embedding.weight"]) - 1)
        length = len(state[f"{words}.position_embedding.weight"])
        vocabulary, text_width = state[f"{words}.token_embedding.weight"].shape
        out = len(state["visual_projection.weight"])
    except KeyError as error:
        raise ValueError(f"these are not the weights of a CLIP ViT: they lack {error}") from error
    config = transformers().CLIPConfig(
        projection_dim=out,
        vision_config={
            **_tower(width, depth(state, "vision_model.encoder.layers.")),
            "image_size": patch * grid,
            "patch_size": patch,
        },
        text_config={
            **_tower(text_width, depth(state, "text_model.encoder.layers.")),
            "vocab_size": vocabulary,
            "max_position_embeddings": length,
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,  # features are those of the first one
        },
    )
    return frozen_network("CLIPModel", config, state, "a CLIP ViT")


def _tower(width: int, layers: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH,
    }
