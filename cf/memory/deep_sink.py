"""A deep sink that stays next to the window (Deep Forcing, https://arxiv.org/abs/2512.05081)."""

from dataclasses import dataclass

from cf.memory.base import (
    Query,
    at_times,
    share_ids,
    side_by_side,
)
from cf.memory.sink_window import SinkWindow
from cf.types import Context, Past


@dataclass(frozen=True)
class DeepSink(SinkWindow):
    """Many first frames, moved in RoPE time so that they end where the window begins.

    What attention sees depends on distances alone, so the sink stays at 0 and the window beside it
    instead of the sink following the window.

    Attributes:
        sink_frames, window_frames: frames attended, the coming block among the window's (paper: 10
            to 14 of 21 are sink).
        as_released: the code, where the sink is moved as if the coming block were not there, so
            that a hole of one block remains between sink and window. The text wants none, and
            that is the default.
    """

    sink_frames: int = 10
    window_frames: int = 11
    as_released: bool = False

    def read(self, context: Context, query: Query) -> Past:
        """The sink at 0, the window after it."""
        past = super().read(context, query)
        if not past.layers:
            return past
        tokens = context.tokens_per_frame
        frames = past.layers[0].k.shape[1] // tokens
        layers, hole = side_by_side(past.layers, frames, tokens), 0
        if self.as_released and frames < context.start - context.first:
            # The sink first moves in the block after the one in which the window overflows.
            overflow = self.max_frames // query.frames * query.frames
            hole = overflow + query.frames - self.max_frames
            times = layers[0].ids[..., 0].clone()
            times[:, self.sink_frames * tokens :] += hole
            layers = tuple(share_ids(at_times(layer, times) for layer in layers))
        return Past(layers, float(frames + hole))
