"""DINO's and DINOv2's class tokens as features of frames."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, normalize, resize

from cf.metrics.extractors.names import dino_names
from cf.metrics.extractors.network import Network
from cf.metrics.extractors.vision_transformer import VisionTransformer

_MEAN = [0.485, 0.456, 0.406]
_STD = [0.229, 0.224, 0.225]


class Dino(Network):
    """The class token of DINO ViT-B/16 (arXiv 2104.14294) or DINOv2 ViT-S/14 or B/14 (2304.07193).

    Frames are resized to a short side of 224 pixels, bilinearly and without antialiasing, and are
    not cropped: the preprocessing of VBench's subject consistency, used for DINOv2 as well.

    Blind to where things are, mostly: the class token summarises the picture. Small objects count
    for little, and rows and columns of pixels that fill no patch at the right and at the bottom for
    nothing.
    """

    network: VisionTransformer

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """See `Network`."""
        return VisionTransformer.of(dino_names(state))

    @property
    def width(self) -> int:
        """See `Extractor`."""
        return self.network.width

    def prepare(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 size1 size2"]:
        """See `Network`."""
        sized = resize(frames, [224], InterpolationMode.BILINEAR, antialias=False)
        normalised: Tensor = normalize(sized, _MEAN, _STD)
        return normalised

    def preprocessing(self) -> dict[str, Any]:
        """See `Network`."""
        return {
            "short side": 224,
            "interpolation": "bilinear, no antialiasing",
            "crop": None,
            "mean": _MEAN,
            "std": _STD,
        }
