"""A small video autoencoder that is causal in time: the latents that small networks work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.models.codec import Codec, DecoderStream, EncoderStream, Pixels
from cf.models.taehv import MemBlock, TGrow, TPool, run_layers
from cf.types import Latents

_FOLD = 2  # pixels along a side that are folded into channels before the first convolution
_BOUNDS = {"channels": (1, 64), "time_stride": (1, 8)}
_WIDEST, _DEEPEST = 1024, 6


class VideoAutoencoder(Codec):
    """Pixels to latents and back by convolutions that look at one frame and the one before it.

    Each latent frame is made of `time_stride` pixel frames and of earlier ones; the first, which
    stands for one pixel frame alone, is made of that frame repeated. So a stream equals the whole,
    in both directions. Its blocks are those of TAEHV (https://github.com/madebyollin/taehv).

    Latents have mean 0 and standard deviation 1 in each channel, as far as `centre` and `spread`,
    which training keeps up, tell.

    Attributes:
        channels: of a latent frame.
        time_stride: pixel frames in each latent frame but the first.
        widths: channels at 1/2, 1/4, ... of the height and width in pixels; the last is the width
            beside the latents, so that three make a `space_stride` of 8.
        centre, spread: mean and standard deviation of what the encoder makes, by channel.
    """

    centre: Float[Tensor, "channels"]
    spread: Float[Tensor, "channels"]

    def __init__(
        self,
        channels: int = 16,
        time_stride: int = 1,
        widths: Sequence[int] = (24, 48, 96),
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("time_stride", time_stride)):
            low, high = _BOUNDS[name]
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in {low}..{high}, got {value}")
        if not 1 <= len(widths) <= _DEEPEST or not all(1 <= one <= _WIDEST for one in widths):
            raise ValueError(
                f"widths must be 1 to {_DEEPEST} numbers of channels in 1..{_WIDEST}, got "
                f"{list(widths)}"
            )
        self.channels, self.time_stride = channels, time_stride
        self.widths = tuple(widths)
        self.space_stride = _FOLD * 2 ** (len(widths) - 1)
        self.encoder_layers = _encoder(channels, time_stride, self.widths)
        self.decoder_layers = _decoder(channels, time_stride, self.widths)
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    @classmethod
    def from_file(cls, file: str) -> Self:
        """Load what `python -m cf.fit module=autoencoder` exported.

        Args:
            file: the export, or the run's folder.

        Raises:
            CheckpointError: it is missing, damaged, or of something else.
        """
        from cf.models.checkpoints import load_into, read_export
        from cf.models.stored import CheckpointError

        path = Path(file).expanduser()
        if not path.exists():
            raise CheckpointError(
                f"{file} is not there: train a codec by python -m cf.fit experiment=doom_codec "
                "and give codec.file=RUN"
            )
        config, state = read_export(path)
        made = cls(**_settings(config, file))
        load_into(made, state, file)
        return made.requires_grad_(False).eval()

    @classmethod
    def outlined(cls, file: str) -> Self:
        """The same; it is too small to be left out.

        Args:
            file: as `from_file` takes it.
        """
        with torch.device("cpu"):
            return cls.from_file(file)

    def moments(self, video: Pixels, held: list[Any]) -> Latents:
        """What the encoder makes of the next frames, as it comes.

        Args:
            video: the next frames.
            held: what the stream holds, which is changed; empty at the beginning.
        """
        first = video[:, :1].expand(-1, 0 if held else self.time_stride - 1, -1, -1, -1)
        frames = torch.cat((first, video), 1) if first.shape[1] else video
        x = F.pixel_unshuffle(2 * frames.float() - 1, _FOLD)
        return run_layers(self.encoder_layers, x, held)

    def normalised(self, made: Latents) -> Latents:
        """Latents of what the encoder made."""
        shape = (-1, 1, 1)
        return (made - self.centre.view(shape)) / self.spread.view(shape)

    def pixels(self, latents: Latents, held: list[Any]) -> Pixels:
        """What the decoder makes of the next latents, not clamped.

        Args:
            latents: the next ones.
            held: what the stream holds, which is changed; empty at the beginning.
        """
        early = 0 if held else self.time_stride - 1
        x = run_layers(self.decoder_layers, latents.float(), held)[:, early:]
        return (F.pixel_shuffle(x, _FOLD) + 1) / 2

    @override
    def encoder(self) -> EncoderStream:
        held: list[Any] = []

        def encode(video: Pixels) -> Latents:
            self.check_video(video, started=bool(held))
            return self.normalised(self.moments(video, held))

        return encode

    @override
    def decoder(self) -> DecoderStream:

        def decode(latents: Latents, held: list[Any]) -> Pixels:
            self.check_latents(latents)
            return self.pixels(latents, held).clamp(0, 1)

        return DecoderStream(decode)


def _settings(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What builds the codec of an export; the class vets the numbers.

    Raises:
        CheckpointError: the file is of something else.
    """
    from cf.models.stored import CheckpointError

    said = config.get("codec")
    names = {*_BOUNDS, "widths"}
    given = {k: v for k, v in said.items() if k in names} if isinstance(said, dict) else {}
    whole = [given.get("channels"), given.get("time_stride")]
    widths = given.get("widths")
    listed = isinstance(widths, list) and all(type(one) is int for one in widths)
    if "model" in config or not listed or any(type(one) is not int for one in whole):
        raise CheckpointError(
            f"{file} holds no codec: give a run of python -m cf.fit experiment=doom_codec"
        )
    return given


def _encoder(channels: int, stride: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3 * _FOLD**2, widths[0]), nn.ReLU(), MemBlock(widths[0])]
    for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.ReLU(), MemBlock(wide)]
    return nn.Sequential(*layers, TPool(widths[-1], stride), _conv(widths[-1], channels))


def _decoder(channels: int, stride: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(channels, widths[-1]), nn.ReLU()]
    layers += [TGrow(widths[-1], stride), MemBlock(widths[-1])]
    for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
        layers += [nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2), nn.ReLU(), MemBlock(narrow)]
    return nn.Sequential(*layers, _conv(widths[0], 3 * _FOLD**2))


def _conv(within: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(within, out, 3, padding=1)
