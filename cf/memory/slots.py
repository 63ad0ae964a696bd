"""Entries of a slow memory: slots that samples fill each for itself, and frames made smaller."""

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Bool
from torch import Tensor

from cf.memory.base import join, pick, validity
from cf.types import LayerKV


def with_entry(
    slow: LayerKV, entry: LayerKV, novel: Bool[Tensor, " b"], capacity: int, newest_goes: bool
) -> LayerKV:
    """Slow memory after an entry, in the samples where it is `novel`.

    It fills from its end. Where a sample's `capacity` tokens are used up its oldest entry goes, or
    the newest is overwritten.
    """
    size = entry.k.shape[1]
    full = slow.k.shape[1] + size > capacity
    waiting = slow if full else padded_layer(slow, slow.k.shape[1] + size)
    filled = join([pick(waiting, slice(size, None)), entry])
    if full and newest_goes:
        room = ~validity(waiting)[:, 0]
        filled = where(room, filled, join([pick(waiting, slice(-size)), entry]))
    return where(novel, filled, waiting)


def padded_layer(layer: LayerKV, tokens: int) -> LayerKV:
    """The layer with empty tokens before it, `tokens` in all."""
    missing = tokens - layer.k.shape[1]
    if missing == 0:
        return layer
    k, v, ids = (F.pad(x, (0, 0) * (x.ndim - 2) + (missing, 0)) for x in layer[:3])
    return LayerKV(k, v, ids, F.pad(validity(layer), (missing, 0), value=False))


def where(chosen: Bool[Tensor, " b"], yes: LayerKV, no: LayerKV) -> LayerKV:
    """Per sample one layer or the other."""
    pairs = zip(yes[:3], no[:3], strict=True)
    k, v, ids = (torch.where(chosen.view(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in pairs)
    if yes.valid is None and no.valid is None:
        return LayerKV(k, v, ids)
    return LayerKV(k, v, ids, torch.where(chosen[:, None], validity(yes), validity(no)))


def pooled_by_two(layer: LayerKV, grid: tuple[int, int]) -> LayerKV:
    """Frames at half the rows and columns: mean keys, values and positions."""

    def pool(x: Tensor) -> Tensor:
        flat = x.flatten(2).unflatten(1, (-1, *grid)).permute(0, 1, 4, 2, 3)
        small: Tensor = F.avg_pool2d(flat.flatten(0, 1), 2, ceil_mode=True)
        small = small.unflatten(0, flat.shape[:2]).permute(0, 1, 3, 4, 2)
        tokens: Tensor = small.flatten(1, 3).unflatten(-1, x.shape[2:])
        return tokens

    return LayerKV(pool(layer.k), pool(layer.v), pool(layer.ids))
