"""The contract of contestants: they make videos, piece by piece, and state rate and size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from cf.bench.tasks.base import Request, Sample, Task, VideoSpec

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
    """Whether the beginning of a long video equals a short video; None: not known."""
    in_blocks: ClassVar[bool] = True
    """Whether its pieces are the blocks in which it generates."""
    control: ClassVar[bool] = False
    """Whether it is there to be compared with: it is shown, and never ranked."""

    def missing(self) -> str:
        """What is missing, and how to get it; empty if nothing is."""
        return ""

    @abstractmethod
    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """Frame rate and size of its videos, given those that the task asks for.

        Raises:
            ValueError: if it has none of its own and none are asked for.
        """

    @abstractmethod
    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """The given frames, if any, as one piece, and then others for as long as asked.

        Raises:
            ValueError: if it cannot; what came before stands.
        """

    def kernel(self, take: Request, device: str) -> str:
        """The kernel with which its attention made a video; empty if it has none."""
        return ""

    def ways(self) -> dict[str, str]:
        """Its memory and its rollout, for tables; empty texts if it has none."""
        return {"memory": "", "rollout": ""}

    def first_block(self, at: int) -> int:
        """The number of the block in which a text of frame `at` begins; without blocks, `at`."""
        return at

    def fingerprint(self) -> str:
        """A hash of what its videos depend on besides its settings: weights, or files."""
        return ""

    def check_task(self, asked: Task) -> None:  # noqa: B027 -- most need nothing
        """Make sure, before its videos are listed, that the contestant can do what is asked for.

        Raises:
            ValueError: it cannot, or its own settings contradict each other.
        """

    def check(self, items: Sequence[Sample], name: str) -> None:  # noqa: B027 -- most need nothing
        """Make sure, before any work, that the contestant can make these videos.

        Args:
            items: the videos.
            name: of the contestant under `contestants`, for messages.

        Raises:
            ValueError: it cannot; says what is missing.
        """

    def available(self, take: Request) -> str:
        """Why it cannot make this video, before it tries; empty if it can."""
        return ""


def asked_terms(asked: VideoSpec | None, who: str) -> VideoSpec:
    """Frame rate and size that the task asks for.

    Args:
        asked: by the task; None if it leaves them open.
        who: names the contestant in the message.

    Raises:
        ValueError: the task leaves them open.
    """
    if asked is None:
        raise ValueError(f"{who} has no frame rate and size of its own; give asked.fps and size")
    return asked
