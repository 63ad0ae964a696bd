"""The tiny autoencoder of Wan's latents (https://github.com/madebyollin/taehv) as a codec."""

from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.files.home import expanded
from cf.models.codec import Codec, DecoderStream, EncoderStream, Pixels
from cf.models.pretrained import parse_dtype
from cf.types import Latents

Frames = Float[Tensor, "b t c h w"]
_WIDTHS = (256, 128, 64, 64)
_WIDTH = 64
_TIMES = 4  # pixel frames in a latent one


class MemBlock(nn.Module):
    """Convolutions of each frame together with the one before it, beside what skips them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )

    def forward(self, x: Frames, before: Tensor | None) -> Frames:
        """The frames after this block; nothing was before the first of a video."""
        first = torch.zeros_like(x[:, :1]) if before is None else before
        past = torch.cat((first, x[:, :-1]), 1)
        residual = self.conv(torch.cat((x, past), 2).flatten(0, 1)).unflatten(0, x.shape[:2])
        return F.relu(residual + x)


class TPool(nn.Module):
    """Several frames to one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Frames) -> Frames:
        """Fewer frames, of which there are a multiple of the stride."""
        count = x.shape[1] // self.stride
        groups = x.flatten(0, 1).unflatten(0, (-1, self.stride)).flatten(1, 2)
        features: Tensor = self.conv(groups)
        pooled: Tensor = features.unflatten(0, (x.shape[0], count))
        return pooled


class TGrow(nn.Module):
    """One frame to several."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Frames) -> Frames:
        """More frames."""
        features: Tensor = self.conv(x.flatten(0, 1)).unflatten(1, (self.stride, -1))
        grown: Tensor = features.flatten(0, 1).unflatten(0, (x.shape[0], -1))
        return grown


class SoftClamp(nn.Module):
    """Keeps latents within -3 and 3."""

    def forward(self, x: Tensor) -> Tensor:
        """Smoothly."""
        return 3 * torch.tanh(x / 3)


class TAEHV(Codec):
    """Frozen TAEHV: latents in, pixels out, at a small part of the cost of Wan's own VAE.

    Its decoder looks back frame by frame, and so is streamed exactly. Its encoder looks up to three
    frames ahead, so that it takes whole videos only.

    Attributes:
        channels: of latents: 16 for Wan2.1 (`taew2_1`), 48 for Wan2.2 (`taew2_2`).
        patch: pixels along a side that are folded into channels; 1, or 2 for Wan2.2.
    """

    time_stride = _TIMES

    def __init__(self, channels: int = 16, patch: int = 1) -> None:
        super().__init__()
        self.channels, self.patch, self.space_stride = channels, patch, 8 * patch
        self.encoder_layers = _encoder(channels, 3 * patch**2)
        self.decoder_layers = _decoder(channels, 3 * patch**2)
        self.requires_grad_(False).eval()

    @classmethod
    def from_file(cls, file: str, dtype: str = "float32") -> Self:
        """Load the file as it is published: `taew2_1.pth`, or the same as safetensors.

        Args:
            file: its path.
            dtype: float32, bfloat16 or float16; what the network runs in.

        Raises:
            FileNotFoundError: it is missing.
            CheckpointError: it is damaged, or of another network.
        """
        from cf.models.checkpoints import load_into
        from cf.models.pickles import CONTAINERS
        from cf.models.stored import CheckpointError
        from cf.models.weight_files import read_stored

        if not expanded(file).exists():
            raise FileNotFoundError(
                f"{file} is not there: download taew2_1.pth from github.com/madebyollin/taehv and "
                "give codec.file=..."
            )
        state = read_stored(expanded(file), None, CONTAINERS).state
        latents, pixels = state.get("decoder.1.weight"), state.get("encoder.0.weight")
        if latents is None or pixels is None or latents.ndim != 4 or pixels.ndim != 4:
            raise CheckpointError(
                f"{file} holds no TAEHV (it lacks decoder.1.weight): give the file taew2_1.pth"
            )
        patch = {3: 1, 12: 2}.get(pixels.shape[1])
        if patch is None or latents.shape[1] > 256:
            raise CheckpointError(
                f"{file}: a TAEHV of {pixels.shape[1]} input channels is not one of Wan; give "
                "taew2_1.pth or taew2_2.pth"
            )
        codec = cls(latents.shape[1], patch)
        named = {_own_name(name): _fitted(name, x, codec) for name, x in state.items()}
        load_into(codec, named, file)
        return codec.to(parse_dtype(dtype))

    @classmethod
    def outlined(cls, file: str, dtype: str = "float32") -> Self:
        """The same without weights; of Wan2.2 if its name says so.

        Args:
            file: its path.
            dtype: as `from_file` takes it.
        """
        second = "2_2" in Path(file).name
        return cls(48 if second else 16, 2 if second else 1).to(parse_dtype(dtype))

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the module around it does."""
        return super().train(False)

    def encoder(self) -> EncoderStream:
        """See `Codec.encoder`; a second piece raises ValueError."""
        begun: list[bool] = []

        def encode(video: Pixels) -> Latents:
            if begun:
                raise ValueError(
                    "codec=taehv encodes whole videos only, since its latents look three frames "
                    "ahead; give all frames at once, or choose codec=wan"
                )
            self.check_video(video)
            begun.append(True)
            x = F.pixel_unshuffle(video, self.patch).to(self._dtype)
            last = x[:, -1:].expand(-1, -x.shape[1] % _TIMES, -1, -1, -1)
            return run_layers(self.encoder_layers, torch.cat((x, last), 1), []).float()

        return encode

    @override
    def decoder(self) -> DecoderStream:

        def decode(latents: Latents, state: list[Any]) -> Pixels:
            self.check_latents(latents)
            early = 0 if state else _TIMES - 1  # frames before the first one
            frames = [
                run_layers(self.decoder_layers, latent.to(self._dtype), state)
                for latent in torch.split(latents, 1, 1)
            ]
            video = F.pixel_shuffle(torch.cat(frames, 1)[:, early:], self.patch)
            return video.float().clamp(0, 1)

        return DecoderStream(decode)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def run_layers(layers: nn.Sequential, x: Frames, held: list[Any]) -> Frames:
    """Frames through all layers; `held` has, for each that looks back, the frame before."""
    number = 0
    for layer in layers:
        if isinstance(layer, MemBlock):
            if number == len(held):
                held.append(None)
            x, held[number] = layer(x, held[number]), x[:, -1:].clone()
            number += 1
        elif isinstance(layer, TPool | TGrow):
            x = layer(x)
        else:
            x = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return x


