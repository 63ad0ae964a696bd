"""The pieces that a contestant plays, joined to chunks of one size for the metrics."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cf.bench.contestants.base import Contestant, Piece
from cf.bench.cost import Stopwatch
from cf.bench.tasks.base import Request


def chunks(
    contestant: Contestant, take: Request, watch: Stopwatch, size: int
) -> Iterator[tuple[Piece, list[int] | None]]:
    """Chunks of at least `size` frames, with the frames at which blocks begin, up to the end."""
    held: list[Piece] = []
    marks: list[int] = []
    done, error = 0, None
    playing = contestant.play(take, watch.device)
    while done < take.frames:
        try:
            piece = watch.next(playing, given=done < take.given)
        except Exception as raised:  # told once what came before it is handed over
            error = raised
            break
        if piece is None:
            break
        marks.append(done)
        piece = piece[: take.frames - done].to("cpu", torch.float32)
        held.append(piece)
        done += len(piece)
        if sum(map(len, held)) >= size:
            yield torch.cat(held), marks if contestant.in_blocks else None
            held, marks = [], []
    if held:
        yield torch.cat(held), marks if contestant.in_blocks else None
    if error is not None:
        raise error
