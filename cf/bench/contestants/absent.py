"""Published networks that cannot run here, listed with what they lack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cf.bench.contestants.base import Contestant, Piece
from cf.bench.tasks.base import Request, VideoSpec


@dataclass(frozen=True)
class Absent(Contestant):
    """A network that takes no part, so that readers of a table know that it exists.

    Attributes:
        lacks: what would have to be here for it.
    """

    lacks: str = "it does not run here"

    def missing(self) -> str:
        """Why it cannot run here."""
        return self.lacks

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """It has none."""
        raise ValueError(self.lacks)

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """It makes nothing."""
        raise ValueError(self.lacks)
