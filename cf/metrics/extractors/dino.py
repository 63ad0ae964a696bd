"""DINO's and DINOv2's class tokens as features of frames."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.functional import InterpolationMode, normalize, resize
from typing_extensions import override

from cf.metrics.extractors.hugging_face import frozen_network, transformers
from cf.metrics.extractors.names import depth, dino_names
from cf.metrics.extractors.network import HEAD_WIDTH, FeatureNetwork

_MEAN = [0.485, 0.456, 0.406]
_STD = [0.229, 0.224, 0.225]
_NUDGE = 0.1
"""Added to the number of patches when positions are interpolated, in both releases."""


class Dino(FeatureNetwork):
    """The class token of DINO ViT-B/16 (arXiv 2104.14294) or DINOv2 ViT-S/14 or B/14 (2304.07193).

    The network is that of `transformers` (extra `features`), its positions as released. Frames are
    resized to a short side of 224 pixels, bilinearly and without antialiasing, and are not cropped:
    the preprocessing of VBench's subject consistency, used for DINOv2 as well.

    Blind to where things are, mostly: the class token summarises the picture. Small objects count
    for little, and rows and columns of pixels that fill no patch at the right and at the bottom for
    nothing.
    """

    network: Any

    @override
    def build(self, state: dict[str, Tensor]) -> nn.Module:
        return vision_transformer(dino_names(state))

    @property
    @override
    def width(self) -> int:
        return int(self.network.config.hidden_size)

    @override
    def prepare(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 size1 size2"]:
        sized = resize(frames, [224], InterpolationMode.BILINEAR, antialias=False)
        normalised: Tensor = normalize(sized, _MEAN, _STD)
        return normalised

    @override
    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return class_token(self.network, pictures)

    @override
    def preprocessing(self) -> dict[str, Any]:
        return {
            "short side": 224,
            "interpolation": "bilinear, no antialiasing",
            "crop": None,
            "mean": _MEAN,
            "std": _STD,
        }


def vision_transformer(state: dict[str, Tensor]) -> nn.Module:
    """DINO's or DINOv2's network, built to the shapes of its weights in Hugging Face's layout.

    Raises:
        ValueError: if names or shapes are not those of one of them.
    """
    patches = state.get("embeddings.patch_embeddings.projection.weight")
    positions = state.get("embeddings.position_embeddings")
    if patches is None or positions is None:
        raise ValueError("these are not the weights of DINO or DINOv2: patches or positions lack")
    width, _, patch, _ = patches.shape
    shape = {
        "hidden_size": width,
        "num_hidden_layers": depth(state, "encoder.layer."),
        "num_attention_heads": width // HEAD_WIDTH,
        "image_size": patch * math.isqrt(positions.shape[1] - 1),
        "patch_size": patch,
        "layer_norm_eps": 1e-6,
    }
    library = transformers()
    if "embeddings.mask_token" in state:
        network: Any = frozen_network("Dinov2Model", library.Dinov2Config(**shape), state, "DINOv2")
    else:
        config = library.ViTConfig(intermediate_size=4 * width, **shape)
        network = frozen_network("ViTModel", config, state, "DINO", add_pooling_layer=False)
    network.embeddings.interpolate_pos_encoding = _Positions(network.embeddings, patch)
    return network  # type: ignore[no-any-return]


def class_token(network: Any, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
    """Of normalised pictures of any size, after the last norm."""
    any_size = {"interpolate_pos_encoding": True} if network.config.model_type == "vit" else {}
    features: Tensor = network(pictures, **any_size).last_hidden_state[:, 0]
    return features


class _Positions:
    """Embeddings of positions in a grid of patches of any shape, bicubically, as released.

    Both releases give `interpolate` a factor that is a tenth of a patch too large; `transformers`
    gives it the size, which moves features by a hundredth and more.
    """

    def __init__(self, embeddings: Any, patch: int) -> None:
        self.embeddings, self.patch = embeddings, patch

    def __call__(self, _: Tensor, height: int, width: int) -> Float[Tensor, "1 n d"]:
        positions: Tensor = self.embeddings.position_embeddings
        rows, columns = height // self.patch, width // self.patch
        grid = math.isqrt(positions.shape[1] - 1)
        if rows == columns == grid:
            return positions
        first, patches = positions[:, :1], positions[:, 1:]
        square = patches.unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
        factor = [(side + _NUDGE) / grid for side in (rows, columns)]
        resized = interpolate(square, scale_factor=factor, mode="bicubic")
        assert resized.shape[-2:] == (rows, columns), (resized.shape, rows, columns)
        return torch.cat((first, resized.flatten(2).transpose(1, 2)), 1)
