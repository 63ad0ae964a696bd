"""Who takes part: something that makes a video, piece after piece, on terms that it states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from cf.bench.tasks.base import Request, Sample, VideoSpec

Piece = Float[Tensor, "t 3 h w"]
"""Neighbouring frames in [0, 1]."""


@dataclass(frozen=True)
class Contestant(ABC):
    """Makes videos.

    Attributes:
        source: where it comes from: a paper, a repository, a run.
        note: in what it differs from its source, for the report.
    """

    source: str = ""
    note: str = ""

    causal: ClassVar[bool | None] = True
    """Whether the beginning of a long video is what a short one would be; None: not known."""
    in_blocks: ClassVar[bool] = True
    """Whether its pieces are the blocks in which it generates."""
    control: ClassVar[bool] = False
    """Whether it is there to be compared with: it is shown, and never ranked."""

    def missing(self) -> str:
        """What is not at hand, and how it is had; empty if nothing is."""
        return ""

    @abstractmethod
    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """On which terms it makes videos, given those that are asked for.

        Raises:
            ValueError: if it has none of its own and none are asked for.
        """

    @abstractmethod
    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """The given frames, if any, as one piece, and then others for as long as asked.

        Raises:
            ValueError: if it cannot; what came before stands.
        """

    def ways(self) -> dict[str, str]:
        """How it remembers and generates, for tables; for whoever does neither, empty texts."""
        return {"memory": "", "rollout": ""}

    def first_block(self, at: int) -> int:
        """The number of the block with which a text of frame `at` begins; of the frame, if none."""
        return at

    def fingerprint(self) -> str:
        """A hash of what its videos depend on besides its settings: weights, or files."""
        return ""

    def check(self, items: Sequence[Sample], name: str) -> None:  # noqa: B027 -- most need nothing
        """Make sure, before any work, that what is asked for can be told from what there is.

        Attributes:
            name: under `contestants`, for messages.

        Raises:
            ValueError: it cannot; says what is missing.
        """

    def available(self, take: Request) -> str:
        """Why this one video cannot be had, before it is tried; empty if it can."""
        return ""


def asked_terms(asked: VideoSpec | None, who: str) -> VideoSpec:
    """Those that are asked for.

    Raises:
        ValueError: if there are none.
    """
    if asked is None:
        raise ValueError(f"{who} has no frame rate and size of its own; give asked.fps and size")
    return asked
