"""The pieces that a contestant plays, joined to chunks of one size for the metrics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cf.bench.contestants.base import Contestant, Piece
from cf.bench.cost import Stopwatch
from cf.bench.tasks.base import Request

_MOST = 16.0  # what is decoded may leave [0, 1] and is clamped; bytes go to 255


def chunks(
    contestant: Contestant, take: Request, watch: Stopwatch, size: int
) -> Iterator[tuple[Piece, list[int] | None]]:
    """Chunks of at least `size` frames, with the frames at which blocks begin, up to the end."""
    pieces: list[Piece] = []
    marks: list[int] = []
    frame, error = 0, None
    playing = contestant.play(take, watch.device)
    while frame < take.frames:
        try:
            piece = watch.next(playing, given=frame < take.given)
        except Exception as raised:  # told once what came before it is handed over
            error = raised
            break
        if piece is None:
            break
        marks.append(frame)
        try:
            piece = _checked(piece, take)[: take.frames - frame]
        except ValueError as raised:
            error = raised
            break
        pieces.append(piece)
        frame += len(piece)
        if sum(map(len, pieces)) >= size:
            yield torch.cat(pieces), marks if contestant.in_blocks else None
            pieces, marks = [], []
    if pieces:
        yield torch.cat(pieces), marks if contestant.in_blocks else None
    if error is not None:
        raise error


def _checked(piece: Piece, take: Request) -> Piece:
    """The piece in float32 on the CPU.

    Raises:
        ValueError: it is no piece; otherwise bytes would be clamped to white, and a contestant
            that plays nothing for ever would never end.
    """
    if not isinstance(piece, Tensor) or not piece.is_floating_point():
        kind = f"a tensor of {piece.dtype}" if isinstance(piece, Tensor) else type(piece).__name__
        raise ValueError(f"a piece must be a tensor of floats in [0, 1], got {kind}; convert it")
    height, width = take.terms.size
    if piece.ndim != 4 or tuple(piece.shape[1:]) != (3, height, width) or not len(piece):
        raise ValueError(
            f"a piece must be (frames, 3, {height}, {width}) with a frame or more, got "
            f"{tuple(piece.shape)}; a video ends where its iterator does"
        )
    piece = piece.to("cpu", torch.float32)
    if (most := float(piece.abs().amax())) > _MOST:
        raise ValueError(f"a piece must hold floats in [0, 1], got {most:g}; divide by 255")
    return piece
