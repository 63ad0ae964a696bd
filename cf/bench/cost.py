"""The cost of a video: seconds per block, frames per second, bytes of memory."""

from __future__ import annotations

import resource
import statistics
import time
from array import array
from collections.abc import Iterator

import torch
from torch import Tensor


class Stopwatch:
    """Measures the time of every piece that a generator yields, and of nothing else.

    Attributes:
        device: on which it generates; a GPU is waited for.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._seconds = array("d")  # eight bytes a block
        self._frames = 0
        self._begun = time.perf_counter()
        self._latency: float | None = None
        self._spent = 0.0
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(device)
        self.device = device

    def next(self, pieces: Iterator[Tensor], given: bool) -> Tensor | None:
        """The next piece; None if there are no more. What is given is not timed as generated."""
        began = time.perf_counter()
        piece = next(pieces, None)
        if self._cuda:
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - began
        self._spent += seconds
        if piece is not None and not given:
            if self._latency is None:
                self._latency = self._spent
            self._seconds.append(seconds)
            self._frames += len(piece)
        return piece

    def report(self) -> dict[str, float | None]:
        """The costs by name; seconds, milliseconds, frames per second and bytes.

        `first_frame_seconds` holds loading and reading what was given. Blocks are compared from
        the second on: early and late are the medians of their first and last quarter.
        """
        rest = self._seconds[1:] or self._seconds
        quarter = max(len(rest) // 4, 1)
        peak: float = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
        if self._cuda:
            peak = float(torch.cuda.max_memory_allocated(self.device))
        total = sum(self._seconds)
        return {
            "frames_per_second": self._frames / total if total else None,
            "first_frame_seconds": self._latency,
            "block_ms": statistics.median(rest) * 1000 if rest else None,
            "block_ms_early": statistics.median(rest[:quarter]) * 1000 if rest else None,
            "block_ms_late": statistics.median(rest[-quarter:]) * 1000 if rest else None,
            "peak_bytes": peak,
            "wall_seconds": time.perf_counter() - self._begun,
        }
