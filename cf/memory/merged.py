"""Adjacent old frames merged, so that detail fades with age by a power law."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import (
    Memory,
    Query,
    arrivals,
    collect,
    ends,
    intact,
    join,
    pick,
    share_ids,
    side_by_side,
)
from cf.memory.checks import check_positions, check_window
from cf.types import Block, Context, LayerKV, Past


@dataclass(frozen=True)
class Merged(Memory):
    """First frames, a fixed number of older entries that span ever more frames, and a window.

    The idea of FadeMem (https://arxiv.org/abs/2606.10671), whose numbers were not at hand: nothing
    is ever dropped, but an entry at age a should span about a ** power frames. When a frame leaves
    the window and there is no room, the two neighbours that are merged are those whose common span
    is the smallest for their age. Merging is the mean of keys (before RoPE), values and positions
    in which every frame counts the same. The context of a layer lies as [sink | merged | window].

    Attributes:
        sink_frames, merged_frames, window_frames: frames' worth of tokens attended, the coming
            block in the window.
        power: 0 merges evenly over the past; 1 lets spans grow in proportion to age.
        proportional: let an entry count as many times as the frames it stands for, by adding the
            logarithm of their number to its logits; false lets the past fade.
        positions: "relative" counts entries 0, 1, 2, ...; "absolute" leaves them at the mean time
            of their frames.
    """

    sink_frames: int = 1
    merged_frames: int = 5
    window_frames: int = 6
    power: float = 1.0
    proportional: bool = False
    positions: Literal["relative", "absolute"] = "relative"

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames)
        check_least(1, merged_frames=self.merged_frames, window_frames=self.window_frames)
        check_least(0, power=self.power)
        check_positions(self.positions)

    @property
    def max_frames(self) -> int:
        """Sink, merged entries and window."""
        return self.sink_frames + self.merged_frames + self.window_frames

    def check_block(self, block_frames: int) -> None:
        """The window holds the coming block."""
        check_window(self.window_frames, block_frames)

    def update(self, context: Context, block: Block) -> Context:
        """Append the block, let frames leave the window, merge what has no room."""
        sink = intact(context).sink(self.sink_frames)
        new_sink = min(max(context.first + self.sink_frames - context.start, 0), block.frames)
        stop = context.start + block.frames
        window = (*context.frames[sink:], *range(context.start + new_sink, stop))
        leave = max(len(window) - max(self.window_frames - block.frames, 0), 0)
        spans = _spans(context)
        counts = [*spans, *[1] * leave]
        groups = _plan(counts, len(window) - leave, self.merged_frames, self.power)
        parts = sink, len(spans), new_sink, block.tokens_per_frame
        folded = (_fold(past, new, parts, counts, groups) for past, new in arrivals(context, block))
        layers = collect(share_ids(folded))
        after = torch.tensor([sum(counts[a:b]) for a, b in groups], dtype=torch.long)
        frames = (*context.frames[:sink], *range(context.start, stop)[:new_sink], *window[leave:])
        return Context(layers, stop, frames, block.grid, (after,), context.first)

    def read(self, context: Context, query: Query) -> Past:
        """All of it, less the window's frames for which a longer block leaves no room."""
        if not context.layers:
            return Past()
        tokens, spans = context.tokens_per_frame, _spans(context)
        sink = context.sink(self.sink_frames)
        window = len(context.frames) - sink
        drop = min(max(window + query.frames - self.window_frames, 0), window)
        layers: Sequence[LayerKV] = context.layers
        old = sink + len(spans)
        if drop:
            parts = slice(old * tokens), slice((old + drop) * tokens, None)
            layers = tuple(share_ids(join([pick(x, part) for part in parts]) for x in layers))
        bias, entries = None, layers[0].k.shape[1] // tokens
        if self.proportional:
            bias = _log_counts([*[1] * sink, *spans, *[1] * (entries - old)], tokens, layers[0])
        if self.positions == "absolute":
            return Past(layers, float(context.start), bias)
        return Past(side_by_side(layers, entries, tokens), float(entries), bias)

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Sink and the window's last frames; what was merged goes."""
        sink = intact(context).sink(self.sink_frames)
        smaller = ends(context, sink, min(recent_frames, len(context.frames) - sink))
        return replace(smaller, state=())


def _spans(context: Context) -> list[int]:
    """Frames that each entry stands for, oldest first; on the CPU, so that nothing waits for it."""
    return context.state[0].tolist() if context.state else []


def _plan(spans: Sequence[int], recent: int, room: int, power: float) -> list[tuple[int, int]]:
    """Which neighbours, as [from, to) of `spans`, make one entry; `recent` frames are younger.

    >>> _plan([4, 1, 1, 1], recent=3, room=3, power=1.0)
    [(0, 1), (1, 3), (3, 4)]
    """
    groups = [(i, i + 1) for i in range(len(spans))]
    while len(groups) > room:
        costs, age = [], float(recent)
        for (start, mid), (_, stop) in reversed(list(pairwise(groups))):
            younger = sum(spans[mid:stop])
            total = younger + sum(spans[start:mid])
            costs.append(total / (age + total / 2) ** power)
            age += younger
        costs.reverse()
        i = costs.index(min(costs))
        groups[i : i + 2] = [(groups[i][0], groups[i + 1][1])]
    return groups


def _fold(
    past: LayerKV,
    new: LayerKV,
    parts: tuple[int, int, int, int],
    spans: Sequence[int],
    groups: Sequence[tuple[int, int]],
) -> LayerKV:
    """A layer with the block appended and its entries merged by group."""
    sink, entries, new_sink, tokens = parts
    leave = len(spans) - entries
    old = slice(sink * tokens, (sink + entries) * tokens)
    kept_sink = [pick(past, slice(sink * tokens)), pick(new, slice(new_sink * tokens))]
    window = join([pick(past, slice(old.stop, None)), pick(new, slice(new_sink * tokens, None))])
    candidates = join([pick(past, old), pick(window, slice(leave * tokens))])
    merged = [_mean(candidates, spans, group, tokens) for group in groups]
    return join([*kept_sink, *merged, pick(window, slice(leave * tokens, None))])


def _mean(
    candidates: LayerKV, spans: Sequence[int], group: tuple[int, int], tokens: int
) -> LayerKV:
    """The entries of a group as one, weighted by the frames that they stand for."""
    start, stop = group
    members = pick(candidates, slice(start * tokens, stop * tokens))
    if stop - start == 1:
        return members
    total = sum(spans[start:stop])

    def mean(x: Tensor) -> Tensor:
        entries = x.unflatten(1, (-1, tokens)).unbind(1)
        wide = torch.promote_types(x.dtype, torch.float32)
        parts = [e.to(wide) * (n / total) for e, n in zip(entries, spans[start:stop], strict=True)]
        return torch.stack(parts).sum(0).to(x.dtype)

    return LayerKV(mean(members.k), mean(members.v), mean(members.ids))


def _log_counts(counts: Sequence[int], tokens: int, like: LayerKV) -> Float[Tensor, "b n"]:
    logs = [like.ids.new_full((tokens,), math.log(count)) for count in counts]
    return torch.cat(logs)[None].expand(like.k.shape[0], -1)