def _encoder(channels: int, pixels: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(pixels, _WIDTH), nn.ReLU()]
    for stride in (2, 2, 1):
        down = nn.Conv2d(_WIDTH, _WIDTH, 3, stride=2, padding=1, bias=False)
        layers += [TPool(_WIDTH, stride), down, *(MemBlock(_WIDTH) for _ in range(3))]
    return nn.Sequential(*layers, _conv(_WIDTH, channels))


def _decoder(channels: int, pixels: int) -> nn.Sequential:
    layers: list[nn.Module] = [SoftClamp(), _conv(channels, _WIDTHS[0]), nn.ReLU()]
    for width, narrower, stride in zip(_WIDTHS[:-1], _WIDTHS[1:], (1, 2, 2), strict=True):
        layers += [*(MemBlock(width) for _ in range(3)), nn.Upsample(scale_factor=2)]
        layers += [TGrow(width, stride), _conv(width, narrower, bias=False)]
    return nn.Sequential(*layers, nn.ReLU(), _conv(_WIDTHS[-1], pixels))


def _conv(within: int, out: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(within, out, 3, padding=1, bias=bias)


def _own_name(name: str) -> str:
    """Of a layer, which the codec's methods leave no room for under its published name."""
    part, _, rest = name.partition(".")
    return f"{part}_layers.{rest}"


def _fitted(name: str, weight: Tensor, codec: nn.Module) -> Tensor:
    """A layer that makes more frames than are wanted gives the last ones."""
    parameter = dict(codec.named_parameters()).get(_own_name(name))
    grows = parameter is not None and weight.ndim == 4 and weight.shape[2:] == (1, 1)
    if parameter is not None and grows and weight.shape[0] > parameter.shape[0]:
        return weight[-parameter.shape[0] :]
    return weight
