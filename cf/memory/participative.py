"""A deep sink, recent frames, and of those between the tokens most asked for (Deep Forcing)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float, Int
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import (
    Memory,
    Query,
    arrivals,
    at_times,
    chosen_frames,
    collect,
    ends,
    intact,
    join,
    pick,
    side_by_side,
)
from cf.types import Block, Context, LayerKV, Live, Past, Rotate

_LITERAL = 21
"""The peers' window, from which the released code places its sink whatever the sizes are."""


@dataclass(frozen=True)
class Participative(Memory):
    """Compress what lies between sink and recent frames to the tokens that queries attend most.

    Deep Forcing (https://arxiv.org/abs/2512.05081). When more than `capacity_frames` would be
    attended, the tokens between are scored by the sum of q k over the queries of the recent
    frames and over heads, and the best are kept, per layer and sample, until the next time.

    Attributes:
        recent_frames: recent frames attended after compression, the coming block among them.
        top_frames: how many frames' worth of tokens are kept of those between.
        capacity_frames: frames attended at most; compression leaves sink + top + recent.
        max_reuse: how often a token may be kept; 0: as often as it scores.
        as_released: the code, which scores in the first denoising pass of the coming block, whose
            queries are of noise; keeps the chosen tokens at the times they came from, and the sink
            a block further away than adjoining. By default finished blocks ask, as their keys are
            what is kept, and all that is read lies side by side, as the text wants it.
    """

    needs_queries: ClassVar[bool] = True
    sink_frames: int = 10
    top_frames: int = 2
    recent_frames: int = 4
    capacity_frames: int = 21
    max_reuse: int = 7
    as_released: bool = False

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames, max_reuse=self.max_reuse)
        check_least(1, top_frames=self.top_frames, recent_frames=self.recent_frames)
        if self._budget > self.capacity_frames:
            raise ValueError(
                f"capacity_frames={self.capacity_frames} is less than what compression leaves, "
                f"{self._budget} frames"
            )

    @property
    def _budget(self) -> int:
        return self.sink_frames + self.top_frames + self.recent_frames

    @property
    def max_frames(self) -> int:
        """The capacity."""
        return self.capacity_frames

    def check_block(self, block_frames: int) -> None:
        """A frame besides the coming block is recent."""
        if self.recent_frames <= block_frames:
            raise ValueError(
                f"recent_frames={self.recent_frames} must be larger than a block of "
                f"{block_frames} frames"
            )

    def update(self, context: Context, block: Block) -> Context:
        """Append the block; by default make room for the next one."""
        _checked(block)
        frames = (*context.frames, *range(context.start, context.start + block.frames))
        count = self._frames(intact(context)) + block.frames
        full = not self.as_released and count + block.frames > self.capacity_frames
        state: list[Tensor] = []

        def folded(i: int, past: LayerKV, new: LayerKV) -> LayerKV:
            layer = join((past, new))
            queries = self._window(context, block, i)
            used = context.state[2 * i + 1] if context.state else _unused(layer)
            if full:
                tokens = block.tokens_per_frame
                (placed,) = side_by_side([layer], count, tokens)
                turned = _turn(block.rotate, queries, self._last(placed, queries))
                layer, used = self._compress(layer, placed.ids, turned, used, block)
            state.extend((queries, used))
            return layer

        layers = collect(
            folded(i, past, new) for i, (past, new) in enumerate(arrivals(context, block))
        )
        return replace(
            context,
            layers=layers,
            start=context.start + block.frames,
            frames=self._left(frames, block.frames) if full else frames,
            grid=block.grid,
            state=tuple(state),
        )

    @property
    def remembers_noisy(self) -> bool:
        """As released, it does."""
        return self.as_released

    def noisy(self, context: Context, block: Block) -> Context:
        """As released, compress in the first pass of a block, and ask with every pass."""
        if not self.as_released:
            return context
        _checked(block)
        full = self._frames(context) + block.frames > self.capacity_frames
        layers, state = [], []
        for i, new in enumerate(block.layers):
            layer = context.layers[i] if context.layers else pick(new, slice(0))
            queries = self._window(context, block, i)
            used = context.state[2 * i + 1] if context.state else _unused(layer)
            if full:
                layer, used = self._compress(layer, layer.ids, queries, used, block)
            layers.append(layer)
            state += [queries, used]
        if not full:
            return replace(context, state=tuple(state))
        frames = self._left(context.frames, block.frames)
        return replace(context, layers=collect(iter(layers)), frames=frames, state=tuple(state))

    def read(self, context: Context, query: Query) -> Past:
        """All of it side by side, less what a longer block leaves no room for; or as released."""
        if not intact(context).layers:
            return Past()
        tokens, frames = context.tokens_per_frame, self._frames(context)
        drop = max(frames + query.frames - self.capacity_frames, 0)
        if self.as_released:
            start = float(context.start)
            if drop:
                return Past(start=start, live=self._live(context, query))
            layers: Sequence[LayerKV] = context.layers
            if len(context.frames) < context.start - context.first:
                recent = context.frames[self.sink_frames :]
                last = recent[0] + self.recent_frames - query.frames if recent else context.start
                layers = [self._moved(layer, tokens, last, query.frames) for layer in layers]
            return Past(tuple(layers), start)
        sink = context.sink(self.sink_frames)
        head = frames - (len(context.frames) - sink)
        layers, drop = context.layers, min(drop, frames - head)
        if drop:
            places = [i for i in range(frames) if not head <= i < head + drop]
            layers = [join(chosen_frames(layer, places, tokens)) for layer in layers]
        alike = frames == len(context.frames)
        return Past(side_by_side(layers, frames - drop, tokens, alike), float(frames - drop))

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Sink and recent frames; nothing has been asked for yet."""
        sink = intact(context).sink(self.sink_frames)
        recent = min(recent_frames, len(context.frames) - sink)
        return replace(ends(context, sink, recent), state=())

    def _live(self, context: Context, query: Query) -> Live:
        """What the first pass of a block reads: compressed by its own queries."""

        def live(i: int, new: LayerKV, queries: Tensor) -> LayerKV:
            block = Block((new,), query.frames, context.grid, (queries,), rotate=query.rotate)
            layer = context.layers[i]
            window = self._window(replace(context, state=context.state[2 * i :]), block, 0)
            used = context.state[2 * i + 1] if context.state else _unused(layer)
            compressed, _ = self._compress(layer, layer.ids, window, used, block)
            return self._moved(compressed, context.tokens_per_frame, context.start, query.frames)

        return live

    def _moved(self, layer: LayerKV, tokens: int, last: int, block_frames: int) -> LayerKV:
        """The released sink, where the compression before the block at frame `last` put it."""
        overflow = self.capacity_frames // block_frames * block_frames
        start = _LITERAL - self._budget + last - overflow
        shift = F.pad(
            layer.ids.new_full((1, self.sink_frames * tokens), float(start)),
            (0, layer.k.shape[1] - self.sink_frames * tokens),
        )
        return at_times(layer, layer.ids[..., 0] + shift)

    def _window(self, context: Context, block: Block, i: int) -> Tensor:
        """The queries of the recent frames; as released those of every pass, and after RoPE."""
        new = block.queries[i].detach()
        if self.as_released:
            shift = block.layers[i].ids.new_tensor((context.start, 0, 0))
            new = _turn(block.rotate, new, block.layers[i].ids + shift)
        before = [context.state[2 * i]] if context.state else []
        size = self.recent_frames * block.tokens_per_frame
        return torch.cat([*before, new], 1)[:, -size:]

    def _last(self, layer: LayerKV, queries: Tensor) -> Tensor:
        return layer.ids[:, layer.ids.shape[1] - queries.shape[1] :]

    def _compress(
        self,
        layer: LayerKV,
        ids: Float[Tensor, "b n 3"],
        queries: Float[Tensor, "b q heads d"],
        used: Int[Tensor, "b top"],
        block: Block,
    ) -> tuple[LayerKV, Tensor]:
        """Sink, top and recent tokens of a layer whose tokens stand at `ids`."""
        tokens = block.tokens_per_frame
        sink = self.sink_frames * tokens
        stop = layer.k.shape[1] - (self.recent_frames - block.frames) * tokens
        middle, size = pick(layer, slice(sink, stop)), self.top_frames * tokens
        keys = _turn(block.rotate, middle.k.detach(), ids[:, sink:stop])
        wide = torch.promote_types(keys.dtype, torch.float32)
        total = queries.to(wide).sum(1)
        score = torch.einsum("bhd,bnhd->bn", total, keys.to(wide))
        used = F.pad(used, (0, score.shape[1] - used.shape[1]))
        if self.max_reuse:
            score = score.masked_fill(used >= self.max_reuse, -torch.inf)
        if middle.valid is not None:
            score = score.masked_fill(~middle.valid, -torch.inf)
        best = score.topk(size).indices.sort(1).values
        k, v, at = (
            x.gather(1, best.view(*best.shape, *(1,) * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))
            for x in middle[:3]
        )
        valid = middle.valid
        if valid is not None or score.shape[1] - size < size:  # else enough are not used up
            valid = score.gather(1, best) > -torch.inf
        top = LayerKV(k, v, at, valid)
        compressed = join([pick(layer, slice(sink)), top, pick(layer, slice(stop, None))])
        return compressed, used.gather(1, best) + 1

    def _left(self, frames: tuple[int, ...], block_frames: int) -> tuple[int, ...]:
        """The whole frames that compression leaves."""
        recent = self.recent_frames - block_frames
        return frames[: self.sink_frames] + frames[len(frames) - recent :]

    def _frames(self, context: Context) -> int:
        """How many frames' worth of tokens are held."""
        tokens = context.tokens_per_frame
        return context.layers[0].k.shape[1] // tokens if context.layers else 0


def _turn(rotate: Rotate | None, x: Tensor, ids: Tensor) -> Tensor:
    return x if rotate is None else rotate(x, ids)


def _unused(layer: LayerKV) -> Tensor:
    return layer.k.new_zeros((layer.k.shape[0], 0), dtype=torch.long)


def _checked(block: Block) -> None:
    if len(block.queries) != len(block.layers):
        raise ValueError(
            "participative memory scores with queries, which this block came without; set "
            "`queries` of what the network is prepared with"
        )
