"""Attention sinks and a sliding window (StreamingLLM, https://arxiv.org/abs/2309.17453)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cf.memory.base import SelectiveMemory, at_times, share_ids
from cf.types import Context, LayerKV, Past


@dataclass(frozen=True)
class Sliding(SelectiveMemory):
    """Attend the first `sink_frames` and the last `window_frames`, the coming block among these.

    Self Forcing's window is `sink_frames=0`; LongLive (https://arxiv.org/abs/2509.22622) is 3 and
    9; Infinity-RoPE (https://arxiv.org/abs/2511.20649) is 1 and 5 with relative positions.

    Attributes:
        positions: "absolute" leaves frames where they were, so that the gap between sink and
            window grows with the video; "relative" counts the attended frames 0, 1, 2, ...
    """

    sink_frames: int = 3
    window_frames: int = 9
    positions: Literal["absolute", "relative"] = "absolute"

    def __post_init__(self) -> None:
        if self.sink_frames < 0 or self.window_frames < 1:
            raise ValueError(
                f"sink_frames={self.sink_frames} must not be negative and "
                f"window_frames={self.window_frames} must be at least 1"
            )
        if self.positions not in ("absolute", "relative"):
            raise ValueError(f"positions must be absolute or relative, got {self.positions!r}")

    @property
    def max_frames(self) -> int:
        """Sink and window."""
        return self.sink_frames + self.window_frames

    def check_block(self, block_frames: int) -> None:
        """The window holds the coming block."""
        if self.window_frames < block_frames:
            raise ValueError(
                f"window_frames={self.window_frames} is smaller than a block of {block_frames} "
                f"frames; a block must see itself"
            )

    def as_mask(self) -> tuple[int, int] | None:
        """Window and sink, where frames stay where they were."""
        return (self.window_frames, self.sink_frames) if self.positions == "absolute" else None

    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """Sink and window."""
        return (frames < self.sink_frames) | (frames >= stop - self.window_frames)

    def place(self, layers: Sequence[LayerKV], frames: int, context: Context) -> Past:
        """Where they were, or side by side from 0."""
        if self.positions == "absolute" or not layers:
            return super().place(layers, frames, context)
        slots = torch.arange(frames, device=layers[0].k.device)
        times = slots.repeat_interleave(context.tokens_per_frame)[None].float()
        return Past(tuple(share_ids(at_times(layer, times) for layer in layers)), float(frames))
