"""What a `VideoTransformer` is made of: modulated blocks, and the head from tokens to patches."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from cf.models.attention import (
    CrossAttention,
    Own,
    Places,
    Reading,
    Remembered,
    SelfAttention,
)
from cf.models.context_parallel import Split
from cf.models.image_branch import ImageCrossAttention
from cf.models.rope import WIDE, Rotation

Tokens = Float[Tensor, "b f n dim"]
TextKV = tuple[Tensor, ...]
"""Keys and values of the text, and of a picture where the model attends one."""


class BlockInputs(NamedTuple):
    """What a transformer block reads besides its tokens.

    Attributes:
        ends: nobody reads the tokens after this block, so that they are not made.
    """

    place: tuple[Rotation, Rotation]
    past: Remembered | Reading | None
    text: TextKV | None
    mask: Tensor | BlockMask | None
    split: Split | None = None
    ends: bool = False


class Compiled(NamedTuple):
    """What runs in place of a block's `before` and `after`, which are given the block first."""

    before: Callable[..., Own]
    after: Callable[..., Tensor]


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention where there is text, feed-forward; modulated by time.

    Attributes:
        compiled: what runs in place of `before` and `after`; None: they do.
    """

    compiled: Compiled | None = None

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
        shift, scale, *rest = (_wide(self.modulation) + time).unsqueeze(3).unbind(2)
        before, after = self.before, self.after
        place: Places = reads.place
        if self.compiled is not None:
            before = partial(self.compiled.before, self)
            after = partial(self.compiled.after, self)
            place = torch.view_as_real(place[0]), torch.view_as_real(place[1])
        qkv = Own(*before(x, shift, scale, place))
        if not reads.ends:
            attended = self.self_attn(qkv, reads.past, reads.mask, reads.split, x.shape[1])
            x = after(x, attended, rest, reads.text)
        return x, qkv.q, qkv.k, qkv.v

    def before(self, x: Tokens, shift: Tensor, scale: Tensor, place: Places) -> Own:
        """What self-attention is given: nothing in it depends on the past."""
        return self.self_attn.own(_modulated(x, shift, scale, self.eps).flatten(1, 2), place)

    def after(
        self, x: Tokens, attended: Tensor, rest: Sequence[Tensor], text: TextKV | None
    ) -> Tokens:
        """The tokens after all but self-attention, given what that read."""
        gate1, shift2, scale2, gate2 = rest
        x = torch.addcmul(x, gate1, self.self_attn.o(attended).view(x.shape))
        if self.cross_attn is not None and self.norm3 is not None:
            assert text is not None
            x = x + self.cross_attn(self.norm3(x).flatten(1, 2), text).view(x.shape)
        ffn_out: Tensor = self.ffn(_modulated(x, shift2, scale2, self.eps))
        return torch.addcmul(x, gate2, ffn_out)


class Head(nn.Module):
    """From tokens to patches."""

    def __init__(self, dim: int, patch_dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.head = nn.Linear(dim, patch_dim)

    def forward(self, x: Tokens, time: Float[Tensor, "b f dim"]) -> Float[Tensor, "b f n patch"]:
        """One patch per token."""
        shift, scale = (_wide(self.modulation) + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        out: Tensor = self.head(_modulated(x, shift, scale, self.eps))
        return out


def _wide(modulation: Tensor) -> Tensor:
    """In float32 where precision is mixed: tokens are summed over all blocks in its type."""
    if modulation.dtype in WIDE:
        return modulation
    kind = modulation.device.type
    mixed = kind != "meta" and torch.is_autocast_enabled(kind)  # shapes alone have no autocast
    return modulation.float() if mixed else modulation


def _modulated(x: Tokens, shift: Tensor, scale: Tensor, eps: float) -> Tokens:
    width, scale = x.shape[-1:], 1 + scale
    if shift.numel() == width[0]:  # one time for all frames: one kernel
        return F.layer_norm(x, width, scale.view(width), shift.reshape(width), eps)
    return torch.addcmul(shift, F.layer_norm(x, width, eps=eps), scale)
