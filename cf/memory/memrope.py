"""Sink, two running averages of what was forgotten, and recent frames (MemRoPE)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from cf.bounds import check_least, check_share
from cf.memory.base import (
    Memory,
    Query,
    arrivals,
    chosen_frames,
    collect,
    ends,
    intact,
    join,
    pick,
    share_ids,
    side_by_side,
)
from cf.types import Block, Context, LayerKV, Past

_AVERAGES = 2
"""One that follows slowly and one that follows fast."""


@dataclass(frozen=True)
class MemRope(Memory):
    """First frames, a slow and a fast average of the frames that left, and the most recent ones.

    MemRoPE (https://arxiv.org/abs/2603.12513): keys are averaged before RoPE, and everything that
    is attended stands at positions counted from 0. Averages take their place, one frame each,
    when more than `max_frames` would be attended.

    Attributes:
        window_frames: recent frames attended, the coming block among them, once there are
            averages; the paper's 3 + 2 + 4 + 3 is a sink of 3 and a window of 7.
        slow, fast: weight of each block that leaves in the two averages.
        average: over the whole of each "frame", so that all tokens of an average are the same, as
            the method is released; or per "position", as in its adaptive variant, which keeps
            rows and columns apart.
        as_released: the code, where the averages overwrite the first two frames after the sink,
            which thus are lost, and half precision rounds small steps away. By default an average
            begins with all that has left.
    """

    sink_frames: int = 3
    window_frames: int = 7
    slow: float = 0.01
    fast: float = 0.1
    average: Literal["frame", "position"] = "frame"
    as_released: bool = False

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames)
        check_least(1, window_frames=self.window_frames)
        check_share(slow=self.slow, fast=self.fast)
        if self.average not in ("frame", "position"):
            raise ValueError(f"average must be frame or position, got {self.average!r}")

    @property
    def max_frames(self) -> int:
        """Sink, averages and window."""
        return self.sink_frames + _AVERAGES + self.window_frames

    def check_block(self, block_frames: int) -> None:
        """Besides the coming block the window holds a frame."""
        if self.window_frames <= block_frames:
            raise ValueError(
                f"window_frames={self.window_frames} must be larger than a block of "
                f"{block_frames} frames"
            )

    def update(self, context: Context, block: Block) -> Context:
        """Append the block, and average what leaves the window."""
        tokens, stop = block.tokens_per_frame, context.start + block.frames
        history = (*context.frames, *range(context.start, stop))
        sink = sum(frame < context.first + self.sink_frames for frame in history)
        begun = self._begun(context)
        over = len(history) + (_AVERAGES if begun else 0) + block.frames - self.max_frames
        leave = max(over if begun or over <= 0 else over + _AVERAGES, 0)
        exact: list[Tensor] = []

        def folded(past: LayerKV, new: LayerKV, before: Sequence[Tensor]) -> LayerKV:
            split = (sink if begun else len(context.frames)) * tokens
            averages = pick(past, slice(split, split + _AVERAGES * tokens))
            layer = join(
                [
                    pick(past, slice(split)),
                    pick(past, slice(split + averages.k.shape[1], None)),
                    new,
                ]
            )
            gone, first = pick(layer, slice(sink * tokens, (sink + leave) * tokens)), not begun
            if leave:
                averages, before = self._averaged(averages, gone, before, tokens, first)
            exact.extend(before)
            recent = pick(layer, slice((sink + leave) * tokens, None))
            return join([pick(layer, slice(sink * tokens)), averages, recent])

        layers = collect(
            share_ids(
                folded(past, new, context.state[2 * i : 2 * i + 2])
                for i, (past, new) in enumerate(arrivals(context, block))
            )
        )
        frames, state = history[:sink] + history[sink + leave :], tuple(x.detach() for x in exact)
        return replace(
            context, layers=layers, start=stop, frames=frames, grid=block.grid, state=state
        )

    def read(self, context: Context, query: Query) -> Past:
        """All of it side by side from 0, less recent frames for which there is no room."""
        if not intact(context).layers:
            return Past()
        tokens = context.tokens_per_frame
        frames = context.layers[0].k.shape[1] // tokens
        sink = context.sink(self.sink_frames)
        head = sink + (_AVERAGES if self._begun(context) else 0)
        drop = min(max(frames + query.frames - self.max_frames, 0), frames - head)
        layers: Sequence[LayerKV] = context.layers
        if drop:
            places = [i for i in range(frames) if not head <= i < head + drop]
            layers = tuple(share_ids(join(chosen_frames(x, places, tokens)) for x in layers))
        return Past(side_by_side(layers, frames - drop, tokens), float(frames - drop))

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Sink and recent frames; the averages begin anew."""
        sink = intact(context).sink(self.sink_frames)
        recent = min(recent_frames, len(context.frames) - sink)
        return replace(ends(context, sink, recent), state=())

    def _begun(self, context: Context) -> bool:
        length = context.layers[0].k.shape[1] if intact(context).layers else 0
        return length > len(context.frames) * context.tokens_per_frame

    def _averaged(
        self, averages: LayerKV, gone: LayerKV, before: Sequence[Tensor], tokens: int, first: bool
    ) -> tuple[LayerKV, Sequence[Tensor]]:
        """The averages after these frames have gone, and what they go on from."""
        if first and self.as_released:
            gone = pick(gone, slice(_AVERAGES * tokens, None))
        fields, exact = [], []
        for i, x in enumerate((gone.k, gone.v)):
            wide = x.dtype if self.as_released else torch.promote_types(x.dtype, torch.float32)
            new = self._mean(x.to(wide), tokens)
            if first:
                means = torch.cat((new, new), 1)
            else:
                previous = before[i] if before else (averages.k, averages.v)[i].to(wide)
                pairs = zip(previous.split(tokens, 1), (self.slow, self.fast), strict=True)
                means = torch.cat([(1 - weight) * old + weight * new for old, weight in pairs], 1)
            fields.append(means.to(x.dtype))
            exact.append(means)
        ids = gone.ids[:, :tokens].repeat(1, _AVERAGES, 1)
        return LayerKV(fields[0], fields[1], ids), exact if exact[0].dtype != gone.k.dtype else ()

    def _mean(self, x: Tensor, tokens: int) -> Tensor:
        """One frame for all of these."""
        if self.average == "frame":
            return x.mean(1, keepdim=True).expand(-1, tokens, -1, -1)
        mean: Tensor = x.unflatten(1, (-1, tokens)).mean(1)
        return mean
