"""What one block reads of a context: each distinct read prepared once, the last one held."""

from collections.abc import Hashable
from dataclasses import replace
from typing import Literal

import torch

from cf.memory.base import Memory, Query, intact
from cf.models.attention import with_room
from cf.models.base import Backbone, Prepared
from cf.types import Block, Conditioning, Context, Past


class BlockReads:
    """The reads of one block.

    Attributes:
        context: what is read; another one after a pass that the memory took in.
        cond: the conditioning of the block's frames.
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
    ) -> None:
        self.context, self.cond = intact(context), cond
        self._student, self._memory, self._frames = student, memory, frames
        self._begin, self._differentiable = begin, differentiable
        self._held: tuple[Hashable, Prepared] | None = None

    def __call__(self, phase: Literal["denoise", "commit"], step: int) -> Prepared:
        """What the network reads in this phase and step."""
        query = Query(self._frames, self.cond, phase, step, self._student.rotate)
        network = self._student.writer if phase == "commit" else self._student
        key = (self._memory.read_key(query), torch.is_grad_enabled(), network is self._student)
        if self._held is None or self._held[0] != key:
            self.clear()
            past = self._memory.read(self.context, query)
            if torch.is_inference_mode_enabled():
                past = self._with_room(past)
            if self._begin is not None:
                past = past._replace(start=self._begin, query_start=None)
            prepared = network.prepare(past, self.cond)
            if self._memory.needs_queries:
                prepared = replace(prepared, queries=True)
            self._held = (key, prepared)
        return self._held[1]

    def _with_room(self, past: Past) -> Past:
        """Room behind all values, one layer after the other, so that never all exist twice."""
        held = self.context.layers
        own = [a.v is b.v for a, b in zip(past.layers, held, strict=False)]
        if not past.layers or (any(own) and not isinstance(held, list)):
            return past  # a forked context stays as it is
        room = self._frames * self.context.tokens_per_frame
        layers, past = list(past.layers), past._replace(layers=())
        for i in range(len(layers)):
            layers[i] = layers[i]._replace(v=with_room(layers[i].v, room))
            if own[i] and isinstance(held, list):
                held[i] = held[i]._replace(v=layers[i].v)
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
