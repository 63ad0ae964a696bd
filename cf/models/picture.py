"""What an image-to-video model is told of its picture: states of CLIP, a mask and latents."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cf.metrics.extractors.hugging_face import frozen_network
from cf.models.checkpoints import refuse_not_finite
from cf.models.clip_names import (
    StretchToSquare,
    clip_config,
    is_original_clip,
    to_transformers_clip,
)
from cf.models.codec import Codec, Pixels
from cf.models.pretrained import IMAGE, find_files, find_part, first_there, parse_dtype, read_part
from cf.models.weight_files import read_json
from cf.types import Conditioning, Latents

States = Float[Tensor, "b p e"]
Pictures = Float[Tensor, "b 3 height width"]
Reference = Float[Tensor, "b f r h w"]
MARKS = ("image_encoder/config.json", "models_clip*.pth")
"""Files of which a model's folder with an image encoder has one."""
_MASK = 4  # channels, one for each pixel frame of a latent
_MOST_LATENTS = 64  # after which nothing of the picture is left in a codec's cache


class ImageEncoder(nn.Module):
    """Frozen vision tower of CLIP (https://arxiv.org/abs/2103.00020) as Wan2.1-I2V uses it.

    Attributes:
        processor: from pictures in [0, 1] to what the tower takes.
        encoder: of transformers; `from_folder` loads both.
        dim: width of the states.
    """

    def __init__(self, processor: Callable[[Pictures], Tensor], encoder: nn.Module) -> None:
        super().__init__()
        self.processor = processor
        self.encoder: Any = encoder.requires_grad_(False).eval()
        config: Any = encoder.config
        self.dim = int(config.hidden_size)

    @classmethod
    def from_folder(cls, folder: str | Sequence[str], dtype: str = "float32") -> Self:
        """Load the encoder of a published model, in diffusers' layout or in the authors' own.

        The authors stretch a picture to a square; in diffusers' layout `image_processor` says what
        becomes of it.

        Args:
            folder: the model's folder, one that holds both parts' files, or the authors' file; of
                several, the first that is there.
            dtype: float32, bfloat16 or float16; what the encoder runs in.

        Raises:
            FileNotFoundError: if one of the two is not there.
            ImportError: if transformers is not installed.
            ValueError: if weights are missing there.
        """
        folder = first_there(folder, MARKS)
        place, kind = find_part(folder, IMAGE), parse_dtype(dtype)
        try:
            from transformers import CLIPVisionConfig
        except ImportError as error:
            raise ImportError(
                "CLIP needs transformers: install this package with its extra 'wan'"
            ) from error
        stored = read_part(place, IMAGE)
        if is_original_clip(stored):
            tower = to_transformers_clip(stored)
            said: Any = clip_config(tower, place)
            processor: Callable[[Pictures], Tensor] = StretchToSquare(said["image_size"])
        else:
            beside = ("image_processor",), ("preprocessor_config.json",)
            processor = _Processor(find_files(folder, *beside, "image processor"))
            said = read_json((place if place.is_dir() else place.parent) / "config.json") or {}
            state = {n: x for n, x in stored.items() if not n.endswith("position_ids")}
            tower = {n: x for n, x in state.items() if n.startswith("vision_model.")} or state
        refuse_not_finite(tower, str(place))
        config: Any = CLIPVisionConfig(**said.get("vision_config", said))
        encoder = frozen_network("CLIPVisionModel", config, tower, f"CLIP's vision tower ({place})")
        return cls(processor, encoder.to(kind))

    @staticmethod
    def outlined(folder: str | Sequence[str], dtype: str = "float32") -> nn.Module:
        """Its tower without weights, as wide as its folder says; the published one's otherwise.

        Args:
            folder: as `from_folder` takes it.
            dtype: likewise.
        """
        from transformers import CLIPVisionConfig, CLIPVisionModel

        said: Any = None
        with suppress(FileNotFoundError):
            place = find_part(first_there(folder, MARKS), IMAGE)
            said = read_json(place / "config.json") if place.is_dir() else None
        if not said:
            said = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
            said |= {"num_attention_heads": 16, "image_size": 224, "patch_size": 14}
        config: Any = CLIPVisionConfig(**said.get("vision_config", said))
        tower: nn.Module = CLIPVisionModel(config)
        return tower.to(parse_dtype(dtype))

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the module around it does."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, pictures: Pictures) -> States:
        """States before the tower's last layer, of pictures in [0, 1] as bytes would hold them."""
        levels = (255 * pictures.clamp(0, 1)).round()
        pixels = self.processor(levels / 255).to(self.encoder.device, self.encoder.dtype)
        states: States = self.encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return states


