"""How long it takes until the first frame is there, how fast the others come, how much is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch


@dataclass
class Timing:
    """Of a batch of videos; frames are those of all of them, new ones only.

    Attributes:
        first_frame_seconds: from the beginning, once all is loaded, to the first block's pixels.
        denoise_seconds, decode_seconds, write_seconds: what blocks, pixels and files took.
        seconds: in all, over every process that worked at it.
    """

    frames: int = 0
    first_frame_seconds: float = 0.0
    denoise_seconds: float = 0.0
    decode_seconds: float = 0.0
    write_seconds: float = 0.0
    seconds: float = 0.0

    def rates(self) -> dict[str, float]:
        """Frames per second, in all and of each part."""
        named = {"": self.seconds, "denoise_": self.denoise_seconds}
        named["decode_"] = self.decode_seconds
        return {f"{name}fps": self.frames / spent for name, spent in named.items() if spent > 0}

    def recorded(self) -> dict[str, float]:
        """For a record."""
        return {name: round(value, 4) for name, value in {**asdict(self), **self.rates()}.items()}

    def shown(self) -> str:
        """For a line of progress."""
        rates = self.rates()
        parts = [f"{name} {rates[f'{name}_fps']:.3g}/s" for name in ("denoise", "decode")]
        return ", ".join([f"first after {self.first_frame_seconds:.2f} s", *parts])


@dataclass
class GenerationClock:
    """Measures a batch; a GPU is waited for, or its work would be counted where it is noticed.

    Attributes:
        timing: what was measured, which may come from a process before.
    """

    device: torch.device
    timing: Timing = field(default_factory=Timing)
    _began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what the block takes as a part: denoise, decode or write."""
        began = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        spent = getattr(self.timing, f"{name}_seconds") + time.perf_counter() - began
        setattr(self.timing, f"{name}_seconds", spent)

    def made(self, frames: int) -> bool:
        """Count new frames; whether they are the first."""
        now = time.perf_counter()
        first = self.timing.frames == 0 and frames > 0
        self.timing.seconds += now - self._began
        self._began = now
        if first:
            self.timing.first_frame_seconds = self.timing.seconds
        self.timing.frames += frames
        return first

    def saved(self) -> dict[str, Any]:
        """For another process that goes on."""
        return asdict(self.timing)
