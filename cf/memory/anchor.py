"""First block and recent ones, read by a window of blocks (Rolling Forcing's cache)."""

from collections.abc import Hashable
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from cf.memory.base import Query, side_by_side
from cf.memory.sink_window import SinkWindow
from cf.types import Context, Past


@dataclass(frozen=True)
class Anchor(SinkWindow):
    """The first frames, moved up to the recent ones that a rolling window leaves room for.

    Rolling Forcing (https://arxiv.org/abs/2509.25161): of 21 frames attended, 15 are the window
    that is being denoised, 3 the anchor, 3 the frames between. A finished block is read into the
    context alone, and then sees more of the past.

    Attributes:
        sink_frames, window_frames: frames attended, the coming ones among the window's.
        as_released: the code, where a finished block that is read into the context sees the last
            `max_frames` frames where they were, so that it loses the anchor as soon as more than
            these are held. The anchor is there for every read of the paper, and so by default.
    """

    window_frames: int = 18
    as_released: bool = False

    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """Anchor and window; as released also what a commit sees in the anchor's stead."""
        recent = self.max_frames if self.as_released else self.window_frames
        return (frames < self.sink_frames) | (frames >= stop - recent)

    def read(self, context: Context, query: Query) -> Past:
        """The anchor right before the recent frames; or as released, see above."""
        if not context.layers:
            return Past()
        stop = context.start + query.frames
        commit = self.as_released and query.phase == "commit"
        oldest = stop - (self.max_frames if commit else self.window_frames)
        sink = -1 if commit else context.first + self.sink_frames
        places = [i for i, f in enumerate(context.frames) if f < sink or f >= oldest]
        layers = self.only(context, places)
        if commit:
            return Past(layers, float(context.start))
        return Past(side_by_side(layers, len(places), context.tokens_per_frame), float(len(places)))

    def read_key(self, query: Query) -> Hashable:
        """As released, a commit reads otherwise."""
        return self.as_released and query.phase == "commit"
