"""Any memory with its older tokens held in eight bits."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from cf.memory.base import Query, collect, intact, join, pick
from cf.memory.wrapper import Wrapper
from cf.types import Block, Context, LayerKV, Past


@dataclass(frozen=True)
class Quantised(Wrapper):
    """Remembers as `memory` does, and holds all but the newest frames as int8.

    Keys (before RoPE) and values have one float32 scale for each token and head, the largest
    magnitude being 127; what was quantised once stays the same however often the memory moves it.
    The newest frames stay exact, as in KIVI (https://arxiv.org/abs/2402.02750), which quantises
    keys per channel instead: tokens come and go here, so that a channel has no fixed range. What is
    quantised takes about a quarter of float32's bytes, or half of bfloat16's. It saves what is held
    between blocks; while one is made, what it reads is there at full width, as with any memory.
    Codes carry no gradient: only the exact frames do.

    Attributes:
        exact_frames: newest frames that are not quantised.
    """

    exact_frames: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exact_frames < 0:
            raise ValueError(f"exact_frames must not be negative, got {self.exact_frames}")

    def update(self, context: Context, block: Block) -> Context:
        """Widen, let the memory within take in the block, and quantise."""
        wide = self._wide(intact(context))
        if isinstance(context.layers, list):  # inference mode: this context is consumed
            context.layers[:] = [None] * len(context.layers)
        return self._packed(self.memory.update(wide, block))

    def read(self, context: Context, query: Query) -> Past:
        """What the memory within shows of the widened context."""
        return self.memory.read(self._wide(context), query)

    def noisy(self, context: Context, block: Block) -> Context:
        """Whatever the memory within makes of it."""
        if not self.remembers_noisy:
            return context
        wide = self._wide(intact(context))
        after = self.memory.noisy(wide, block)
        return context if after is wide else self._packed(after)

    def flush(self, context: Context, recent_frames: int) -> Context:
        """As the memory within."""
        return self._packed(self.memory.flush(self._wide(intact(context)), recent_frames))

    def restart(self, context: Context, start: int) -> Context:
        """As the memory within."""
        return self._packed(self.memory.restart(self._wide(intact(context)), start))

    def _packed(self, context: Context) -> Context:
        """The newest frames as layers; codes of the others behind the inner memory's state."""
        exact = self.exact_frames * context.tokens_per_frame
        layers, state = list(context.layers), [*context.state]
        positions: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for i, layer in enumerate(layers):
            cut = max(layer.k.shape[1] - exact, 0)
            old, newest = pick(layer, slice(cut)), join([pick(layer, slice(cut, None))])
            all_ids = (layer.ids, old.ids.clone(), newest.ids)  # the first keeps its identity taken
            _, old_ids, ids = positions.setdefault(id(layer.ids), all_ids)
            state += [*_quantise(old.k), *_quantise(old.v), old_ids]
            state += [] if old.valid is None else [old.valid.clone()]
            layers[i] = newest._replace(ids=ids)
        return replace(context, layers=collect(iter(layers)), state=tuple(state))

    def _wide(self, context: Context) -> Context:
        """The context of the memory within, at full width."""
        if not context.layers:
            return context
        sizes = [5 + (layer.valid is not None) for layer in context.layers]
        first = len(context.state) - sum(sizes)
        positions: dict[tuple[int, int], Tensor] = {}
        layers, at = [], first
        for layer, size in zip(context.layers, sizes, strict=True):
            k, k_scale, v, v_scale, ids, *valid = context.state[at : at + size]
            old_k, old_v = (
                (code.float() * scale).to(layer.k.dtype)
                for code, scale in ((k, k_scale), (v, v_scale))
            )
            old = LayerKV(old_k, old_v, ids, valid[0] if valid else None)
            wide, key = join([old, layer]), (id(ids), id(layer.ids))
            layers.append(wide._replace(ids=positions.setdefault(key, wide.ids)))
            at += size
        return replace(context, layers=collect(iter(layers)), state=context.state[:first])


def _quantise(
    x: Float[Tensor, "b n heads d"],
) -> tuple[Int8[Tensor, "b n heads d"], Float[Tensor, "b n heads 1"]]:
    """Codes from -127 to 127 and their scale; quantising what was quantised changes nothing."""
    wide = x.detach().float()
    scale = wide.abs().amax(-1, keepdim=True) / 127
    scale = scale * 127 / 127  # the scale that its own largest number leads back to
    return (wide / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().to(torch.int8), scale
