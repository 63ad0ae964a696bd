"""CLIP's image and text towers, built to the shapes that a file of weights has."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cf.metrics.extractors.blocks import ClipTransformer, depth_of

_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


class ImageTower(nn.Module):
    """CLIP's vision transformer; pictures have the one size that it was trained on."""

    def __init__(self, width: int, depth: int, patch: int, grid: int, out: int) -> None:
        super().__init__()
        self.size = patch * grid
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + grid**2, width))
        self.proj = nn.Parameter(torch.zeros(width, out))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = ClipTransformer(width, depth, causal=False)
        self.ln_post = nn.LayerNorm(width)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Of normalised pictures."""
        tokens = self.conv1(pictures).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(tokens), 1, -1)
        tokens = self.ln_pre(torch.cat((first, tokens), 1) + self.positional_embedding)
        projected: Tensor = self.ln_post(self.transformer(tokens)[:, 0]) @ self.proj
        return projected


class Clip(nn.Module):
    """CLIP (arXiv 2103.00020) with a vision transformer."""

    def __init__(self, visual: ImageTower, width: int, depth: int, length: int, words: int) -> None:
        super().__init__()
        self.visual = visual
        self.positional_embedding = nn.Parameter(torch.zeros(length, width))
        self.text_projection = nn.Parameter(torch.zeros(width, visual.proj.shape[1]))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.transformer = ClipTransformer(width, depth, causal=True)
        self.token_embedding = nn.Embedding(words, width)
        self.ln_final = nn.LayerNorm(width)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Clip":
        """With published weights, under the names of the authors' files.

        Raises:
            ValueError: if names or shapes are not those of this network.
        """
        state = {name: weight for name, weight in state.items() if name not in _NOT_WEIGHTS}
        try:
            width, _, patch, _ = state["visual.conv1.weight"].shape
            grid = math.isqrt(len(state["visual.positional_embedding"]) - 1)
            depth = depth_of(state, "visual.transformer.resblocks.")
            visual = ImageTower(width, depth, patch, grid, state["visual.proj"].shape[1])
            length, text_width = state["positional_embedding"].shape
            text_depth = depth_of(state, "transformer.resblocks.")
            words = len(state["token_embedding.weight"])
            network = cls(visual, text_width, text_depth, length, words)
            network.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"these are not the weights of a CLIP ViT: {error}") from error
        return network.eval().requires_grad_(False)

    @property
    def width(self) -> int:
        """Of a feature vector."""
        return self.visual.proj.shape[1]

    def encode_text(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n d"]:
        """Of texts; what follows the first end token, which has the highest number, is unseen."""
        embedded = self.token_embedding(tokens) + self.positional_embedding
        deep = self.ln_final(self.transformer(embedded))
        ends = tokens.argmax(-1)
        projected: Tensor = deep[torch.arange(len(deep)), ends] @ self.text_projection
        return projected
