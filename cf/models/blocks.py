"""What a `VideoTransformer` is made of: modulated blocks, and the head from tokens to patches."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from cf.models.attention import CrossAttention, Reading, Remembered, SelfAttention
from cf.models.image_branch import ImageCrossAttention
from cf.models.rope import Rotation

Tokens = Float[Tensor, "b f n dim"]
TextKV = tuple[Tensor, ...]
"""Keys and values of the text, and of a picture where the model attends one."""


class BlockInputs(NamedTuple):
    """What a transformer block reads besides its tokens."""

    place: tuple[Rotation, Rotation]
    past: Remembered | Reading | None
    text: TextKV | None
    mask: Tensor | BlockMask | None


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention where there is text, feed-forward; modulated by time."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        eps: float,
        cross_attention: bool,
        image: bool = False,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.self_attn = SelfAttention(dim, num_heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps) if cross_attention else None
        attention = ImageCrossAttention if image else CrossAttention
        self.cross_attn = attention(dim, num_heads, eps) if cross_attention else None
        self.ffn = nn.Sequential(
            nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim)
        )

    def forward(
        self, x: Tokens, time: Float[Tensor, "b f 6 dim"], reads: BlockInputs
    ) -> tuple[Tokens, Tensor, Tensor, Tensor]:
        """The tokens after this block, and its queries, keys (both before RoPE) and values."""
        modulation = (self.modulation + time).unsqueeze(3)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.unbind(2)
        shape = x.shape[1:3]
        tokens = _modulated(x, shift1, scale1, self.eps).flatten(1, 2)
        attended, q, k, v = self.self_attn(tokens, reads.place, reads.past, reads.mask)
        x = x + gate1 * attended.unflatten(1, shape)
        if self.cross_attn is not None and self.norm3 is not None:
            assert reads.text is not None
            attended = self.cross_attn(self.norm3(x).flatten(1, 2), reads.text)
            x = x + attended.unflatten(1, shape)
        return x + gate2 * self.ffn(_modulated(x, shift2, scale2, self.eps)), q, k, v


class Head(nn.Module):
    """From tokens to patches."""

    def __init__(self, dim: int, patch_dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.head = nn.Linear(dim, patch_dim)

    def forward(self, x: Tokens, time: Float[Tensor, "b f dim"]) -> Float[Tensor, "b f n patch"]:
        """One patch per token."""
        shift, scale = (self.modulation + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        out: Tensor = self.head(_modulated(x, shift, scale, self.eps))
        return out


def _modulated(x: Tokens, shift: Tensor, scale: Tensor, eps: float) -> Tokens:
    width = x.shape[-1:]
    if shift.numel() == width[0]:  # one time for all frames: one kernel
        return F.layer_norm(x, width, (1 + scale).flatten(), shift.flatten(), eps)
    return F.layer_norm(x, width, eps=eps) * (1 + scale) + shift
