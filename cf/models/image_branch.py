"""The image branch of Wan2.1's image-to-video models: a picture's tokens beside the text's."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from cf.models.attention import CrossAttention, Heads, QKNorm, attend

States = Float[Tensor, "b p e"]
Tokens = Float[Tensor, "b p dim"]


class ImageEmbedding(nn.Module):
    """From the states of an image encoder to tokens, under Wan2.1's parameter names."""

    def __init__(self, image_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(image_dim),
            nn.Linear(image_dim, image_dim),
            nn.GELU(),
            nn.Linear(image_dim, dim),
            nn.LayerNorm(dim),
        )

    def forward(self, states: States) -> Tokens:
        """One token per state."""
        tokens: Tokens = self.proj(states)
        return tokens


class ImageCrossAttention(CrossAttention):
    """Attention over the text plus attention over the picture, of the same queries."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__(dim, num_heads, eps)
        self.k_img, self.v_img = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_k_img = QKNorm(dim, eps)

    def keys_values(self, x: Tensor, image: Any = None) -> tuple[Heads, ...]:
        """Keys and values of the text, and of the picture's tokens."""
        k = self.norm_k_img(self.k_img(image)).unflatten(-1, (self.num_heads, -1))
        v = self.v_img(image).unflatten(-1, (self.num_heads, -1))
        return *super().keys_values(x), k, v

    def forward(
        self, x: Float[Tensor, "b n dim"], text: tuple[Tensor, ...]
    ) -> Float[Tensor, "b n dim"]:
        """The attended values of text and picture, summed."""
        q, (k, v, k_img, v_img) = self.queries(x), text
        out: Tensor = self.o(attend(q, k, v) + attend(q, k_img, v_img))
        return out
