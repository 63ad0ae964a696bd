"""Between pixels and latents: what a codec is, and the one that keeps pixels."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.types import Latents

Pixels = Float[Tensor, "b t 3 height width"]
"""A `cf.types.Video` whose sides are named apart from those of the latents beside it."""
EncoderStream = Callable[[Pixels], Latents]
"""Encodes a video that arrives in pieces; the outputs, joined, are those of `Codec.encode`."""


@dataclass
class DecoderStream:
    """Decodes latents that arrive in blocks; the outputs, joined, are those of `Codec.decode`.

    Attributes:
        step: pixels of the next latents, given what the stream holds, which it changes.
        held: all that passes from block to block: tensors, None, numbers, texts and lists of
            these. Another stream that is given it goes on where this one is.
    """

    step: Callable[[Latents, list[Any]], Pixels]
    held: list[Any] = field(default_factory=list)

    def __call__(self, latents: Latents) -> Pixels:
        """Pixels of the next latents."""
        return self.step(latents, self.held)


class Codec(nn.Module, ABC):
    """Turns video into latents and back, whole or as a stream.

    The first latent frame is one pixel frame, each further one `time_stride` of them. Latents and
    videos come out in float32.

    Attributes:
        channels: of a latent frame.
        time_stride: pixel frames in each latent frame but the first.
        space_stride: pixels along each side of a latent.
        bound: greatest magnitude that a latent can have; infinite where nothing bounds it.
    """

    channels: int
    time_stride: int
    space_stride: int
    bound: float = math.inf

    @abstractmethod
    def encoder(self) -> EncoderStream:
        """A new stream, independent of every other, in memory that does not grow.

        Its first piece holds one pixel frame more than a multiple of `time_stride`, every further
        one a multiple; a piece of another size raises ValueError.
        """

    @abstractmethod
    def decoder(self) -> DecoderStream:
        """A new stream, independent of every other, in memory that does not grow."""

    def encode(self, video: Pixels) -> Latents:
        """Latents of a whole video.

        Raises:
            ValueError: if its frames or its sides do not fit the strides.
        """
        return self.encoder()(video)

    def decode(self, latents: Latents) -> Pixels:
        """A whole video; values are clamped to [0, 1].

        Raises:
            ValueError: if the latents have another number of channels.
        """
        return self.decoder()(latents)

    def video_frames(self, latent_frames: int) -> int:
        """Pixel frames that `latent_frames` decode to, counted from the start of a video.

        Raises:
            ValueError: if `latent_frames` is negative.
        """
        if latent_frames < 0:
            raise ValueError(f"latent_frames must not be negative, got {latent_frames}")
        return 0 if latent_frames == 0 else 1 + (latent_frames - 1) * self.time_stride

    def latent_frames(self, video_frames: int) -> int:
        """Latent frames of a video of `video_frames` pixel frames.

        Raises:
            ValueError: if no whole number of latent frames makes that many; names those that do.
        """
        self._check_frames(video_frames, started=False)
        return self.covering(video_frames)

    def covering(self, video_frames: int) -> int:
        """The fewest latent frames that decode to at least `video_frames` pixel frames."""
        return 0 if video_frames < 1 else 1 + -(-(video_frames - 1) // self.time_stride)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Channels, height and width of a latent frame of a video of that size in pixels.

        Raises:
            ValueError: if a side is not a multiple of `space_stride`; names the nearest that are.
        """
        stride = self.space_stride
        for name, side in (("height", height), ("width", width)):
            if side < 1:
                raise ValueError(f"size: {name} {side} is no number of pixels; give 1 or more")
            if side % stride:
                below = side // stride * stride
                raise ValueError(
                    f"size: {name} {side} is not a multiple of {stride}; the nearest that fit are "
                    f"{_either(below, below + stride)}"
                )
        return self.channels, height // stride, width // stride

    def check_video(self, video: Pixels, started: bool = False) -> None:
        """Refuse a piece of video that does not fit the strides.

        Args:
            video: the piece.
            started: whether an earlier piece began the video.

        Raises:
            ValueError: names the offending size and the nearest that fit.
        """
        self._check_frames(video.shape[1], started)
        self.latent_shape(*video.shape[-2:])

    def check_latents(self, latents: Latents) -> None:
        """Refuse latents of another codec.

        Raises:
            ValueError: if their channels differ.
        """
        if latents.shape[2] != self.channels:
            raise ValueError(
                f"these latents have {latents.shape[2]} channels, this codec's have {self.channels}"
            )

    def _check_frames(self, frames: int, started: bool) -> None:
        extra = 0 if started else 1
        if frames < 1 or (frames - extra) % self.time_stride:
            below = (frames - extra) // self.time_stride * self.time_stride + extra
            where = "a further piece of a video" if started else "a video"
            raise ValueError(
                f"{where} of {frames} pixel frames is not a whole number of latent frames; the "
                f"nearest that fit are {_either(below, below + self.time_stride)}"
            )


class PixelCodec(Codec):
    """Latents are pixels in [-1, 1].

    >>> import torch
    >>> PixelCodec().encode(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 3, 1, 1)).flatten()
    tensor([-1.,  0.,  1.])
    """

    channels = 3
    time_stride = 1
    space_stride = 1
    bound = 1.0

    @override
    def encoder(self) -> EncoderStream:

        def encode(video: Pixels) -> Latents:
            self.check_video(video, started=True)
            return 2 * video.float() - 1

        return encode

    @override
    def decoder(self) -> DecoderStream:

        def decode(latents: Latents, state: list[Any]) -> Pixels:
            self.check_latents(latents)
            return (latents.float().clamp(-1, 1) + 1) / 2

        return DecoderStream(decode)


def _either(below: int, above: int) -> str:
    return f"{below} and {above}" if below > 0 else str(above)
