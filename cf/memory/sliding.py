"""Attention sinks and a sliding window (StreamingLLM, https://arxiv.org/abs/2309.17453)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cf.memory.base import Query, side_by_side
from cf.memory.checks import check_positions
from cf.memory.sink_window import SinkWindow
from cf.types import Context, LayerKV, Past


@dataclass(frozen=True)
class Sliding(SinkWindow):
    """Attend the first `sink_frames` and the last `window_frames`, the coming block among these.

    Self Forcing's window is `sink_frames=0`; LongLive (https://arxiv.org/abs/2509.22622) is 3 and
    9; Infinity-RoPE (https://arxiv.org/abs/2511.20649) is 1 and 5 with relative positions.

    Attributes:
        positions: "absolute" leaves frames where they were, so that the gap between sink and
            window grows with the video; "relative" counts the attended frames 0, 1, 2, ...
        as_released: positions as Infinity-RoPE codes them. Its queries stand at the end of a
            full window even while the window has room (after a flush, or where blocks do not
            divide it), away from their own keys; and without a sink the first frame of a full
            window is not rotated at all. Where its own sizes are used, nothing differs.
    """

    positions: Literal["absolute", "relative"] = "absolute"
    as_released: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positions(self.positions)
        if self.as_released and self.positions == "absolute":
            raise ValueError("as_released is about relative positions; got positions='absolute'")

    def as_mask(self) -> tuple[int, int] | None:
        """Window and sink, where frames stay where they were."""
        return (self.window_frames, self.sink_frames) if self.positions == "absolute" else None

    def read(self, context: Context, query: Query) -> Past:
        """Sink and window, as far as the coming block leaves room."""
        past = super().read(context, query)
        if not self.as_released or not past.layers:
            return past
        full = self.max_frames - query.frames
        start = context.start if context.start < self.max_frames else full
        layers = past.layers
        if self.sink_frames == 0 and min(context.frames, default=0) > context.first:
            keep = layers[0].ids.new_ones(layers[0].ids.shape[:2])
            keep[:, : context.tokens_per_frame] = 0
            ids = layers[0].ids * keep[..., None]
            layers = tuple(layer._replace(ids=ids) for layer in layers)
        return past._replace(layers=layers, query_start=float(start))

    def place(self, layers: Sequence[LayerKV], frames: int, context: Context) -> Past:
        """Where they were, or side by side from 0."""
        if self.positions == "absolute" or not layers:
            return super().place(layers, frames, context)
        return Past(side_by_side(layers, frames, context.tokens_per_frame), float(frames))
