"""Antialiased painting of figures made of rounded boxes, many frames at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Number = float | Tensor
"""The same for all figures, or one for each."""
Rgb = tuple[float, float, float]


class Part(NamedTuple):
    """A rounded box of a figure; the last one painted lies on top.

    Lengths are in units of the figure, x to the right of its anchor and y below it.

    Attributes:
        wide, tall: half of each side.
        round: radius of the corners; None rounds the shorter side off completely.
        lean: sine of the angle by which the box is turned, clockwise.
        taper: how much wider it is at the foot and narrower at the top, as a share of its width;
            1 makes a triangle.
        body: weight of the figure's own colour, to which `paint` is added.
    """

    x: Number
    y: Number
    wide: Number
    tall: Number
    round: float | None = None
    lean: Number = 0.0
    taper: float = 0.0
    body: float = 1.0
    paint: Rgb = (0.0, 0.0, 0.0)


class Figure(NamedTuple):
    """A kind of thing: what it is made of, by the swing of its limbs and the way it faces.

    Attributes:
        box: left, top, right, bottom of all that it may ever cover, in its units.
    """

    box: tuple[float, float, float, float]
    parts: Callable[[Tensor, Tensor], Sequence[Part]]


class Cast(NamedTuple):
    """What stands where in each frame; a later slot stands in front of an earlier one.

    Attributes:
        kind: index of a figure; -1 for an empty slot.
        label: what its pixels are called; 0 leaves them part of the background.
        row, column: anchor, in pixels of the picture.
        unit: pixels of a unit, down and across.
        swing: of its legs, wings and so on, in [-1, 1].
        face: 1 to the right, -1 to the left; between them it is turning.
        colour: rgb of its body.
        light: by which all of its colours are multiplied.
        depth: columns by which it shifts for every column that the camera moves.
    """

    kind: Int[Tensor, "f slots"]
    label: Int[Tensor, "f slots"]
    row: Float[Tensor, "f slots"]
    column: Float[Tensor, "f slots"]
    unit: Float[Tensor, "f slots 2"]
    swing: Float[Tensor, "f slots"]
    face: Float[Tensor, "f slots"]
    colour: Float[Tensor, "f slots 3"]
    light: Float[Tensor, "f slots 3"]
    depth: Float[Tensor, "f slots"]


class Canvas:
    """Frames being painted; a spare pixel at the end takes what falls outside the picture.

    Attributes:
        colour: red, green and blue.
        label: of the thing that covers at least half of each pixel.
        depth: columns by which what is seen shifts for every column that the camera moves.
    """

    def __init__(self, frames: int, height: int, width: int) -> None:
        self.shape = (frames, height, width)
        pixels = frames * height * width
        self._colour = torch.empty(3, pixels + 1)
        self._label = torch.zeros(pixels + 1, dtype=torch.long)
        self._depth = torch.zeros(pixels + 1)
        self.colour = self._colour[:, :-1].view(3, *self.shape)
        self.label = self._label[:-1].view(self.shape)
        self.depth = self._depth[:-1].view(self.shape)

    def cover(
        self, coverage: Float[Tensor, "f h w"], colour: Float[Tensor, "3 f #h #w"], depth: Number
    ) -> None:
        """Lay a colour over the frames, where and as much as it covers them."""
        self.colour.lerp_(colour.expand_as(self.colour), coverage.expand_as(self.colour))
        depth = torch.as_tensor(depth).view(-1, 1, 1)
        torch.where(coverage > 0.5, depth, self.depth, out=self.depth)

    def stamp(self, figures: Sequence[Figure], cast: Cast) -> Int[Tensor, "f slots"]:
        """Paint a cast, and tell how many pixels each would cover if nothing hid it.

        What lies wholly outside the picture is not painted and has no pixels.
        """
        area = torch.zeros_like(cast.kind)
        near = self._near(figures, cast)
        sheets = []
        for kind in cast.kind[near].unique().tolist():
            frame, slot = torch.nonzero(near & (cast.kind == kind), as_tuple=True)
            pixel, paint = self._patches(figures[kind], Cast(*(x[frame, slot] for x in cast)), frame)
            area[frame, slot] = (paint[3] > 0.5).sum((1, 2))
            sheets.append((frame, slot, pixel, paint))
        for slot in range(cast.kind.shape[1]):
            for frame, slots, pixel, paint in sheets:
                here = torch.nonzero(slots == slot)[:, 0]
                if len(here):
                    where = pixel[here].flatten()
                    self._lay(where, paint[:, here].flatten(1))
                    solid = torch.nonzero(paint[3, here].flatten() > 0.5)[:, 0]
                    source = frame[here][solid // pixel[0].numel()]
                    self._label[where[solid]] = cast.label[source, slot]
                    self._depth[where[solid]] = cast.depth[source, slot]
        return area

    def _near(self, figures: Sequence[Figure], cast: Cast) -> Bool[Tensor, "f slots"]:
        """What may touch the picture; figures may face either way."""
        boxes = torch.tensor([figure.box for figure in figures])[cast.kind.clamp(min=0)]
        reach = torch.maximum(-boxes[..., 0], boxes[..., 2]) * cast.unit[..., 1] + 1
        inside = (cast.column > -reach) & (cast.column < self.shape[2] + reach)
        return (cast.kind >= 0) & inside

    def _patches(
        self, figure: Figure, cast: Cast, frame: Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, "n rows columns"], Float[Tensor, "4 n rows columns"]]:
        """Where the pixels around each figure lie on the canvas, and its colours and coverage."""
        _, height, width = self.shape
        left, top, right, bottom = figure.box
        reach = max(-left, right)
        down, across = cast.unit.unbind(-1)
        first_row = (cast.row + top * down).floor() - 1
        first_column = (cast.column - reach * across).floor() - 1
        rows = int(((bottom - top) * down.max()).ceil()) + 3
        columns = int((2 * reach * across.max()).ceil()) + 3
        row = first_row[:, None] + torch.arange(rows)
        column = first_column[:, None] + torch.arange(columns)
        inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[
            :, None
        ]
        pixel = (frame[:, None] * height + row.long())[:, :, None] * width + column.long()[:, None]
        pixel = torch.where(inside, pixel, self._label.numel() - 1)
        y, x = row + 0.5 - cast.row[:, None], column + 0.5 - cast.column[:, None]
        paint = torch.zeros(4, *pixel.shape)
        colour = torch.ones(4, len(frame))
        for part in figure.parts(cast.swing, cast.face):
            inner = part.body * cast.colour + torch.tensor(part.paint)
            colour = torch.cat(((inner * cast.light).T, torch.ones(1, len(frame))))
            coverage = _coverage(part, y, x, cast)
            paint.lerp_(colour[:, :, None, None].expand_as(paint), coverage.expand_as(paint))
        return pixel, paint

    def _lay(self, where: Int[Tensor, " n"], paint: Float[Tensor, "4 n"]) -> None:
        behind = self._colour[:, where]
        self._colour[:, where] = behind * (1 - paint[3]) + paint[:3]


def _coverage(
    part: Part, y: Float[Tensor, "n rows"], x: Float[Tensor, "n columns"], cast: Cast
) -> Float[Tensor, "n rows columns"]:
    """Share of each pixel that a part covers, by the distance of its centre from the edge."""
    down, across = cast.unit.unbind(-1)
    x = (x - (part.x * cast.face * across)[:, None])[:, None, :]
    y = (y - (part.y * down)[:, None])[:, :, None]
    wide, tall = part.wide * across, part.tall * down
    corner = torch.minimum(wide, tall)
    if part.round is not None:
        corner = torch.minimum(corner, part.round * torch.minimum(down, across))
    # A corner of half a pixel at least: then only distances outside the inner box matter.
    corner = corner.clamp(min=0.5)[:, None, None]
    wide, tall = wide[:, None, None], tall[:, None, None]
    if isinstance(part.lean, Tensor) or part.lean:
        sine = (part.lean * cast.face)[:, None, None]
        cosine = (1 - sine * sine).sqrt()
        x, y = cosine * x + sine * y, cosine * y - sine * x
    beside = x.abs() - (wide - corner).clamp(min=0)
    if part.taper:
        slope = part.taper * wide / tall
        beside = (beside - slope * y) / (1 + slope * slope).sqrt()
    beyond = y.abs() - (tall - corner).clamp(min=0)
    beside, beyond = beside.clamp(min=0), beyond.clamp(min=0)
    distance = (beside * beside + beyond * beyond).sqrt()
    return (corner + 0.5 - distance).clamp(0, 1)
