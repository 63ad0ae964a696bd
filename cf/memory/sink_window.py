"""What all memories share that keep the first frames and the last ones (StreamingLLM)."""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import SelectiveMemory
from cf.memory.checks import check_window


@dataclass(frozen=True)
class SinkWindow(SelectiveMemory):
    """Keep the first `sink_frames` and the last `window_frames`, the coming block among these.

    StreamingLLM (https://arxiv.org/abs/2309.17453). A subclass says where they stand in RoPE time.
    """

    sink_frames: int = 3
    window_frames: int = 9

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames)
        check_least(1, window_frames=self.window_frames)

    @property
    def max_frames(self) -> int:
        """Sink and window."""
        return self.sink_frames + self.window_frames

    def check_block(self, block_frames: int) -> None:
        """The window holds the coming block."""
        check_window(self.window_frames, block_frames)

    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """Sink and window."""
        return (frames < self.sink_frames) | (frames >= stop - self.window_frames)
