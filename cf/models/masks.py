"""Which frames may attend to which, as values: dense for SDPA, block-sparse for flex attention."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from cf.bounds import check_least


@dataclass(frozen=True)
class Mask(ABC):
    """A rule over rows; a row is one frame's place in the sequence that is forwarded at once.

    Attributes:
        block_frames: frames generated jointly, with full attention inside.
        window_frames: how far back attention reaches, the query's own block included; None: all.
        sink_frames: first frames that stay visible outside the window.
        first_block_frames: frames of the first block where it differs (1: image to video).
    """

    block_frames: int = 3
    window_frames: int | None = None
    sink_frames: int = 0
    first_block_frames: int | None = None

    def __post_init__(self) -> None:
        check_least(1, block_frames=self.block_frames)
        check_least(0, sink_frames=self.sink_frames)
        if self.window_frames is not None and self.window_frames < self.block_frames:
            raise ValueError(
                f"window_frames={self.window_frames} is smaller than a block "
                f"(block_frames={self.block_frames}); a block must see itself"
            )

    def end(self, frame: Tensor) -> Tensor:
        """Index after the last frame of each frame's block."""
        first = self.block_frames if self.first_block_frames is None else self.first_block_frames
        later = first + ((frame - first) // self.block_frames + 1) * self.block_frames
        return torch.where(frame < first, first, later)

    def remembered(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether frame `key` lies in the window or the sink of frame `query`'s block."""
        if self.window_frames is None:
            return torch.ones_like(query >= key)
        return (key >= self.end(query) - self.window_frames) | (key < self.sink_frames)

    @abstractmethod
    def frame(self, row: Tensor, rows: int) -> Tensor:
        """The frame that stands at each row."""

    @abstractmethod
    def allowed(self, query: Tensor, key: Tensor, rows: int) -> Tensor:
        """Whether row `query` may attend to row `key`."""

    def frames(self, rows: int) -> Int[Tensor, " rows"]:
        """The frame at each of `rows` rows."""
        return self.frame(torch.arange(rows), rows)


class BlockCausal(Mask):
    """Every block sees itself and the blocks before it."""

    def frame(self, row: Tensor, rows: int) -> Tensor:
        """Rows are frames."""
        return row

    def allowed(self, query: Tensor, key: Tensor, rows: int) -> Tensor:
        """Earlier blocks and the own one."""
        return (key < self.end(query)) & self.remembered(query, key)


@dataclass(frozen=True)
class TeacherForcing(Mask):
    """Rows are [clean frames | the last of them, noisy]; noisy blocks see clean earlier ones.

    Attributes:
        noisy_frames: how many frames have a noisy row as well; None: all.
    """

    noisy_frames: int | None = None

    def frame(self, row: Tensor, rows: int) -> Tensor:
        """A noisy row stands where its clean one does."""
        noisy = self._noisy(rows)
        return torch.where(row < rows - noisy, row, row - noisy)

    def _noisy(self, rows: int) -> int:
        if self.noisy_frames is None and rows % 2:
            raise ValueError(f"teacher forcing takes [clean | noisy] of equal length, got {rows}")
        noisy = rows // 2 if self.noisy_frames is None else self.noisy_frames
        if not 0 < noisy <= rows - noisy:
            raise ValueError(f"{rows} rows cannot hold {noisy} noisy frames and their clean ones")
        return noisy

    def allowed(self, query: Tensor, key: Tensor, rows: int) -> Tensor:
        """Clean rows are block-causal; a noisy block sees itself and clean blocks before it."""
        clean = rows - self._noisy(rows)
        query_frame, key_frame = self.frame(query, rows), self.frame(key, rows)
        query_noisy, key_noisy = query >= clean, key >= clean
        same = self.end(query_frame) == self.end(key_frame)
        earlier = self.end(key_frame) < self.end(query_frame)
        earlier = earlier & self.remembered(query_frame, key_frame)
        return torch.where(key_noisy, query_noisy & same, earlier | (same & ~query_noisy))


def frames_at(
    rows: int, mask: Mask | None, device: torch.device
) -> tuple[Int[Tensor, " rows"], int]:
    """The frame that stands at each of `rows` rows, on the device, and the last one's."""
    if mask is None:
        return torch.arange(rows, device=device), rows - 1
    at = mask.frames(rows)
    return at.to(device), int(at[-1])


@lru_cache(maxsize=16)
def dense(mask: Mask, rows: int, tokens: int, device: torch.device) -> Bool[Tensor, "q k"]:
    """The mask over `rows` frames of `tokens` tokens each, spelled out."""
    with torch.inference_mode(False):  # a validation may ask first, training shares its answer
        row = torch.arange(rows, device=device)
        by_row = mask.allowed(row[:, None], row[None, :], rows)
        return by_row.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


@lru_cache(maxsize=16)
def block_sparse(mask: Mask, rows: int, tokens: int, device: torch.device) -> BlockMask:
    """The mask as flex attention wants it; its memory does not grow with the square of tokens."""
    length = rows * tokens
    with torch.inference_mode(False):
        return create_block_mask(
            # a lambda, since flex attention counts arguments and type checkers wrap functions
            lambda batch, head, query, key: mask.allowed(query // tokens, key // tokens, rows),
            *(None, None, length, length),
            device=str(device),
        )
