"""A world whose camera a person steers, frame by frame, as its own plans steer it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from typing_extensions import override

from cf.data.world.base import Film, World

KEYS = ("ahead", "left", "back", "right")
"""What a person may hold down, in the order of W, A, S and D."""
Standpoint = tuple[int, ...]
"""Where the camera is in one frame, in numbers of its world's own."""


class Stage(ABC):
    """One numbered video of a world, whose camera goes where it is told."""

    @abstractmethod
    def planned(self, frames: int) -> list[Standpoint]:
        """The way that the world's own plan takes, from the first frame on."""

    @abstractmethod
    def moved(self, at: Standpoint, keys: Collection[str], edge: bool) -> Standpoint:
        """Where the camera is in the next frame; it always stands in the world.

        Args:
            at: where it is now.
            keys: those of `KEYS` that are held down; others mean nothing.
            edge: whether a block begins with the next frame.
        """

    @abstractmethod
    def film(self, way: Sequence[Standpoint]) -> Film:
        """The video along a way, yet to be painted: of the planned way, that of `World.film`."""


class SteeredWorld(World):
    """A world of stages.

    Attributes:
        told: what each of `KEYS` does, in words; a key without words does nothing.
    """

    told: ClassVar[Mapping[str, str]]

    @abstractmethod
    def stage(self, seed: int, number: int) -> Stage:
        """The video of this number."""

    @abstractmethod
    def filmed(self, stages: Sequence[Stage], ways: Sequence[Sequence[Standpoint]]) -> Film:
        """Videos of these stages along ways of one length."""

    @override
    def film(self, seed: int, numbers: Sequence[int], frames: int) -> Film:
        stages = [self.stage(seed, number) for number in numbers]
        return self.filmed(stages, [stage.planned(frames) for stage in stages])


def across(keys: Collection[str]) -> int:
    """1 to the right, -1 to the left, 0 for neither or both."""
    return ("right" in keys) - ("left" in keys)


def along(keys: Collection[str]) -> int:
    """1 ahead, -1 back, 0 for neither or both."""
    return ("ahead" in keys) - ("back" in keys)
