"""Antialiased painting of figures made of rounded boxes, many frames at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Number = float | Tensor
"""The same for all figures, or one for each."""
Rgb = tuple[float, float, float]


class Box(NamedTuple):
    """A rounded box of a figure; the last one painted lies on top.

    Lengths are in units of the figure, x to the right of its anchor and y below it.

    Attributes:
        wide, tall: half of each side.
        round: radius of the corners; None rounds the shorter side off completely.
        lean: sine of the angle by which the box is turned, clockwise.
        taper: how much wider it is at the foot and narrower at the top, as a share of its width;
            1 makes a triangle.
        body: weight of the figure's own colour, to which `paint` is added.
        lit: that it shines on its own, whatever the light.
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
    lit: bool = False


class Figure(NamedTuple):
    """A kind of thing: what it is made of, by the swing of its limbs and the way it faces.

    Attributes:
        box: left, top, right, bottom of all that it may ever cover, in its units.
    """

    box: tuple[float, float, float, float]
    parts: Callable[[Tensor, Tensor], Sequence[Box]]


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


class _Strokes(NamedTuple):
    """Pixels to be painted over: where they lie on the canvas, with what, and whose they are."""

    where: Int[Tensor, " n"]
    paint: Float[Tensor, "4 n"]
    label: Int[Tensor, " n"]
    depth: Float[Tensor, " n"]


class Canvas:
    """Frames being painted.

    Attributes:
        colour: red, green and blue.
        label: of the thing that covers at least half of each pixel.
        depth: columns by which what is seen shifts for every column that the camera moves.
    """

    def __init__(self, frames: int, height: int, width: int) -> None:
        self.colour = torch.empty(3, frames, height, width)
        self.label = torch.zeros(frames, height, width, dtype=torch.long)
        self.depth = torch.zeros(frames, height, width)

    def cover(
        self,
        coverage: Float[Tensor, "f rows w"],
        colour: Float[Tensor, "3 f rows 1"],
        depth: Float[Tensor, " f"] | None = None,
    ) -> None:
        """Lay a colour over the lowest rows of the frames, as much as it covers them.

        Without a depth that of what was there remains.
        """
        top = self.label.shape[1] - coverage.shape[1]
        colours, depths = self.colour[:, :, top:], self.depth[:, top:]
        colours.lerp_(colour.expand_as(colours), coverage.expand_as(colours))
        if depth is not None:
            depths.copy_(torch.where(coverage > 0.5, depth[:, None, None], depths))

    def stamp(self, figures: Sequence[Figure], cast: Cast) -> Int[Tensor, "f slots"]:
        """Paint a cast, and tell how many pixels each would cover if nothing hid it.

        What lies wholly outside the picture is not painted and has no pixels.
        """
        area, near = torch.zeros_like(cast.kind), self._near(figures, cast)
        slots: list[list[_Strokes]] = [[] for _ in range(cast.kind.shape[1])]
        for kind in cast.kind[near].unique().tolist():
            slot, frame = torch.nonzero((near & (cast.kind == kind)).T, as_tuple=True)
            some = Cast(*(field[frame, slot] for field in cast))
            pixel, inside, paint = self._patches(figures[kind], some, frame)
            area[frame, slot] = (paint[3] > 0.5).sum((1, 2))
            inside = torch.nonzero(inside.logical_and_(paint[3]).flatten())[:, 0]
            owner = inside // pixel[0].numel()
            strokes = _Strokes(
                pixel.flatten().index_select(0, inside),
                paint.flatten(1).index_select(1, inside),
                some.label.index_select(0, owner),
                some.depth.index_select(0, owner),
            )
            counts = torch.bincount(slot.index_select(0, owner), minlength=len(slots)).tolist()
            pieces = zip(*(field.split(counts, -1) for field in strokes), strict=True)
            for strokes_of, piece in zip(slots, pieces, strict=True):
                strokes_of.append(_Strokes(*piece))
        for strokes_of in slots:
            if strokes_of:
                self._lay(_Strokes(*(torch.cat(x, -1) for x in zip(*strokes_of, strict=True))))
        return area

    def _near(self, figures: Sequence[Figure], cast: Cast) -> Bool[Tensor, "f slots"]:
        """What may touch the picture; figures may face either way."""
        boxes = torch.tensor([figure.box for figure in figures])[cast.kind.clamp(min=0)]
        reach = torch.maximum(-boxes[..., 0], boxes[..., 2]) * cast.unit[..., 1] + 1
        inside = (cast.column > -reach) & (cast.column < self.label.shape[2] + reach)
        return (cast.kind >= 0) & inside

    def _patches(
        self, figure: Figure, cast: Cast, frame: Int[Tensor, " n"]
    ) -> tuple[
        Int[Tensor, "n rows columns"],
        Bool[Tensor, "n rows columns"],
        Float[Tensor, "4 n rows columns"],
    ]:
        """Of the pixels around each figure: where on the canvas, whether on it, rgb and alpha.

        The colours are multiplied by alpha.
        """
        _, height, width = self.label.shape
        left, top, right, bottom = figure.box
        reach = max(-left, right)
        down, across = cast.unit.unbind(-1)
        first_row = (cast.row + top * down).floor() - 1
        first_column = (cast.column - reach * across).floor() - 1
        rows = int(((bottom - top) * down.max()).ceil()) + 3
        columns = int((2 * reach * across.max()).ceil()) + 3
        row = first_row[:, None] + torch.arange(rows)
        column = first_column[:, None] + torch.arange(columns)
        on_row, on_column = (row >= 0) & (row < height), (column >= 0) & (column < width)
        inside = on_row[:, :, None] & on_column[:, None]
        line = (frame[:, None] * height + row.long()) * width
        pixel = line[:, :, None] + column.long()[:, None]
        y, x = row + 0.5 - cast.row[:, None], column + 0.5 - cast.column[:, None]
        paint = torch.zeros(4, *pixel.shape)
        solid = torch.ones(1, len(frame))
        for part in figure.parts(cast.swing, cast.face):
            colour = part.body * cast.colour + torch.tensor(part.paint)
            colour = colour if part.lit else colour * cast.light
            colour = torch.cat((colour.T, solid))[:, :, None, None]
            coverage = _coverage(part, y, x, cast)
            paint.lerp_(colour.expand_as(paint), coverage.expand_as(paint))
        return pixel, inside, paint

    def _lay(self, strokes: _Strokes) -> None:
        """No pixel may come twice."""
        where, paint = strokes.where, strokes.paint
        shown = 1 - paint[3]
        for old, new in zip(self.colour.flatten(1), paint[:3], strict=True):
            old.index_copy_(0, where, old.index_select(0, where) * shown + new)
        solid = torch.nonzero(paint[3] > 0.5)[:, 0]
        where = where.index_select(0, solid)
        for old, new in ((self.label, strokes.label), (self.depth, strokes.depth)):
            old.view(-1).index_copy_(0, where, new.index_select(0, solid))


def _coverage(
    part: Box, y: Float[Tensor, "n rows"], x: Float[Tensor, "n columns"], cast: Cast
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
