"""Storage of a context that inference writes in place: free room behind what is remembered."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from cf.types import LayerKV


class Owned(list[LayerKV]):
    """The layers of a context made in inference mode, which nobody else holds.

    `update` consumes them, and what belongs to them is written in place; a fork is a tuple of the
    same views, owns nothing and is never written to, nor is anything within its views.

    Attributes:
        room: tokens of free storage behind each layer's values.
        grows: there is as much behind keys and positions: the memory only ever adds to its end.
        turned: of such a memory, if it also leaves frames where they were: each layer's keys after
            RoPE, as far as they were read already, in storage as long as that of the values.
        turned_tokens: how many of them there are.
    """

    def __init__(
        self, layers: Iterable[LayerKV] = (), room: int = 0, *, grows: bool = False
    ) -> None:
        super().__init__(layers)
        self.room, self.grows = room, grows
        self.turned: list[Tensor | None] = []
        self.turned_tokens = 0


def with_room(x: Tensor, room: int) -> Tensor:
    """A copy of `x` (batch, tokens, ...) with free storage for `room` more tokens behind it."""
    storage = x.new_empty(len(x), x.shape[1] + room, *x.shape[2:])
    return storage[:, : x.shape[1]].copy_(x)


def widened(x: Tensor, room: int) -> Tensor:
    """A view of `x` and of `room` tokens of the free storage behind it."""
    shape = (len(x), x.shape[1] + room, *x.shape[2:])
    return x.as_strided(shape, x.stride(), x.storage_offset())


def joined(parts: Sequence[Tensor], room: int = 0) -> Tensor:
    """Tokens one after the other, in storage of their own, with room behind them."""
    if room == 0:
        return torch.cat(list(parts), 1)
    count = sum(part.shape[1] for part in parts)
    storage = parts[0].new_empty(len(parts[0]), count + room, *parts[0].shape[2:])
    return torch.cat(list(parts), 1, out=storage[:, :count])


def appended(
    owned: Sequence[LayerKV], arriving: Iterable[tuple[LayerKV, LayerKV]], tokens: int
) -> Owned:
    """Layers after `tokens` new ones each, which are written where there is room.

    Room is left for as many again, the next block's own. Where it is used up, storage grows by one
    part in 32: a token is copied some 32 times in all, and little is held that is not used. Keys
    after RoPE are let go of then, before the others are copied, and found anew by the next read.

    Args:
        owned: what is consumed; copied as a whole unless it grows already.
        arriving: each layer's (remembered, new) tokens.
        tokens: how many are new.
    """
    old = owned if isinstance(owned, Owned) and owned.grows else Owned()
    held = owned[0].k.shape[1] if owned else 0
    fits = old.room >= 2 * tokens
    room = old.room - tokens if fits else tokens + held // 32

    if not fits:
        old.turned.clear()

    def extended(past: Tensor, new: Tensor) -> Tensor:
        if not fits:
            return joined([past, new], room)
        whole = widened(past, tokens)
        whole[:, held:] = new
        return whole

    layers: list[LayerKV] = []
    for past, new in arriving:
        ids = layers[0].ids if layers else extended(past.ids, new.ids)
        layers.append(LayerKV(extended(past.k, new.k), extended(past.v, new.v), ids))
        del past
    after = Owned(layers, room, grows=True)
    if fits:
        after.turned, after.turned_tokens = old.turned, old.turned_tokens
    return after
