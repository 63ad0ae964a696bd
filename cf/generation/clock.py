"""How long it takes until the first frame is there, how fast the others come, how much is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from cf.files.tables import number


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
        names = [name for name in ("denoise", "decode") if f"{name}_fps" in rates]
        parts = [f"{name} {number(rates[f'{name}_fps'], '.3g')} frames/s" for name in names]
        return ", ".join([f"first after {self.first_frame_seconds:.2f} s", *parts])


@dataclass
class GenerationClock:
    """Measures a batch; a GPU is not waited for, but says itself when it began and ended a part.

    Attributes:
        timing: what was measured, which may come from a process before.
    """

    device: torch.device
    timing: Timing = field(default_factory=Timing)
    _began: float = field(default_factory=time.perf_counter)
    _pending: list[tuple[str, Any, Any]] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what the block takes as a part: denoise or decode, on the stream at hand."""
        if self.device.type != "cuda":
            began = time.perf_counter()
            yield
            self.spent(name, time.perf_counter() - began)
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        self._pending.append((name, begin, end))

    def spent(self, name: str, seconds: float) -> None:
        """Count seconds of a part."""
        name = f"{name}_seconds"
        setattr(self.timing, name, getattr(self.timing, name) + seconds)

    def settle(self, wait: bool = True) -> None:
        """Count what a GPU has ended, or is waited for."""
        if wait and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        while self._pending and self._pending[0][2].query():
            name, begin, end = self._pending.pop(0)
            self.spent(name, begin.elapsed_time(end) / 1000)

    def made(self, frames: int) -> bool:
        """Count new frames; whether they are the first, for which a GPU is waited for."""
        first = self.timing.frames == 0 and frames > 0
        self.settle(wait=first)
        now = time.perf_counter()
        self.timing.seconds += now - self._began
        self._began = now
        if first:
            self.timing.first_frame_seconds = self.timing.seconds
        self.timing.frames += frames
        return first

    def saved(self) -> dict[str, Any]:
        """For another process that goes on."""
        self.settle()
        return asdict(self.timing)
