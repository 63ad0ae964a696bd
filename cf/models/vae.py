"""Wan's causal video VAE (https://arxiv.org/abs/2503.20314) as a codec, streamed frame by frame."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.models.codec import Codec, DecoderStream, EncoderStream, Pixels
from cf.models.pretrained import VAE, fill, find_part, first_there, parse_dtype, read_part
from cf.models.vae_names import is_original_vae, to_diffusers_vae, vae_config
from cf.models.weight_files import read_json
from cf.types import Latents

ChannelsFirst = Float[Tensor, "b c t h w"]
Patches = Float[Tensor, "b patch t rows columns"]
MARKS = ("vae/config.json", "Wan2.?_VAE.*")
"""Files of which a model's folder with a codec has one."""


class WanVAE(Codec):
    """Frozen `AutoencoderKLWan` of diffusers; latents are the posterior's mean, normalised.

    Takes the VAE of Wan2.1 (16 channels, strides 4 and 8) and of Wan2.2-TI2V (48, 4 and 16). The
    causal convolutions' cache belongs to a stream, never to the shared module.

    Attributes:
        vae: the module; `from_folder` loads it.
    """

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        config: Any = vae.config
        self.vae: Any = vae.requires_grad_(False).eval()
        self.patch = int(config.patch_size or 1)
        self.channels = int(config.z_dim)
        self.time_stride = int(2 ** sum(config.temperal_downsample))
        self.space_stride = int(self.patch * 2 ** (len(config.dim_mult) - 1))
        self.mean, self.std = tuple(config.latents_mean), tuple(config.latents_std)

    @classmethod
    def from_folder(cls, folder: str | Sequence[str], dtype: str = "float32") -> Self:
        """Load the VAE of a published Wan model, in diffusers' layout or in the authors' own.

        Args:
            folder: the model's folder, that of its VAE, or the VAE's file (Wan2.1_VAE.pth);
                of several, the first that is there.
            dtype: float32, bfloat16 or float16; what the network runs in.

        Raises:
            FileNotFoundError: if there is none.
            ImportError: if the extra `wan` is not installed.
            ValueError: if weights are missing there, or it is another VAE.
        """
        place = find_part(first_there(folder, MARKS), VAE)
        parse_dtype(dtype)
        try:
            from diffusers import AutoencoderKLWan
        except ImportError as error:
            raise ImportError(
                "the Wan VAE needs diffusers: install this package with its extra 'wan'"
            ) from error
        model: Any = AutoencoderKLWan
        state: Mapping[str, Tensor] = read_part(place, VAE)
        if is_original_vae(state):
            config = vae_config(state, place)
            names = to_diffusers_vae(state)
            state = {names[name]: weight for name, weight in state.items()}
        else:
            beside = place if place.is_dir() else place.parent
            config = read_json(beside / "config.json") or {}
        return cls(fill(lambda: model.from_config(config), state, place, dtype))

    @classmethod
    def outlined(cls, folder: str | Sequence[str], dtype: str = "float32") -> Self:
        """The same without weights, as wide as its folder says; Wan2.1's where there is none.

        Args:
            folder: as `from_folder` takes it.
            dtype: likewise.
        """
        from diffusers import AutoencoderKLWan

        model: Any = AutoencoderKLWan
        config: Any = {}
        with suppress(FileNotFoundError):
            place = find_part(first_there(folder, MARKS), VAE)
            config = read_json(place / "config.json") if place.is_dir() else None
            config = config or vae_config(read_part(place, VAE), place)
        vae = model.from_config(config) if config else model()
        return cls(nn.Module.to(vae, parse_dtype(dtype)))  # its own `to` warns of nothing

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the module around it does."""
        return super().train(False)

    @override
    def encoder(self) -> EncoderStream:
        cache: list[Any] = []

        def encode(video: Pixels) -> Latents:
            self.check_video(video, started=bool(cache))
            return torch.cat(list(self._encode(video, cache)), 1)

        return encode

    @override
    def decoder(self) -> DecoderStream:

        def decode(latents: Latents, cache: list[Any]) -> Pixels:
            self.check_latents(latents)
            return torch.cat(
                [self._decode(frame, cache) for frame in torch.split(latents, 1, 1)], 1
            )

        return DecoderStream(decode)

    def _encode(self, video: Pixels, cache: list[Any]) -> Iterator[Latents]:
        first = 0 if cache else 1
        later = (video.shape[1] - first) // self.time_stride
        pieces = [first] * first + [self.time_stride] * later
        _start(cache, self.vae.encoder)
        for piece in torch.split(video, pieces, 1):
            x = _patchify((2 * piece - 1).to(self.vae.dtype).transpose(1, 2), self.patch)
            moments = self.vae.quant_conv(self.vae.encoder(x, feat_cache=cache, feat_idx=[0]))
            mean = moments[:, : self.channels].transpose(1, 2).float()
            yield (mean - self._per_channel(self.mean, mean)) / self._per_channel(self.std, mean)

    def _decode(self, frame: Latents, cache: list[Any]) -> Pixels:
        first = _start(cache, self.vae.decoder)
        frame = frame.float()
        raw = frame * self._per_channel(self.std, frame) + self._per_channel(self.mean, frame)
        x = self.vae.post_quant_conv(raw.to(self.vae.dtype).transpose(1, 2))
        out = self.vae.decoder(x, feat_cache=cache, feat_idx=[0], first_chunk=first)
        return (_unpatchify(out, self.patch).transpose(1, 2).float().clamp(-1, 1) + 1) / 2

    def _per_channel(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return like.new_tensor(values).view(-1, 1, 1)


def _start(cache: list[Any], network: nn.Module) -> bool:
    """Give a new stream one empty slot per causal convolution; True if it was new."""
    if cache:
        return False
    cache.extend(None for module in network.modules() if type(module).__name__ == "WanCausalConv3d")
    return True


def _patchify(x: ChannelsFirst, size: int) -> Patches:
    """Fold squares of pixels into channels in the order (channel, column, row)."""
    x = torch.unflatten(torch.unflatten(x, 4, (-1, size)), 3, (-1, size))
    return x.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def _unpatchify(x: Patches, size: int) -> ChannelsFirst:
    x = torch.unflatten(x, 1, (-1, size, size))
    return x.permute(0, 1, 4, 5, 3, 6, 2).flatten(5, 6).flatten(3, 4)
