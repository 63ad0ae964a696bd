"""Every frame, for ever."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cf.memory.base import SelectiveMemory, arrivals, intact
from cf.memory.room import appended
from cf.types import Block, Context


@dataclass(frozen=True)
class Full(SelectiveMemory):
    """Attend the whole past; cost and storage grow with the video."""

    @property
    def max_frames(self) -> None:
        """No bound."""
        return None

    def as_mask(self) -> tuple[None, int]:
        """No window."""
        return None, 0

    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """All of them."""
        return torch.ones_like(frames, dtype=torch.bool)

    def update(self, context: Context, block: Block) -> Context:
        """Append the block: in place where nobody else holds the context."""
        if not torch.is_inference_mode_enabled():
            return super().update(context, block)
        tokens = block.frames * block.tokens_per_frame
        layers = appended(intact(context).layers, arrivals(context, block), tokens)
        stop = context.start + block.frames
        frames = (*context.frames, *range(context.start, stop))
        return replace(context, layers=layers, start=stop, frames=frames, grid=block.grid)
