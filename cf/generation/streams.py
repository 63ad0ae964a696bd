"""Decoding on a stream of its own, and frames on their way to the CPU, while a GPU denoises on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import UInt8
from torch import Tensor

from cf.video.writer import pictures_of

Pictures = UInt8[Tensor, "b t 3 h w"]


class Decoding:
    """Where blocks are decoded: on a GPU, if asked, on a stream of its own.

    A GPU works through a stream in order, so that the next block is denoised meanwhile. Nobody
    waits for it but whoever reads the pixels (`arrival`). It takes the memory of both at once.
    """

    def __init__(self, device: torch.device, overlap: bool) -> None:
        apart = overlap and device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if apart else None

    @contextmanager
    def of(self, latents: Tensor) -> Iterator[None]:
        """What decodes latents, and reads what comes of them, goes in here."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(latents.device))
        latents.record_stream(self._stream)  # else their memory might be taken for others
        with torch.cuda.stream(self._stream):
            yield

    def wait(self) -> None:
        """Until all is decoded: before what the decoder carries is read on another stream."""
        if self._stream is not None:
            self._stream.synchronize()


def arrival(frames: Tensor) -> Callable[[], Pictures]:
    """Begins to bring frames to the CPU, as bytes; what it returns waits until they are there.

    The frames may be of a stream that is current here and not in the thread that waits.

    Raises:
        ValueError: of what is returned: a frame is not finite.
    """
    if frames.device.type != "cuda":
        return lambda: pictures_of(frames)
    finite = frames.float().isfinite().all()
    pictures = (frames.float().clamp(0, 1) * 255).round().to(torch.uint8)
    pinned = torch.empty(pictures.shape, dtype=torch.uint8, pin_memory=True)
    all_finite = torch.empty((), dtype=torch.bool, pin_memory=True)
    pinned.copy_(pictures, non_blocking=True)
    all_finite.copy_(finite, non_blocking=True)
    event = torch.cuda.Event()
    event.record()

    def wait() -> Pictures:
        event.synchronize()
        if not bool(all_finite):
            raise ValueError("frames of a video hold values that are not finite")
        return pinned

    return wait
