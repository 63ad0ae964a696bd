"""Slow-fast memory as Context Forcing's code has it: slots that every pass may write to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from cf.memory.base import Query, arrivals, collect, intact, join, pick, side_by_side
from cf.types import Block, Context, LayerKV, Live, Past


class _Notes(NamedTuple):
    """A layer's state: mean key of the last pass, entries written, source of the newest one."""

    key: Tensor | None
    written: Tensor
    newest: Tensor


@dataclass(frozen=True)
class Released:
    """The rule of the released source, with its consequences.

    Slots are [sink | slow | fast]; until they are full, frames simply fill them in turn. In every
    pass, noisy or not, and in every layer, the mean key of the block is compared with that of the
    pass before, whatever that was; so novelty and difference of noise level are mixed. If they
    differ, the block's first frame, as noisy as it is in this pass, goes into the next slow slot,
    over an ordinary frame that may still stand there, or pushes the oldest entry out. A block is
    promoted at most once, and not refreshed when it is clean. The block sees its own copy at once.
    The code averages similarities over a batch; here each sample decides for itself, which is the
    same for the batch of one that it is run with.

    Attributes:
        interval: promote every so many blocks, without comparing; None: compare.
    """

    sink_frames: int
    slow_frames: int
    fast_frames: int
    threshold: float
    interval: int | None
    bounded: bool

    @property
    def _size(self) -> int:
        return self.sink_frames + self.slow_frames + self.fast_frames

    def update(self, context: Context, block: Block) -> Context:
        """The last pass over a block, and then its frames into the fast slots."""
        notes: list[Tensor] = []
        tokens = block.tokens_per_frame
        slots = intact(context).layers[0].k.shape[1] // tokens if context.layers else 0
        leave = max(slots + 2 * block.frames - self._size, 0)
        stays = (self.sink_frames + self.slow_frames) * tokens

        def folded(i: int, past: LayerKV, new: LayerKV) -> LayerKV:
            past, after = self._pass(past, new, self._notes(context, i, new), context, block)
            notes.extend(_stored(after))
            layer = join((past, new))
            return join(
                [pick(layer, slice(stays)), pick(layer, slice(stays + leave * tokens, None))]
            )

        layers = collect(
            folded(i, past, new) for i, (past, new) in enumerate(arrivals(context, block))
        )
        stop = context.start + block.frames
        sink = range(context.first, min(stop, context.first + self.sink_frames))
        recent = min(self.fast_frames - block.frames, stop - context.first - len(sink))
        frames = (*sink, *range(stop - recent, stop))
        return Context(layers, stop, frames, block.grid, tuple(notes), context.first)

    def noisy(self, context: Context, block: Block) -> Context:
        """The slots after a pass over a block that is not finished."""
        layers: list[LayerKV] = []
        notes: list[Tensor] = []
        for i, new in enumerate(block.layers):
            shift = new.ids.new_tensor((context.start, 0, 0))
            new = new._replace(ids=new.ids + shift)
            past = context.layers[i] if context.layers else pick(new, slice(0))
            if isinstance(context.layers, list):
                context.layers[i] = None  # consumed, as by an update
            past, after = self._pass(past, new, self._notes(context, i, new), context, block)
            layers.append(past)
            notes += _stored(after)
        slots = collect(iter(layers)) if context.layers else ()
        return replace(context, layers=slots, state=tuple(notes))

    def read(self, context: Context, query: Query) -> Past:
        """The slots, with what this very pass writes to them."""
        if not intact(context).layers:
            return Past(start=0.0 if self.bounded else float(context.start))
        tokens = context.tokens_per_frame
        slots = context.layers[0].k.shape[1] // tokens
        drop = max(slots + query.frames - self._size, 0)
        start = float(slots - drop if self.bounded else context.start)
        placed = [self._placed(layer, tokens, drop) for layer in context.layers]
        return Past(tuple(placed), start, live=self._live(context, query, drop))

    def _live(self, context: Context, query: Query, drop: int) -> Live:
        def live(i: int, new: LayerKV, queries: Tensor) -> LayerKV:
            new = new._replace(ids=new.ids + new.ids.new_tensor((context.start, 0, 0)))
            block = Block((new,), query.frames, context.grid)
            notes = self._notes(context, i, new)
            layer, _ = self._pass(context.layers[i], new, notes, context, block)
            return self._placed(layer, context.tokens_per_frame, drop)

        return live

    def _placed(self, layer: LayerKV, tokens: int, drop: int) -> LayerKV:
        if drop:
            stays = (self.sink_frames + self.slow_frames) * tokens
            fast = pick(layer, slice(stays + drop * tokens, None))
            layer = join([pick(layer, slice(stays)), fast])
        if not self.bounded:
            return layer
        (placed,) = side_by_side([layer], layer.k.shape[1] // tokens, tokens)
        return placed

    def _pass(
        self, past: LayerKV, new: LayerKV, notes: _Notes, context: Context, block: Block
    ) -> tuple[LayerKV, _Notes]:
        """A layer's slots after a pass, and what is noted for the next."""
        key = new.k.detach().mean(1).flatten(1).float()
        after = notes._replace(key=key)
        tokens, start = block.tokens_per_frame, context.start
        slots = past.k.shape[1] // tokens
        if slots < self.sink_frames + block.frames or self.slow_frames == 0:
            return past, after
        if self.interval is not None:
            due = (start - context.first) // block.frames % self.interval == 0
            novel = torch.full_like(notes.newest, due, dtype=torch.bool)
        elif notes.key is None:
            novel = torch.ones_like(notes.newest, dtype=torch.bool)
        else:
            novel = F.cosine_similarity(key, notes.key, dim=1) < self.threshold
        novel = novel & (notes.newest != start)
        entry = pick(new, slice(tokens))
        sink, stop = self.sink_frames * tokens, (self.sink_frames + self.slow_frames) * tokens
        slow = pick(past, slice(sink, stop))
        written = self._written(slow, entry, novel, notes.written, tokens)
        layer = join([pick(past, slice(sink)), written, pick(past, slice(stop, None))])
        count = (notes.written + novel).clamp(max=self.slow_frames)
        newest = torch.where(novel, start, notes.newest)
        return layer, after._replace(written=count, newest=newest)

    def _written(
        self, slow: LayerKV, entry: LayerKV, novel: Tensor, count: Tensor, tokens: int
    ) -> LayerKV:
        """The slow slots with an entry in the next one, or after the others moved up."""
        slots = slow.k.shape[1] // tokens
        room = count < self.slow_frames
        at = torch.arange(slots, device=count.device).repeat_interleave(tokens)
        target = (novel & room)[:, None] & (at == count[:, None])
        moved = (novel & ~room)[:, None].expand_as(target)
        fields = []
        for x, e in zip(slow[:3], entry[:3], strict=True):
            shape = (*target.shape, *(1,) * (x.ndim - 2))
            fresh = e.repeat(1, slots, *(1,) * (x.ndim - 2))
            up = torch.cat((x[:, tokens:], e), 1)
            x = torch.where(target.view(shape), fresh, x)
            fields.append(torch.where(moved.reshape(shape), up, x))
        return LayerKV(fields[0], fields[1], fields[2])

    def _notes(self, context: Context, i: int, new: LayerKV) -> _Notes:
        if context.state:
            return _Notes(*context.state[3 * i : 3 * i + 3])
        nothing = torch.zeros(new.k.shape[0], dtype=torch.long, device=new.k.device)
        return _Notes(None, nothing, nothing - 1)


def _stored(notes: _Notes) -> Sequence[Tensor]:
    assert notes.key is not None, "a pass notes its key"
    return (notes.key, notes.written, notes.newest)
