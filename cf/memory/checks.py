"""What a memory's settings, and its choice of frames, are held to."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from cf.memory.base import Memory

_TRIED_BLOCKS = 48
"""Over which `keep` is tried before a memory is used."""


@lru_cache(maxsize=256)
def check_forgetting(
    keep: Callable[[Tensor, int], Tensor], block_frames: int, max_frames: int | None = None
) -> None:
    """Raise a ValueError if a memory's `keep` breaks its word over the first blocks.

    It may want no frame that it had dropped, since that is gone, and no more than `max_frames`
    with the block that comes. Tried once for each memory and length of block.
    """
    frames = torch.zeros(0, dtype=torch.long)
    for stop in range(block_frames, (_TRIED_BLOCKS + 1) * block_frames, block_frames):
        all_frames = torch.arange(stop)
        frames = torch.cat((frames, all_frames[stop - block_frames :]))
        frames = frames[_choice(keep, frames, stop + block_frames)]
        wanted = all_frames[_choice(keep, all_frames, stop + block_frames)]
        owner = _owner(keep)
        if not torch.equal(frames, wanted):
            wants = f"of all frames before {stop} the block that comes wants {wanted.tolist()}"
            raise ValueError(
                f"{owner}.keep wants back what it had dropped, and that is gone: {wants}, "
                f"and {frames.tolist()} are left. Let it drop a frame once and for all, by its "
                f"index and its distance from stop; or set forgets_for_ever = False if it is meant "
                f"to depend on what is held"
            )
        attended = len(frames) + block_frames
        if max_frames is not None and attended > max_frames:
            raise ValueError(
                f"{owner}.max_frames={max_frames} is too small: keep leaves {len(frames)} frames "
                f"of the past before {stop}, {attended} with a block of {block_frames}. Let "
                f"max_frames count all, the block included, or let keep drop more"
            )


def _owner(keep: Callable[[Tensor, int], Tensor]) -> str:
    return type(getattr(keep, "__self__", keep)).__name__


def _choice(keep: Callable[[Tensor, int], Tensor], frames: Tensor, stop: int) -> Tensor:
    """What `keep` says of the frames: yes or no of each.

    Raises:
        ValueError: it says anything else, by which wrong frames would be taken.
    """
    mask = keep(frames, stop)
    if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == frames.shape:
        return mask
    kind: str = type(mask).__name__
    if isinstance(mask, Tensor):
        kind = f"a tensor of {mask.dtype} and shape {tuple(mask.shape)}"
    raise ValueError(
        f"{_owner(keep)}.keep must return a tensor of torch.bool and shape {tuple(frames.shape)}, "
        f"True for each frame that is kept, got {kind}; compare indices, as in frames >= stop - 6"
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
    mask = _choice(keep, torch.tensor(frames, dtype=torch.long) - first, stop - first)
    return tuple(int(i) for i in mask.nonzero().flatten().tolist())


kept_again = lru_cache(maxsize=1024)(kept_frames)
"""The same, found once: every step of a training asks for the same frames."""


def checked_memory(made: object) -> Memory:
    """What stands where a memory should; a ValueError if it is none."""
    from cf.memory.base import Memory

    if isinstance(made, dict):
        raise ValueError("memory has no _target_; write _target_: mine.file.Class into its yaml")
    if not isinstance(made, Memory):
        raise ValueError(
            f"memory must be a Memory, got {type(made).__name__}; derive your class from "
            f"cf.memory.base.SelectiveMemory or cf.memory.base.Memory"
        )
    return made


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
