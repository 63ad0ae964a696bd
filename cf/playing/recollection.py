"""How much of what was seen before comes back as it was, frame by frame while a video is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.data.world.again import away
from cf.data.world.base import Drawn, World
from cf.data.world.rooms import Rooms
from cf.metrics.fidelity.full_reference import Structure


class Recalled(NamedTuple):
    """Of one frame that shows what was out of sight for a while.

    Attributes:
        share: 1 where all is as it was, 0 where nothing is.
        seconds: since it was last in sight.
    """

    share: float
    seconds: float


class Recollection(ABC):
    """Watches one video from its first frame on."""

    @abstractmethod
    def watch(
        self, frames: Float[Tensor, "t 3 h w"], drawn: Drawn, given: int
    ) -> list[Recalled | None]:
        """What the next frames recall; None where nothing comes back.

        Args:
            frames: as they are shown.
            drawn: what the world would show along the same way.
            given: frames at the beginning of the video that were not generated.
        """


class CellRecollection(Recollection):
    """Of rooms of cells: the share of cells that are what they were when first shown.

    A cell counts while it is in view, once it has been out of view. What it was is the truth where
    a given frame showed it, else what the network itself first painted there.
    """

    def __init__(self, world: Rooms, fps: float) -> None:
        self._world, self._fps, self._frame = world, fps, 0
        self._first: dict[tuple[int, int], list[int]] = {}
        self._left: dict[tuple[int, int], int] = {}
        self._in_view: dict[tuple[int, int], int | None] = {}

    @override
    def watch(
        self, frames: Float[Tensor, "t 3 h w"], drawn: Drawn, given: int
    ) -> list[Recalled | None]:
        identities = self._world.read(frames[None], drawn.scene)[0][0]
        truth = drawn.truth
        columns = (truth.camera[0] / self._world.cell[1]).round().long().tolist()
        recalls = []
        for i, (place, first) in enumerate(zip(truth.place[0].tolist(), columns, strict=True)):
            is_given = self._frame < given
            shown = (truth.identity[0, i] if is_given else identities[i]).T.tolist()
            cells = {(place, first + j): shown[j] for j in range(self._world.view_cells)}
            recall = self._seen(cells)
            recalls.append(None if is_given else recall)
            self._frame += 1
        return recalls

    def _seen(self, cells: dict[tuple[int, int], list[int]]) -> Recalled | None:
        """Note what one frame shows; of the columns that came back, what is as it was."""
        for key in [cell for cell in self._in_view if cell not in cells]:
            del self._in_view[key]
            self._left[key] = self._frame - 1
        right = counted = longest = 0
        for key, shown in cells.items():
            if key not in self._in_view:
                last_seen = self._left.get(key)
                self._in_view[key] = None if last_seen is None else self._frame - last_seen
            lag, first = self._in_view[key], self._first.setdefault(key, shown)
            if lag is not None:
                right += sum(a == b for a, b in zip(shown, first, strict=True))
                counted += len(first)
                longest = max(longest, lag)
        return Recalled(right / counted, longest / self._fps) if counted else None


class ViewRecollection(Recollection):
    """Of places in space: SSIM against the engine's picture, where a given view comes back.

    Which views do, `cf.data.world.again` says. A view that the network itself made up has no truth
    and counts for nothing.
    """

    def __init__(self, fps: float) -> None:
        self._fps, self._alike = fps, Structure()

    @override
    def watch(
        self, frames: Float[Tensor, "t 3 h w"], drawn: Drawn, given: int
    ) -> list[Recalled | None]:
        assert drawn.path is not None
        path = drawn.path[0]
        lags = away(path, given, len(path) - len(frames)).tolist()
        back = [i for i, lag in enumerate(lags) if lag > 0]
        recalls: list[Recalled | None] = [None] * len(frames)
        if back:
            shares = self._alike(frames[back], drawn.video[0, back]).clamp(min=0).tolist()
            for i, share in zip(back, shares, strict=True):
                recalls[i] = Recalled(share, lags[i] / self._fps)
        return recalls


def recollection_of(world: World, fps: float) -> Recollection | None:
    """What watches videos of a world; None where nobody can say what comes back."""
    if isinstance(world, Rooms):
        return CellRecollection(world, fps)
    return ViewRecollection(fps) if hasattr(world, "control") else None
