"""A sink into which what leaves the window is averaged (Reward Forcing)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cf.memory.base import (
    arrivals,
    chosen_frames,
    collect,
    join,
    share_ids,
    side_by_side,
)
from cf.memory.sink_window import SinkWindow
from cf.types import Block, Context, LayerKV, Past


@dataclass(frozen=True)
class EmaSink(SinkWindow):
    """First frames that slowly become an average of all that has left the window.

    Reward Forcing (https://arxiv.org/abs/2512.04678): keys before RoPE and values, at positions
    counted from 0.

    Attributes:
        sink_frames, window_frames: frames attended, the coming block among the window's.
        decay: what a sink frame keeps of itself when a frame is averaged into it. The released
            code has .999, with which its results were made; the text says about .99.
        as_released: the code, where frames are averaged in only if as many leave at once as the
            sink holds, and otherwise overwrite its first frames. By default the frame with index
            j is averaged into sink frame j modulo `sink_frames`, which is the same where blocks
            are as long as the sink; and in half precision the average does not lose its steps.
    """

    window_frames: int = 6
    decay: float = 0.999
    as_released: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], got {self.decay}")

    def place(self, layers: Sequence[LayerKV], frames: int, context: Context) -> Past:
        """Side by side from 0."""
        return Past(side_by_side(layers, frames, context.tokens_per_frame), float(frames))

    def update(self, context: Context, block: Block) -> Context:
        """Append the block, and average what leaves the window into the sink."""
        frames, places = self.retained(context, block)
        gone = sorted(set(range(len(frames))) - set(places))
        merges = self._merges([frames[i] - context.first for i in gone], gone)
        exact: list[Tensor] = []

        def folded(past: LayerKV, new: LayerKV, before: Sequence[Tensor]) -> LayerKV:
            layer = join((past, new))
            if merges:
                layer, before = self._merge(layer, merges, before, block.tokens_per_frame)
            exact.extend(before)
            return join(chosen_frames(layer, places, block.tokens_per_frame))

        layers = collect(
            share_ids(
                folded(past, new, context.state[2 * i : 2 * i + 2])
                for i, (past, new) in enumerate(arrivals(context, block))
            )
        )
        return replace(
            context,
            layers=layers,
            start=context.start + block.frames,
            frames=tuple(frames[i] for i in places),
            grid=block.grid,
            state=tuple(x.detach() for x in exact),
        )

    def _merges(self, frames: Sequence[int], places: Sequence[int]) -> list[tuple[int, int, float]]:
        """(sink frame, place of what comes into it, its weight), oldest first."""
        if not self.sink_frames:
            return []
        if self.as_released and len(frames) != self.sink_frames:
            return [(slot, place, 1.0) for slot, place in enumerate(places[: self.sink_frames])]
        slots = range(len(frames)) if self.as_released else [f % self.sink_frames for f in frames]
        return [(slot, place, 1 - self.decay) for slot, place in zip(slots, places, strict=True)]

    def _merge(
        self,
        layer: LayerKV,
        merges: Sequence[tuple[int, int, float]],
        before: Sequence[Tensor],
        tokens: int,
    ) -> tuple[LayerKV, Sequence[Tensor]]:
        """The layer with its sink averaged, and what the averages go on from if not from there."""
        fields, exact = [], []
        for i, x in enumerate((layer.k, layer.v)):
            sink_tokens = self.sink_frames * tokens
            wide = x.dtype if self.as_released else torch.promote_types(x.dtype, torch.float32)
            sink = before[i] if before else x[:, :sink_tokens].to(wide)
            frames = list(sink.split(tokens, 1))
            for slot, place, weight in merges:
                coming = x[:, place * tokens : (place + 1) * tokens].to(wide)
                frames[slot] = (1 - weight) * frames[slot] + weight * coming
            sink = torch.cat(frames, 1)
            fields.append(torch.cat((sink.to(x.dtype), x[:, sink_tokens:]), 1))
            exact.append(sink)
        narrow = exact[0].dtype != layer.k.dtype
        return layer._replace(k=fields[0], v=fields[1]), exact if narrow else ()
