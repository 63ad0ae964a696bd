"""A codec that is on the card only while it works."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from cf.models.codec import Codec, DecoderStream, EncoderStream, Pixels
from cf.types import Latents


class Offloaded(Codec):
    """Another codec, of which weights and streams wait in the memory of the CPU.

    Attributes:
        codec: the codec.
        device: where it works.
    """

    def __init__(self, codec: Codec, device: torch.device) -> None:
        super().__init__()
        self.codec, self.place = codec.to("cpu"), device
        self.channels, self.time_stride = codec.channels, codec.time_stride
        self.space_stride = codec.space_stride

    def encoder(self) -> EncoderStream:
        """See `Codec.encoder`; its stream stays on the card between two pieces."""
        stream = self.codec.encoder()

        def encode(video: Pixels) -> Latents:
            with self._there():
                return stream(video.to(self.place))

        return encode

    @override
    def decoder(self) -> DecoderStream:

        def decode(latents: Latents, state: list[Any]) -> Pixels:
            with self._there():
                on_device = moved(state, self.place)
                pixels = self.codec.decoder().step(latents.to(self.place), on_device)
                state[:] = moved(on_device, torch.device("cpu"))
            return pixels

        return DecoderStream(decode)

    @contextmanager
    def _there(self) -> Iterator[None]:
        self.codec.to(self.place)
        try:
            yield
        finally:
            self.codec.to("cpu")


def moved(held: Any, device: torch.device) -> Any:
    """What a stream holds, on another device."""
    if isinstance(held, list):
        return [moved(item, device) for item in held]
    return held.to(device) if isinstance(held, Tensor) else held
