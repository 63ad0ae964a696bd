"""A small video autoencoder that is causal in time: the latents that small networks work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.files.home import expanded
from cf.files.shipped import shipped
from cf.models.codec import Codec, DecoderStream, EncoderStream, Pixels
from cf.models.taehv import MemBlock, TGrow, TPool, run_layers
from cf.types import Latents

_FOLD = 2  # pixels along a side that are folded into channels before the first convolution
_BOUNDS = {"channels": (1, 64), "time_stride": (1, 8)}
_WIDEST, _DEEPEST = 1024, 6


class VideoAutoencoder(Codec):
    """Pixels to latents and back: a linear map of each patch, and convolutions that add to it.

    The linear map begins as the principal components of patches (`begin`), which no other linear
    map beats in squared error; the convolutions begin at 0, and look at one frame and at the one
    before it. So even an hour's training on a laptop begins from a picture that can be recognised.

    Each latent frame is made of `time_stride` pixel frames and of earlier ones; the first, which
    stands for one pixel frame alone, is made of that frame repeated. `encode` and `decode` go
    latent frame by latent frame, so that a stream equals the whole to the last bit. The blocks
    are those of TAEHV (https://github.com/madebyollin/taehv).

    Latents begin with mean 0, a mean square of 1 over all channels, and the spread of the
    principal components: an error in a latent costs the picture as much whatever its channel. With
    the same spread in each, a network of latents would spend itself on fine texture, which has
    most channels.

    Attributes:
        channels: of a latent frame.
        time_stride: pixel frames in each latent frame but the first.
        widths: channels at 1/2, 1/4, ... of the height and width in pixels; the last is the width
            beside the latents, so that three make a `space_stride` of 8.
    """

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
        if not 1 <= len(widths) <= _DEEPEST or not all(1 <= width <= _WIDEST for width in widths):
            raise ValueError(
                f"widths must be 1 to {_DEEPEST} numbers of channels in 1..{_WIDEST}, got "
                f"{list(widths)}"
            )
        self.channels, self.time_stride = channels, time_stride
        self.widths = tuple(widths)
        self.space_stride = _FOLD * 2 ** (len(widths) - 1)
        self.encoder_layers = _encoder(channels, time_stride, self.widths)
        self.decoder_layers = _decoder(channels, time_stride, self.widths)
        patch = 3 * time_stride * self.space_stride**2
        self.encoder_map = nn.Conv2d(patch, channels, 1)
        self.decoder_map = nn.Conv2d(channels, patch, 1)

    @classmethod
    def from_file(cls, file: str) -> Self:
        """Load what `python -m cf.fit experiment=doom_codec` exported.

        Args:
            file: the export, or the run's folder; or `shipped:codec`.

        Raises:
            CheckpointError: it is missing, damaged, or of something else.
        """
        from cf.models.checkpoints import load_into, read_export
        from cf.models.stored import CheckpointError

        path = expanded(shipped(file))
        if not path.exists():
            raise CheckpointError(
                f"{file} is not there: train a codec by python -m cf.fit "
                "experiment=doom_codec, and give codec.file=RUN"
            )
        config, state = read_export(path)
        codec = cls(**_settings(config, file))
        load_into(codec, state, file)
        return codec.requires_grad_(False).eval()

    @classmethod
    def outlined(cls, file: str) -> Self:
        """The same; it is too small to be left out.

        Args:
            file: as `from_file` takes it.
        """
        with torch.device("cpu"):
            return cls.from_file(file)

    def latents(self, video: Pixels, held: list[Any]) -> Latents:
        """Latents of the next frames.

        Args:
            video: the next frames.
            held: what the stream holds, which is changed; empty at the beginning.
        """
        first = video[:, :1].expand(-1, 0 if held else self.time_stride - 1, -1, -1, -1)
        frames = torch.cat((first, video), 1) if first.shape[1] else video
        signed = 2 * frames.float() - 1
        added = run_layers(self.encoder_layers, F.pixel_unshuffle(signed, _FOLD), held)
        linear: Tensor = self.encoder_map(self._patches(signed))
        latents: Tensor = added + linear.unflatten(0, added.shape[:2])
        return latents

    def pixels(self, latents: Latents, held: list[Any]) -> Pixels:
        """What the decoder makes of the next latents, not clamped.

        Args:
            latents: the next ones.
            held: what the stream holds, which is changed; empty at the beginning.
        """
        early = 0 if held else self.time_stride - 1
        added = F.pixel_shuffle(run_layers(self.decoder_layers, latents.float(), held), _FOLD)
        patches: Tensor = self.decoder_map(latents.float().flatten(0, 1))
        linear = F.pixel_shuffle(patches, self.space_stride).unflatten(1, (self.time_stride, 3))
        signed: Tensor = added + linear.flatten(0, 1).unflatten(0, (latents.shape[0], -1))
        return (signed[:, early:] + 1) / 2

    @torch.no_grad()
    def begin(self, video: Pixels) -> Float[Tensor, " channels"]:
        """Make the linear map that of the principal components of some videos.

        Args:
            video: the videos; their frames are as many as `check_video` takes.

        Returns:
            The standard deviation of each channel of their latents, which falls.

        Raises:
            ValueError: they hold fewer patches than a latent has channels.
        """
        self.check_video(video)
        first = video[:, :1].expand(-1, self.time_stride - 1, -1, -1, -1)
        patches = self._patches(2 * torch.cat((first, video), 1).float() - 1)
        rows = patches.permute(0, 2, 3, 1).flatten(0, 2).double()
        if len(rows) < self.channels:
            raise ValueError(f"{len(rows)} patches do not tell {self.channels} components")
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        axes = vectors.flip(1)[:, : self.channels].T  # those of the largest variance
        variances = values.flip(0)[: self.channels].clamp(min=1e-12)
        scale = variances.mean().sqrt()
        for part in (self.encoder_layers[-1], self.decoder_layers[-1]):
            for parameter in part.parameters():
                parameter.zero_()
        self.encoder_map.weight.copy_((axes / scale)[..., None, None])
        assert self.encoder_map.bias is not None
        assert self.decoder_map.bias is not None
        self.encoder_map.bias.copy_(-(axes / scale) @ mean)
        self.decoder_map.weight.copy_((axes * scale).T[..., None, None])
        self.decoder_map.bias.copy_(mean)
        deviations: Tensor = (variances.sqrt() / scale).to(self.encoder_map.weight)
        return deviations

    def _patches(self, frames: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "n p rows columns"]:
        """Frames that make a latent one, a patch as channels."""
        groups = frames.unflatten(1, (-1, self.time_stride)).flatten(2, 3).flatten(0, 1)
        return F.pixel_unshuffle(groups, self.space_stride)

    @override
    def encoder(self) -> EncoderStream:
        state: list[Any] = []

        def encode(video: Pixels) -> Latents:
            self.check_video(video, started=bool(state))
            first, stride = int(not state), self.time_stride
            pieces = [first] * first + [stride] * ((video.shape[1] - first) // stride)
            latents = [self.latents(piece, state) for piece in torch.split(video, pieces, 1)]
            return torch.cat(latents, 1)

        return encode

    @override
    def decoder(self) -> DecoderStream:

        def decode(latents: Latents, state: list[Any]) -> Pixels:
            self.check_latents(latents)
            frames = [self.pixels(latent, state) for latent in torch.split(latents, 1, 1)]
            return torch.cat(frames, 1).clamp(0, 1)

        return DecoderStream(decode)


def _settings(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What builds the codec of an export; the class vets the numbers.

    Raises:
        CheckpointError: the file is of something else.
    """
    from cf.models.stored import CheckpointError

    said = config.get("codec")
    names = {*_BOUNDS, "widths"}
    settings = {k: v for k, v in said.items() if k in names} if isinstance(said, dict) else {}
    integers = [settings.get("channels"), settings.get("time_stride")]
    widths = settings.get("widths")
    listed = isinstance(widths, list) and all(type(width) is int for width in widths)
    if config.get("model") or not listed or any(type(value) is not int for value in integers):
        raise CheckpointError(
            f"{file} holds no codec: give a run of python -m cf.fit experiment=doom_codec"
        )
    return settings


def _encoder(channels: int, stride: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3 * _FOLD**2, widths[0]), nn.ReLU(), MemBlock(widths[0])]
    for narrow, wide in pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.ReLU(), MemBlock(wide)]
    return nn.Sequential(*layers, TPool(widths[-1], stride), _conv(widths[-1], channels))


def _decoder(channels: int, stride: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(channels, widths[-1]), nn.ReLU()]
    layers += [TGrow(widths[-1], stride), MemBlock(widths[-1])]
    for wide, narrow in pairwise(widths[::-1]):
        layers += [nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2), nn.ReLU(), MemBlock(narrow)]
    return nn.Sequential(*layers, _conv(widths[0], 3 * _FOLD**2))


def _conv(within: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(within, out, 3, padding=1)
