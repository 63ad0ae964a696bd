"""What a memory's settings, and its choice of frames, are held to."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

_TRIED_BLOCKS = 48
"""Over which `keep` is tried before a memory is used."""


@lru_cache(maxsize=256)
def check_forgetting(keep: Callable[[Tensor, int], Tensor], block_frames: int) -> None:
    """Raise a ValueError if a memory's `keep` wants a frame that it had dropped, and that is gone.

    Tried over the first blocks, once for each memory and length of block.
    """
    held = torch.zeros(0, dtype=torch.long)
    for stop in range(block_frames, (_TRIED_BLOCKS + 1) * block_frames, block_frames):
        whole = torch.arange(stop)
        held = torch.cat((held, whole[stop - block_frames :]))
        held = held[keep(held, stop + block_frames)]
        asked = whole[keep(whole, stop + block_frames)]
        if not torch.equal(held, asked):
            owner = type(getattr(keep, "__self__", keep)).__name__
            kept = f"of all frames before {stop} the block that comes wants {asked.tolist()}"
            raise ValueError(
                f"{owner}.keep wants back what it had dropped, and that is gone: {kept}, "
                f"and {held.tolist()} are left. Let it drop a frame once and for all, by its index "
                f"and its distance from stop; or set forgets_for_ever = False if it is meant to "
                f"depend on what is held"
            )


def kept_frames(
    keep: Callable[[Tensor, int], Tensor], frames: tuple[int, ...], stop: int, first: int
) -> tuple[int, ...]:
    """Places of the held frames that a block which ends before `stop` may read.

    Args:
        keep: a memory's choice, by numbers that count from where remembering began.
        frames: true indices of those that are held.
        stop: true index of the frame after the block.
        first: true index of the frame with which remembering began.
    """
    chosen = keep(torch.tensor(frames, dtype=torch.long) - first, stop - first)
    return tuple(int(i) for i in chosen.nonzero().flatten().tolist())


kept_again = lru_cache(maxsize=1024)(kept_frames)
"""The same, found once: every step of a training asks for the same frames."""


def check_positions(positions: str) -> None:
    """Raise a ValueError unless positions are told from the block's own or from the video's."""
    if positions not in ("relative", "absolute"):
        raise ValueError(f"positions must be relative or absolute, got {positions!r}")


def check_window(window_frames: int, block_frames: int) -> None:
    """Raise a ValueError if a window does not hold the coming block."""
    if window_frames < block_frames:
        raise ValueError(
            f"window_frames={window_frames} is smaller than a block of {block_frames} "
            f"frames; a block must see itself"
        )
