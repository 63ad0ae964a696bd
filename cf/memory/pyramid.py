"""A window of recent frames over levels of ever smaller older ones, at a fixed size."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import (
    Memory,
    Query,
    arrivals,
    at_times,
    collect,
    ends,
    intact,
    join,
    pick,
    share_ids,
)
from cf.memory.checks import check_positions, check_window
from cf.memory.pooling import counts, half
from cf.types import Block, Context, LayerKV, Past


class Level(NamedTuple):
    """Equal frames of a context, in the order in which they lie."""

    frames: int
    grid: tuple[int, int]
    size: int
    """How often they were halved; 0 for whole frames."""

    @property
    def tokens(self) -> int:
        """Of all its frames."""
        return self.frames * self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Pyramid(Memory):
    """First frames, then older ones the smaller the older they are, then a window.

    The context of a layer lies as [sink | smallest ... | halved once | window]. A frame that leaves
    the window, or a level, is halved in rows and columns for the next one; what leaves the last is
    forgotten. Every level takes the room of `level_frames` whole frames and so holds the more
    frames the smaller they are.

    Attributes:
        sink_frames, window_frames: latent frames attended, the coming block in the window.
        level_frames: room of each level, in whole frames.
        proportional: let a token count as many times as the tokens it stands for, by adding the
            logarithm of their number to its logit (https://arxiv.org/abs/2210.09461).
        positions: "relative" places what is read from 0 on, each frame taking its share of time;
            "absolute" leaves it where it was.
    """

    sink_frames: int = 3
    window_frames: int = 6
    level_frames: int = 1
    proportional: bool = True
    positions: Literal["relative", "absolute"] = "relative"

    depth: ClassVar[int] = 1
    """Levels below the window."""

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames)
        check_least(1, window_frames=self.window_frames, level_frames=self.level_frames)
        check_positions(self.positions)

    @abstractmethod
    def shrink(self, layer: int, tokens: LayerKV, level: Level, block: Block) -> LayerKV:
        """The tokens of some frames of a level at half the rows and columns."""

    @property
    def levels(self) -> int:
        """How many sizes there are below whole frames."""
        return self.depth

    @property
    def max_frames(self) -> int:
        """Sink, levels and window."""
        return self.sink_frames + self.levels * self.level_frames + self.window_frames

    def check_block(self, block_frames: int) -> None:
        """The window holds the coming block."""
        check_window(self.window_frames, block_frames)

    def update(self, context: Context, block: Block) -> Context:
        """Append the block; what has no room left in the window or a level moves one further."""
        before, stop = self._layout(intact(context), block.grid), context.start + block.frames
        recent = context.frames[before[0].frames :]
        new_sink = min(max(context.first + self.sink_frames - context.start, 0), block.frames)
        window = (*recent, *range(context.start + new_sink, stop))
        leave = max(len(window) - max(self.window_frames - block.frames, 0), 0)
        older = sum(level.frames for level in before[1:-1]) + leave
        sink = (*context.frames[: before[0].frames], *range(context.start, stop)[:new_sink])
        after = self._split(len(sink), older, len(window) - leave, block.grid)
        folded = (
            self._fold(i, self._levels(past, before), new, after, block)
            for i, (past, new) in enumerate(arrivals(context, block))
        )
        layers = collect(share_ids(folded))
        return Context(layers, stop, (*sink, *window[leave:]), block.grid, (), context.first)

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Sink and the window's last frames; what was made smaller goes."""
        layout = self._layout(intact(context), context.grid)
        return ends(context, layout[0].frames, min(recent_frames, layout[-1].frames))

    def read(self, context: Context, query: Query) -> Past:
        """All of it, less the window's frames for which a longer block leaves no room."""
        if not context.layers:
            return Past()
        layout = self._layout(context, context.grid)
        recent = layout[-1].frames
        drop = min(max(recent + query.frames - self.window_frames, 0), recent)
        layers: Sequence[LayerKV] = context.layers
        if drop:
            old = sum(level.tokens for level in layout[:-1])
            gone = slice(old + drop * context.tokens_per_frame, None)
            layers = tuple(
                share_ids(join([pick(layer, slice(old)), pick(layer, gone)]) for layer in layers)
            )
            layout = [*layout[:-1], layout[-1]._replace(frames=layout[-1].frames - drop)]
        bias = self._bias(layers[0], layout) if self.proportional else None
        if self.positions == "absolute":
            return Past(layers, float(context.start), bias)
        times, start = _side_by_side(layout, context.tokens_per_frame, layers[0].k.device)
        return Past(tuple(share_ids(at_times(layer, times) for layer in layers)), start, bias)

    def _layout(self, context: Context, grid: tuple[int, int]) -> list[Level]:
        """What lies where in a context."""
        sink = context.sink(self.sink_frames)
        tokens, older = grid[0] * grid[1], 0
        remaining = context.layers[0].k.shape[1] if context.layers else 0
        remaining -= len(context.frames) * tokens
        for level in reversed(self._split(0, remaining, 0, grid)[1:-1]):
            count = min(remaining // (level.grid[0] * level.grid[1]), level.frames)
            older, remaining = older + count, remaining - count * level.grid[0] * level.grid[1]
        return self._split(sink, older, len(context.frames) - sink, grid)

    def _split(self, sink: int, older: int, window: int, grid: tuple[int, int]) -> list[Level]:
        """[sink, smallest, ..., halved once, window], the younger of the older frames larger."""
        levels, tokens, small = [], grid[0] * grid[1], grid
        for size in range(1, self.levels + 1):
            small = half(small)
            count = min(older, self.level_frames * tokens // (small[0] * small[1]))
            levels.append(Level(count, small, size))
            older -= count
        return [Level(sink, grid, 0), *reversed(levels), Level(window, grid, 0)]

    def _levels(self, past: LayerKV, layout: Sequence[Level]) -> list[LayerKV]:
        """A layer taken apart."""
        stops = [0]
        for level in layout:
            stops.append(stops[-1] + level.tokens)
        return [pick(past, slice(a, b)) for a, b in pairwise(stops)]

    def _fold(
        self,
        layer: int,
        levels: Sequence[LayerKV],
        new: LayerKV,
        layout: Sequence[Level],
        block: Block,
    ) -> LayerKV:
        sink, window = levels[0], levels[-1]
        missing = layout[0].tokens - sink.k.shape[1]
        parts = [join([sink, pick(new, slice(missing))])]
        arriving = join([window, pick(new, slice(missing, None))])
        newest: list[LayerKV] = []
        below = [*reversed(levels[1:-1]), None]
        for level, stored in zip(reversed(layout[1:]), below, strict=True):
            queue, leave = arriving, arriving.k.shape[1] - level.tokens
            newest.append(pick(queue, slice(leave, None)))
            if stored is None:
                break
            arriving = stored
            if leave:
                leaving = self.shrink(layer, pick(queue, slice(leave)), level, block)
                arriving = join([stored, leaving])
        return join([*parts, *reversed(newest)])

    def _bias(self, layer: LayerKV, layout: Sequence[Level]) -> Float[Tensor, "b n"]:
        tokens = counts(layout[0].grid, self.levels, layer.k.device)
        logs = [tokens[level.size].log().repeat(level.frames) for level in layout]
        return torch.cat(logs)[None].expand(layer.k.shape[0], -1)


def _side_by_side(
    layout: Sequence[Level], tokens: int, device: torch.device
) -> tuple[Float[Tensor, "1 n"], float]:
    """Times from 0 on at which a frame takes as much time as its tokens are a share of a frame."""
    times, start = [], 0.0
    for level in layout:
        per_frame = level.grid[0] * level.grid[1]
        slots = torch.arange(level.tokens, device=device) // per_frame
        times.append(start + slots * (per_frame / tokens))
        start += level.tokens / tokens
    return torch.cat(times)[None], start
