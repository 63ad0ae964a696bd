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
        turned: each layer's keys after RoPE, in storage as long as that of the values, which the
            next read takes again.
        turned_tokens: how many of them hold, because the memory leaves frames where they were.
        shared: a fork reads the same tensors, so that nothing within them may change.
    """

    def __init__(
        self, layers: Iterable[LayerKV] = (), room: int = 0, *, grows: bool = False
    ) -> None:
        super().__init__(layers)
        self.room, self.grows = room, grows
        self.turned: list[Tensor | None] = []
        self.turned_tokens = 0
        self.shared = False


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
    length = owned[0].k.shape[1] if owned else 0
    fits = old.room >= 2 * tokens
    room = old.room - tokens if fits else tokens + length // 32

    if not fits:
        old.turned.clear()

    def extended(past: Tensor, new: Tensor) -> Tensor:
        if not fits:
            return joined([past, new], room)
        storage = widened(past, tokens)
        storage[:, length:] = new
        return storage

    layers: list[LayerKV] = []
    for past, new in arriving:
        ids = layers[0].ids if layers else extended(past.ids, new.ids)
        layers.append(LayerKV(extended(past.k, new.k), extended(past.v, new.v), ids))
        del past
    after = Owned(layers, room, grows=True)
    if fits:
        after.turned, after.turned_tokens = old.turned, old.turned_tokens
    return after


Stretches = Sequence[tuple[int, int]]
"""Half-open intervals of tokens, rising."""


def can_shift(owned: Sequence[LayerKV], new: Sequence[LayerKV], tokens: int, room: int) -> bool:
    """Whether `tokens` tokens of a layer, old and new, fit in place of those that are there."""
    return (
        isinstance(owned, Owned)
        and not owned.shared
        and not owned.grows
        and owned.room >= room
        and all(layer.k.shape[1] == tokens and layer.valid is None for layer in owned)
        and all(layer.valid is None and layer.k.dtype == owned[0].k.dtype for layer in new)
    )


def shifted(
    owned: Owned, arriving: Iterable[tuple[LayerKV, LayerKV]], kept: Stretches, new: Stretches
) -> Owned:
    """Layers of which old tokens make place for as many new ones, all in the storage that there is.

    Args:
        owned: what is consumed; `can_shift`.
        arriving: each layer's (remembered, new) tokens.
        kept: of the remembered tokens; keys after RoPE go with them.
        new: of those that arrive.
    """
    after = Owned((), owned.room)
    after.turned = owned.turned
    length = sum(stop - start for start, stop in kept)
    after.turned_tokens = length if owned.turned_tokens else 0
    ids = None
    for i, (past, arrived) in enumerate(arriving):
        if ids is None:
            ids = torch.cat([_cut(past.ids, kept), _cut(arrived.ids, new)], 1)
        for storage, tokens in ((past.k, arrived.k), (past.v, arrived.v)):
            _move(storage, kept)
            at = length
            for start, stop in new:
                storage[:, at : at + stop - start] = tokens[:, start:stop]
                at += stop - start
        turned = after.turned[i] if after.turned_tokens else None
        if turned is not None:
            _move(turned, kept)
        after.append(LayerKV(past.k, past.v, ids))
    return after


def token_stretches(frames: Sequence[int], tokens: int) -> list[tuple[int, int]]:
    """The tokens of some frames, neighbours together: [0, 1, 7] of 4 -> [(0, 8), (28, 32)]."""
    runs: list[tuple[int, int]] = []
    for i in frames:
        if runs and runs[-1][1] == i * tokens:
            runs[-1] = (runs[-1][0], (i + 1) * tokens)
        else:
            runs.append((i * tokens, (i + 1) * tokens))
    return runs


def _move(x: Tensor, stretches: Stretches) -> None:
    """Tokens to the front, in their order."""
    at = 0
    for start, stop in stretches:
        if start > at:
            source, end = x[:, start:stop], at + stop - start
            x[:, at:end] = source if end <= start else source.clone()
        at += stop - start


def _cut(x: Tensor, stretches: Stretches) -> Tensor:
    return torch.cat([x[:, start:stop] for start, stop in stretches] or [x[:, :0]], 1)
