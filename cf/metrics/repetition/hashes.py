"""Perceptual hashes of frames, and how the hashes of one video differ."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt64
from scipy.fft import dctn
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Measurement, Seen
from cf.system.opencv import cv2

BITS = 63
_HALF = 32  # bits per column: a float64 holds whole numbers of 53 bits


@dataclass(frozen=True)
class FrameHash(Measurement):
    """The 63-bit perceptual hash of each frame.

    The luma is shrunk to 32 x 32 (areas averaged); of its discrete cosine transform, the 8 x 8
    lowest frequencies but the mean are compared with their median. Kept as two whole numbers, of
    the first 32 bits and of the other 31.

    Attributes:
        rate: frames per second that are looked at.
    """

    rate: float | None = 4.0
    kept = torch.float64
    width = 2

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t 2"]:
        rows = [_hash(frame.permute(1, 2, 0).cpu().contiguous().numpy()) for frame in seen.frames]
        return torch.tensor(rows, dtype=torch.float64).view(-1, 2)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"measured": "63-bit DCT hash of 32 x 32 luma", "rate": self.rate}


def words_of(hashes: Float[Tensor, "n 2"]) -> UInt64[np.ndarray, " n"]:
    """Hashes as words, whose bits are those of the hash."""
    low, high = hashes.cpu().numpy().astype(np.uint64).T
    words: np.ndarray = low | high << np.uint64(_HALF)
    return words


def distances(
    one: UInt64[np.ndarray, " n"], other: UInt64[np.ndarray, " m"]
) -> UInt8[np.ndarray, "n m"]:
    """Bits in which each of `one` differs from each of `other`."""
    apart: np.ndarray = np.bitwise_count(one[:, None] ^ other)
    return apart


def _hash(picture: np.ndarray) -> tuple[int, int]:
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float64)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    # Rounded, lest a flat frame's bits are those of rounding errors.
    low = dctn(small * 255, norm="ortho")[:8, :8].round(3).ravel()[1:]
    bits = low > np.median(low)
    weights = _weights()
    return int(bits[:_HALF] @ weights), int(bits[_HALF:] @ weights[: BITS - _HALF])


@cache
def _weights() -> np.ndarray:
    return np.left_shift(np.int64(1), np.arange(_HALF, dtype=np.int64))
