"""What stands in each cell of a frame: read by the world that drew it, beside the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Measurement, Seen
from cf.metrics.scored import Scored

_HEAD = 4
TRUTH = ("given", "place", "camera", "fresh", "identity")


@runtime_checkable
class CellWorld(Protocol):
    """A world of cells, of each of which it can tell what stands there."""

    @property
    def size(self) -> Sequence[int]:
        """Height and width of the picture in pixels."""

    @property
    def view_cells(self) -> int:
        """Cells across the picture."""

    @property
    def room_cells(self) -> int:
        """Cells across a place."""

    @property
    def num_places(self) -> int:
        """Places of a video."""

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a cell in pixels."""

    def read(self, video: Any, scene: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Identity of each cell (b t rows columns), and its mean squared error from that."""

    def rows(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Of each row of cells, what each identity is like; -1 where it is not like anything."""


@dataclass(frozen=True)
class Cells(Measurement):
    """The cells of each frame as the world reads them, with the truth beside them.

    Semantic and exact: a cell is the identity whose own picture is nearest. What must be known of
    each frame (`truth`), besides the numbers of the scene that the world needs:

    - `given`: whether the frame was handed to the model (a prompt) instead of generated,
    - `place`: which place it should show,
    - `camera`: column in pixels at its left edge in that place,
    - `fresh`: frames since the last cut; 0 where a stay begins,
    - `identity`: (rows, columns) of what should stand in each cell.

    Attributes:
        world: draws and reads the cells (`cf.data.world.rooms.Rooms`).
        scene: names in `truth` of what the world needs to read: the same in every row.
    """

    world: CellWorld
    scene: tuple[str, ...] = ("sky",)
    kept = torch.float64

    @property
    @override
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*TRUTH, *self.scene)

    @property
    def cells(self) -> int:
        """In view."""
        return len(self.world.rows()) * self.world.view_cells

    @property
    @override
    def width(self) -> int:
        return _HEAD + 3 * self.cells

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        if not len(seen.frames):
            return torch.zeros(0, self.width, dtype=torch.float64)
        size = tuple(seen.frames.shape[-2:])
        if size != tuple(self.world.size):
            raise ValueError(
                f"frames of {list(size)} pixels cannot be read by a world of "
                f"{list(self.world.size)}; give it the size of the videos"
            )
        truth = seen.truth
        scene = {name: truth[name][:1] for name in self.scene}
        painted, error = self.world.read(seen.frames[None].cpu(), scene)
        first = (truth["camera"].double() / self.world.cell[1]).round()
        head = (truth["given"], truth["place"], first, truth["fresh"])
        cells = (painted[0], truth["identity"], error[0])
        return torch.cat(
            [part.double()[:, None] for part in head]
            + [part.double().reshape(len(part), -1) for part in cells],
            1,
        )

    @override
    def provenance(self) -> dict[str, Any]:
        world = self.world
        described = {
            "size": list(world.size),
            "view_cells": world.view_cells,
            "room_cells": world.room_cells,
            "places": world.num_places,
        }
        return {"by": "world-cells", "world": type(world).__name__, **described}

    def watched(self, one: Scored) -> "Watched":
        """The numbers of a video as what they mean."""
        rows, columns = len(self.world.rows()), self.world.view_cells
        given, place, first, fresh = one.sums[:, :_HEAD].long().T
        painted, true, error = one.sums[:, _HEAD:].view(-1, 3, rows, columns).unbind(1)
        return Watched(given.bool(), place, first, fresh, painted.long(), true.long(), error)


@dataclass(frozen=True)
class Watched:
    """One video's cells, frame by frame.

    Attributes:
        given, place, fresh: as in `Cells`.
        first: column of the leftmost cell in view.
        made, true: identities; a given frame shows the truth, whatever was handed over as it.
        error: mean squared error of each cell from the nearest identity.
    """

    given: Tensor
    place: Tensor
    first: Tensor
    fresh: Tensor
    made: Tensor
    true: Tensor
    error: Tensor

    @property
    def shown(self) -> Tensor:
        """What each frame shows: the truth where it was given."""
        return torch.where(self.given[:, None, None], self.true, self.made)
