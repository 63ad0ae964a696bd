"""Of which tensors a joined one was made, so that it can be joined again and need not be held."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_pieces: WeakTensorKeyDictionary | None = None


@contextmanager
def holding_pieces(on: bool) -> Iterator[None]:
    """Within, what memories join is known by its pieces, which live as long as the whole.

    Args:
        on: whether somebody asks; else nothing is held.
    """
    global _pieces
    before, _pieces = _pieces, WeakTensorKeyDictionary() if on else None
    try:
        yield
    finally:
        _pieces = before


def pieces_of(whole: Tensor) -> tuple[Tensor, ...] | None:
    """What joined along the tokens is the tensor; None where nobody asks, or gradient is in it."""
    if _pieces is None or whole.requires_grad:
        return None
    pieces: tuple[Tensor, ...] = _pieces.get(whole, (whole,))
    return pieces


def join_tokens(parts: Sequence[Tensor]) -> Tensor:
    """The parts one after the other, in storage of their own."""
    tensor = torch.cat([*parts], 1)
    pieces = [pieces_of(part) for part in parts]
    if _pieces is not None and not tensor.requires_grad:
        _pieces[tensor] = tuple(piece for some in pieces for piece in some or () if piece.shape[1])
    return tensor


def cut_tokens(whole: Tensor, tokens: slice) -> Tensor:
    """Some tokens, as a view."""
    view, pieces = whole[:, tokens], pieces_of(whole)
    if _pieces is None or pieces is None or len(pieces) < 2:
        return view
    start, stop, _ = tokens.indices(whole.shape[1])
    cut, begin = [], 0
    for piece in pieces:
        end = begin + piece.shape[1]
        if begin < stop and end > start:
            inside = start <= begin and end <= stop
            cut.append(piece if inside else piece[:, max(start - begin, 0) : stop - begin])
        begin = end
    _pieces[view] = tuple(cut)
    return view
