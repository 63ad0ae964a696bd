"""Attention over a remembered past and the block at hand: SDPA, or flex for masks on a GPU."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from cf.memory.pieces import pieces_of
from cf.memory.room import widened
from cf.models.context_parallel import Split
from cf.models.masks import Mask, block_sparse, dense
from cf.models.rope import WIDE, RealRotation, Rotation, rotate, rotate_into
from cf.types import LayerKV, Past

Heads = Float[Tensor, "b n heads d"]
AllHeads = Float[Tensor, "b all heads d"]
Places = tuple[Rotation | RealRotation, Rotation | RealRotation]
"""Rotations of the block's queries and keys."""


class Remembered(NamedTuple):
    """What one layer reads of the past: rotated keys, values and their attention mask, if any.

    Attributes:
        room: last tokens of `k` and `v` that are free for the block's own.
        again: makes the same anew, of what is held for other blocks too; None: it is held itself.
    """

    k: Heads
    v: Heads
    mask: Tensor | None = None
    room: int = 0
    again: Callable[[], "Remembered"] | None = None

    def followed_by(self, k: Heads, v: Heads) -> tuple[AllHeads, AllHeads]:
        """Past and block: copied together, or the block written where there is room for it."""
        alike = self.k.dtype == k.dtype and self.v.dtype == v.dtype
        if k.shape[1] > self.room or not alike:
            past_k, past_v = self.k, self.v
            if self.room:
                past_k, past_v = (x[:, : -self.room] for x in (past_k, past_v))
            return torch.cat((past_k.to(k.dtype), k), 1), torch.cat((past_v.to(v.dtype), v), 1)
        stop = self.k.shape[1] - self.room + k.shape[1]
        for storage, new in ((self.k, k), (self.v, v)):
            storage[:, stop - k.shape[1] : stop] = new
        return self.k[:, :stop], self.v[:, :stop]


Reading = Callable[[Heads, Heads, Heads], Remembered]
"""What a layer reads of the past, given the block's own queries, keys (before RoPE) and values."""


def attend(
    q: Float[Tensor, "b q heads d"],
    k: Float[Tensor, "b k heads d"],
    v: Float[Tensor, "b k heads d"],
    mask: Tensor | BlockMask | None = None,
) -> Float[Tensor, "b q width"]:
    """Softmax attention; a tensor mask is boolean (True: visible) or additive."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if isinstance(mask, BlockMask):
        out = (_compiled_flex() if q.is_cuda else flex_attention)(q, k, v, block_mask=mask)
        assert isinstance(out, Tensor)
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


@cache
def _compiled_flex():  # type: ignore[no-untyped-def]
    return torch.compile(flex_attention)


def mask_for(
    mask: Mask | None, rows: int, tokens: int, device: torch.device
) -> Bool[Tensor, "q k"] | BlockMask | None:
    """The form of `mask` that suits the device; on shapes alone, one that takes no room."""
    if mask is None:
        return None
    if device.type == "meta":  # stands for a GPU, whose form of it is small
        value = torch.empty((), dtype=torch.bool, device=device)
        return value.expand(rows * tokens, rows * tokens)
    return (block_sparse if device.type == "cuda" else dense)(mask, rows, tokens, device)


class QKNorm(nn.Module):
    """RMS norm over all heads at once, in float32 or better."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n dim"]:
        """Normalise and scale."""
        weight = self.weight
        if x.dtype == weight.dtype and x.dtype in WIDE:
            return F.rms_norm(x, weight.shape, weight, self.eps)
        wide = torch.promote_types(x.dtype, torch.float32)
        return F.rms_norm(x.to(wide), weight.shape, weight.to(wide), self.eps).to(x.dtype)


class Attention(nn.Module):
    """The projections that self- and cross-attention share, under Wan2.1's parameter names."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = QKNorm(dim, eps), QKNorm(dim, eps)

    def queries(self, x: Float[Tensor, "b n dim"]) -> Heads:
        """Normalised queries, before RoPE."""
        return _heads(self.norm_q(self.q(x)), self.num_heads)

    def keys_values(self, x: Float[Tensor, "b n dim"]) -> tuple[Heads, ...]:
        """Normalised keys, before RoPE, and values."""
        k = _heads(self.norm_k(self.k(x)), self.num_heads)
        return k, _heads(self.v(x), self.num_heads)


class Own(NamedTuple):
    """The block's own tokens in a layer: queries, keys and values, and the first two after RoPE."""

    q: Heads
    k: Heads
    v: Heads
    turned_q: Heads
    turned_k: Heads