class _Processor:
    """Pictures as `image_processor` of a published model prepares them."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPImageProcessor

        self._library: Any = CLIPImageProcessor.from_pretrained(str(folder), local_files_only=True)

    def __call__(self, pictures: Pictures) -> Tensor:
        from PIL import Image

        levels = (255 * pictures).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        ready = self._library(images=[Image.fromarray(x) for x in levels], return_tensors="pt")
        pixels: Tensor = ready.pixel_values
        return pixels


@torch.no_grad()
def reference_of(codec: Codec, picture: Pixels, channels: int) -> Reference:
    """The channels by which Wan's image-to-video models see a picture, for each latent frame.

    These are a mask, which is 1 where the picture is known, and the latents of a video that is the
    picture and then grey. Once grey no longer changes the latents, the last frame holds for all
    that follow, see `Conditioning.frames`.

    Args:
        codec: of the network's latents.
        picture: one frame, in [0, 1].
        channels: that the network takes.

    Raises:
        ValueError: if it is no single frame, or the network takes other channels.
    """
    if picture.shape[1] != 1:
        raise ValueError(
            f"this network goes on from one picture, not from {picture.shape[1]} frames; give "
            "image=..."
        )
    if channels != _MASK + codec.channels:
        raise ValueError(
            f"this network takes {channels} reference channels, but this codec makes {_MASK} of a "
            f"mask and {codec.channels} of latents; give the codec that belongs to it"
        )
    encode = codec.encoder()
    latents: list[Latents] = [encode(picture)]
    grey = torch.full_like(picture, 0.5).expand(-1, codec.time_stride, -1, -1, -1)
    while len(latents) < _MOST_LATENTS:
        latents.append(encode(grey))
        if len(latents) > 3 and all(torch.equal(x, latents[-1]) for x in latents[-3:-1]):
            break
    reference = torch.cat(latents, 1)
    mask = reference.new_zeros(*reference.shape[:2], _MASK, *reference.shape[3:])
    mask[:, 0] = 1
    return torch.cat((mask, reference), 2)


def takes_picture(network: nn.Module) -> bool:
    """Whether this is an image-to-video network, which is told of the picture it begins with."""
    attends = getattr(network, "image_dim", None) is not None
    return attends or bool(getattr(network, "reference_channels", 0))


def picture_seen(
    network: nn.Module, codec: Codec, eyes: ImageEncoder | None, picture: Pixels
) -> Conditioning:
    """What an image-to-video network is told of the pictures of a batch, besides its texts.

    Args:
        network: that is told.
        codec: of its latents.
        eyes: makes the states that it attends; None: it attends none.
        picture: one frame of each video, in [0, 1].

    Raises:
        ValueError: if there is more than a frame, or no encoder where the network attends one.
    """
    states = reference = None
    if channels := int(getattr(network, "reference_channels", 0)):
        reference = reference_of(codec, picture, channels)
    if getattr(network, "image_dim", None) is not None:
        if eyes is None:
            raise ValueError("this network attends its picture: give image_encoder=clip")
        states = eyes.encode(picture[:, 0])
    return Conditioning(image=states, reference=reference)
