"""Every frame, for ever."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cf.memory.base import SelectiveMemory


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