class SelfAttention(Attention):
    """Attention over the past and the block's own tokens."""

    def own(self, x: Float[Tensor, "b n dim"], place: Places) -> Own:
        """What the block's tokens ask and offer; `place` rotates queries and keys."""
        q, (k, v) = self.queries(x), self.keys_values(x)
        return Own(q, k, v, rotate(q, place[0]), rotate(k, place[1]))

    def forward(
        self,
        own: Own,
        past: Remembered | Reading | None,
        mask: Tensor | BlockMask | None,
        split: Split | None = None,
        frames: int = 1,
    ) -> Float[Tensor, "b n dim"]:
        """The attended values, before the output projection; `split` spreads the frames' tokens."""
        if split is not None:
            return _attended_by_all(own, past, mask, split, frames)
        k, v = own.turned_k, own.v
        if past is not None:
            past = past if isinstance(past, Remembered) else past(own.q, own.k, own.v)
            k, v = past.followed_by(k, v)
            mask = _with_own(past.mask, own.k.shape[1])
        return attend(own.turned_q, k, v, mask)


def _attended_by_all(
    own: Own,
    past: Remembered | Reading | None,
    mask: Tensor | BlockMask | None,
    split: Split,
    frames: int,
) -> Float[Tensor, "b n dim"]:
    """The attended values of this process's tokens; it attends with a part of the heads."""
    q, k, v = (split.to_heads(x, frames) for x in (own.turned_q, own.turned_k, own.v))
    if past is not None:
        if not isinstance(past, Remembered):
            past = past(*(split.gather(x, frames) for x in own[:3]))
        tokens = past.k.shape[1] - past.room
        past_k, past_v = (split.mine(x[:, :tokens], 2) for x in past[:2])
        mask = _with_own(past.mask, k.shape[1])
        k, v = Remembered(past_k, past_v).followed_by(k, v)
    return split.to_tokens(attend(q, k, v, mask), frames)


class CrossAttention(Attention):
    """Attention over the text; padded text tokens are attended, as in Wan2.1."""

    def forward(
        self, x: Float[Tensor, "b n dim"], text: tuple[Tensor, ...]
    ) -> Float[Tensor, "b n dim"]:
        """The attended text values."""
        out: Tensor = self.o(attend(self.queries(x), *text))
        return out


def _heads(x: Tensor, heads: int) -> Heads:
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads)


def _with_own(mask: Tensor | None, tokens: int) -> Tensor | None:
    if mask is None:
        return None
    return F.pad(mask, (0, tokens), value=True if mask.dtype == torch.bool else 0.0)


def remembered(layer: LayerKV, place: Rotation, past: Past, number: int = 0) -> Remembered:
    """What the `number`-th layer reads: rotated keys, values, their mask, and the room behind."""
    k, v, _, valid = layer
    mask = valid if past.bias is None else past.bias
    if valid is not None and past.bias is not None:
        mask = past.bias.masked_fill(~valid, -torch.inf)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(k.dtype)
    mask = None if mask is None else mask[:, None, None]
    if not past.room:
        keys, values = pieces_of(k), pieces_of(v)
        again = keys and values and partial(_again, keys, values, place, mask)
        return Remembered(rotate(k, place), v, mask, again=again or None)
    return Remembered(_turned(k, place, past, number), widened(v, past.room), mask, past.room)


def _again(
    keys: Sequence[Tensor], values: Sequence[Tensor], place: Rotation, mask: Tensor | None
) -> Remembered:
    """What a layer reads, of the pieces of its past."""
    return Remembered(rotate(torch.cat([*keys], 1), place), torch.cat([*values], 1), mask)


def once_held(seen: Remembered | Reading | None) -> Remembered | Reading | None:
    """What a layer reads in a pass that runs again for its gradient.

    The first pass reads what is there, and lets go of it; the others make it anew, if they can.
    """
    again = seen.again if isinstance(seen, Remembered) else None
    if not isinstance(seen, Remembered) or again is None:
        return seen
    pending = [seen]

    def read(q: Heads, k: Heads, v: Heads) -> Remembered:
        return pending.pop() if pending else again()

    return read


def _turned(k: Tensor, place: Rotation, past: Past, number: int) -> Tensor:
    """Keys after RoPE and room behind them, added to what is there already."""
    turned, size = past.turned_tokens, k.shape[1]
    storage = past.turned[number] if past.turned else None
    if storage is None:
        storage = k.new_empty(len(k), size + past.room, *k.shape[2:])
    if isinstance(past.turned, list):
        past.turned[number] = storage
    rotate_into(storage[:, turned:size], k[:, turned:], place)
    return storage
