"""A sink that rolls through the first frames of the video, and a sliding window."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Int
from torch import Tensor

from cf.memory.base import Query, join, pick, share_ids, side_by_side
from cf.memory.checks import check_positions
from cf.memory.sink_window import SinkWindow
from cf.types import Context, Past


@dataclass(frozen=True)
class RollingSink(SinkWindow):
    """Keeps the first `pool_frames`, of which each block attends `sink_frames` in turn.

    Rolling Sink (https://arxiv.org/abs/2602.07775), training-free: a sink that never changes pulls
    the video back to its first picture, one that rolls on as the video does lets it move within
    what training saw. The paper was known at second hand: that the sink rolls cyclically through
    early content is its rule, the pace and the order within the sink are ours. Blocks read the
    sink from frame (start * pace) of the pool on, wrapped around.

    Attributes:
        sink_frames, window_frames: latent frames attended, the coming block in the window.
        pool_frames: first frames of the video that the sink rolls through (training's 21).
        pace: frames of the pool for each frame of the video; 0 is a fixed sink.
        turn: "cycle" begins again at the end of the pool, "bounce" goes back and forth.
        positions: "relative" counts the attended frames 0, 1, 2, ...; "absolute" leaves them.
    """

    pool_frames: int = 21
    pace: float = 1.0
    turn: Literal["cycle", "bounce"] = "cycle"
    positions: Literal["relative", "absolute"] = "relative"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sink_frames > self.pool_frames:
            raise ValueError(
                f"sink_frames={self.sink_frames} must not be larger than pool_frames="
                f"{self.pool_frames}"
            )
        check_positions(self.positions)
        if self.turn not in ("cycle", "bounce"):
            raise ValueError(f"turn must be cycle or bounce, got {self.turn!r}")
        if self.pace < 0:
            raise ValueError(f"pace must not be negative, got {self.pace}")

    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """Pool and window."""
        return (frames < self.pool_frames) | (frames >= stop - self.window_frames)

    def read(self, context: Context, query: Query) -> Past:
        """The sink of this block, then the window."""
        if not context.layers:
            return Past()
        recent = context.start + query.frames - self.window_frames
        window = [i for i, frame in enumerate(context.frames) if frame >= recent]
        older = [
            i
            for i, frame in enumerate(context.frames)
            if frame < min(recent, context.first + self.pool_frames)
        ]
        at = [*self._turned(older, context.start - context.first), *window]
        tokens = context.tokens_per_frame
        parts = [slice(i * tokens, (i + 1) * tokens) for i in at] or [slice(0)]
        layers = tuple(share_ids(join([pick(x, part) for part in parts]) for x in context.layers))
        if self.positions == "absolute":
            return Past(layers, float(context.start))
        return Past(side_by_side(layers, len(at), tokens), float(len(at)))

    def _turned(self, pool: list[int], start: int) -> list[int]:
        """The sink's place in the pool when the block begins at `start`."""
        size = len(pool)
        if size <= self.sink_frames:
            return pool
        offset = int(start * self.pace)
        if self.turn == "cycle":
            return [pool[(offset + i) % size] for i in range(self.sink_frames)]
        last = size - self.sink_frames
        back = offset % (2 * last)
        offset = min(back, 2 * last - back)
        return pool[offset : offset + self.sink_frames]
