"""What breaks on purpose, in a module that processes can import."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from cf.bench.contestants.base import Piece
from cf.bench.contestants.controls import Truth
from cf.bench.tasks.base import Request
from cf.memory.sliding import Sliding
from cf.metrics.extractors.mean_colour import MeanColour
from cf.types import Block, Context


@dataclass(frozen=True)
class Dying(Truth):
    """Dies for one world: always, or until the file `mark` is there."""

    mark: str = ""

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        if take.item.world == 1 and not (self.mark and Path(self.mark).exists()):
            if self.mark:
                Path(self.mark).touch()
            os._exit(9)  # as the system does to whoever takes all memory
        yield from super().play(take, device)


class Breaking(MeanColour):
    """An extractor that fails, at once or of want of space."""

    def __init__(self, full: bool = False) -> None:
        self.full = full

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        raise OSError(28, "No space left on device") if self.full else RuntimeError("no features")


@dataclass(frozen=True)
class Swollen(Sliding):
    """A memory for which a card has no room once a block is to be remembered."""

    def update(self, context: Context, block: Block) -> Context:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
