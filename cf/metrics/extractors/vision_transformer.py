"""DINO's and DINOv2's vision transformers, built to the shapes that a file of weights has."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cf.metrics.extractors.blocks import Block, depth_of

_NUDGE = 0.1
"""Added to the number of patches when positions are interpolated, in both releases."""


class VisionTransformer(nn.Module):
    """The vision transformer of DINO (arXiv 2104.14294) or DINOv2 (arXiv 2304.07193).

    Attributes:
        patch: its side in pixels; what is left over at the right and at the bottom is not seen.
        grid: patches along each side of the pictures it was trained on last.
    """

    def __init__(self, width: int, depth: int, patch: int, grid: int, second: bool) -> None:
        super().__init__()
        self.patch, self.grid = patch, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        if second:
            self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.Sequential(*(Block(width, second) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "VisionTransformer":
        """With published weights, under the names of the authors' files.

        Raises:
            ValueError: if names or shapes are not those of this network.
        """
        try:
            width, _, patch, _ = state["patch_embed.proj.weight"].shape
            grid = math.isqrt(state["pos_embed"].shape[1] - 1)
            network = cls(width, depth_of(state, "blocks."), patch, grid, "mask_token" in state)
            network.load_state_dict(dict(state))
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"these are not the weights of DINO or DINOv2: {error}") from error
        return network.eval().requires_grad_(False)

    @property
    def width(self) -> int:
        """Of a feature vector."""
        return self.cls_token.shape[-1]

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The class token of normalised pictures of any size, after the last norm."""
        patches = self.patch_embed["proj"](pictures)
        positions = self.positions(*patches.shape[-2:])
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), 1) + positions
        features: Tensor = self.norm(self.blocks(tokens)[:, 0])
        return features

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 n d"]:
        """Embeddings of positions in a grid of patches of another shape, bicubically."""
        if rows == columns == self.grid:
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        square = rest.unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        factor = [(side + _NUDGE) / self.grid for side in (rows, columns)]
        other = interpolate(square, scale_factor=factor, mode="bicubic")
        assert other.shape[-2:] == (rows, columns), (other.shape, rows, columns)
        return torch.cat((first, other.flatten(2).transpose(1, 2)), 1)
