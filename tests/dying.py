"""A contestant that takes its process with it, in a module that processes can import."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cf.bench.contestants.base import Piece
from cf.bench.contestants.controls import Truth
from cf.bench.tasks.base import Request


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
