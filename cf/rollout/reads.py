"""What one block reads of a context: each distinct read prepared once, the last one held."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Literal

import torch

from cf.memory.base import Memory, Query, intact
from cf.memory.room import Owned, with_room
from cf.models.base import Backbone, Prepared, Returns
from cf.types import Block, Conditioning, Context, Past


class BlockReads:
    """The reads of one block.

    Attributes:
        context: what is read; another one after a pass that the memory took in.
        cond: the conditioning of the block's frames.
        times: the time of every step, the commit's last; empty if they are not known beforehand.
    """

    def __init__(
        self,
        student: Backbone,
        memory: Memory,
        context: Context,
        cond: Conditioning,
        frames: int,
        begin: float | None = None,
        differentiable: bool = False,
        times: Sequence[float] = (),
    ) -> None:
        self.context, self.cond = intact(context), cond
        self._student, self._memory, self._frames = student, memory, frames
        self._begin, self._differentiable, self._times = begin, differentiable, times
        self._held: tuple[tuple[Hashable, bool], Past, Prepared] | None = None

    def __call__(self, phase: Literal["denoise", "commit"], step: int) -> Prepared:
        """What the network reads in this phase and step."""
        query = Query(self._frames, self.cond, phase, step, self._student.rotate)
        network = self._student.writer if phase == "commit" else self._student
        key = (self._memory.read_key(query), network is self._student), torch.is_grad_enabled()
        if self._held is None or self._held[0] != key:
            past, prepared = self._known(key[0], network) or self._read(query, network)
            self._held = (key, past, prepared)
        if phase == "commit":
            return replace(self._held[2], step=-1, returns="block")
        returns: Returns = "both" if self._memory.remembers_noisy else "velocity"
        return replace(self._held[2], step=step, returns=returns)

    def _known(self, key: Hashable, network: Backbone) -> tuple[Past, Prepared] | None:
        """The read at hand, if only gradient to the network tells it apart: its keys stay."""
        if self._held is None or self._held[0][0] != key:
            return None
        _, past, before = self._held
        tensors = (x for layer in (*past.layers, *self.context.layers) for x in layer)
        if past.live is not None or any(x is not None and x.requires_grad for x in tensors):
            return None
        prepared = network.prepare(past._replace(layers=()), self.cond, self._times)
        return past, replace(before, text=prepared.text, times=prepared.times)

    def _read(self, query: Query, network: Backbone) -> tuple[Past, Prepared]:
        """What the memory shows, made ready."""
        self.clear()
        past = self._memory.read(self.context, query)
        if torch.is_inference_mode_enabled():
            past = self._with_room(self._without_idle_masks(past))
        if self._begin is not None:
            past = past._replace(start=self._begin, query_start=None)
        prepared = network.prepare(past, self.cond, self._times)
        return past, replace(prepared, queries=True) if self._memory.needs_queries else prepared

    def _without_idle_masks(self, past: Past) -> Past:
        """No mask where every token counts, so that attention may use its fastest kernel.

        A device is asked, once for all layers, for as long as there are masks: a slow memory that
        has filled has none from then on.
        """
        masks = {i: layer.valid for i, layer in enumerate(past.layers) if layer.valid is not None}
        if not masks or next(iter(masks.values())).is_meta:  # shapes alone: at most, all stay
            return past
        idle = torch.stack([mask.all() for mask in masks.values()]).tolist()
        layers, cache = list(past.layers), self.context.layers
        for i in (i for i, all_count in zip(masks, idle, strict=True) if all_count):
            if isinstance(cache, list) and i < len(cache) and cache[i].valid is masks[i]:
                cache[i] = cache[i]._replace(valid=None)
            layers[i] = layers[i]._replace(valid=None)
        return past._replace(layers=layers)

    def _with_room(self, past: Past) -> Past:
        """Room behind all values, one layer after the other, so that never all exist twice."""
        cache = self.context.layers
        # Key-frames are read where nothing is held yet.
        in_cache = [i < len(cache) and layer.v is cache[i].v for i, layer in enumerate(past.layers)]
        if not past.layers or (any(in_cache) and not isinstance(cache, Owned)):
            return past  # a forked context stays as it is
        room = self._frames * self.context.tokens_per_frame
        if isinstance(cache, Owned) and all(in_cache) and cache.room >= room:
            cache.turned = cache.turned or [None] * len(cache)
            in_place = past.layers is cache  # else the same tokens stand elsewhere now
            turned_tokens, cache.turned_tokens = cache.turned_tokens, cache[0].k.shape[1] * in_place
            turned_tokens *= in_place
            return past._replace(room=cache.room, turned=cache.turned, turned_tokens=turned_tokens)
        layers, past = list(past.layers), past._replace(layers=())
        for i in range(len(layers)):
            layers[i] = layers[i]._replace(v=with_room(layers[i].v, room))
            if in_cache[i] and isinstance(cache, Owned):
                cache[i] = cache[i]._replace(v=layers[i].v)
        return past._replace(layers=layers, room=room)

    def passed(self, block: Block) -> None:
        """Tell the memory of a denoising pass, which only ports of some peers' code care about."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._differentiable):
            after = self._memory.noisy(self.context, block)
        if after is not self.context:
            self.clear()
            self.context = after

    def clear(self) -> None:
        """Let go of rotated keys, before the memory makes room for the next block."""
        self._held = None
