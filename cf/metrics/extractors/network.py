"""Extractors that are networks: frames go through in batches of one constant size."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.metrics.extractors.base import Extractor
from cf.metrics.extractors.files import read_state
from cf.metrics.extractors.lookup import Found, find
from cf.metrics.extractors.registry import entry
from cf.metrics.inputs import pixels_of

HEAD_WIDTH = 64
"""Channels of an attention head, the same in all of DINO, DINOv2 and CLIP."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch off TensorFloat-32 and the choice of algorithms by speed inside the block."""
    before = torch.get_float32_matmul_precision()
    exact = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
    with torch.backends.cudnn.flags(**exact):
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


class FeatureNetwork(Extractor):
    """Published weights behind the contract of extractors.

    Frames go through `batch` at a time, the last batch filled up with its last frame, so that the
    arithmetic is the same however frames come. With one frame at a time, as on a CPU unless told
    otherwise, features are exactly the same; with more, a frame's place in its batch may change
    them by rounding (1e-4 on a GPU).

    Attributes:
        name: of the weights, in the registry.
        weights: their file or its folder; None to look where they usually lie.
        device: that computes; auto: a GPU if there is one.
        batch: frames at a time; None for 1 on a CPU and 16 elsewhere.
    """

    takes_bytes = True

    def __init__(
        self,
        name: str,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch: int | None = None,
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.batch = batch or (1 if self.device.type == "cpu" else 16)
        if self.batch < 1:
            raise ValueError(f"batch={batch} must be at least 1")
        self.name = name
        self.semantic = entry(name).semantic
        self.found: Found = find(name, weights)
        self.network = self._built()
        if self.width != self.found.entry.width:
            raise ValueError(
                f"{self.found.path} gives features of width {self.width}, but {name} has "
                f"{self.found.entry.width}: it holds other weights"
            )
        self.network.to(self.device)

    @abstractmethod
    def build(self, state: dict[str, Tensor]) -> nn.Module:
        """The network with weights as they lie in the file."""

    @abstractmethod
    def prepare(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 size1 size2"]:
        """Frames in [0, 1] as the network wants them."""

    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, in words and numbers."""

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Features of prepared pictures."""
        features: Tensor = self.network(pictures)
        return features

    @torch.no_grad()
    @full_precision()
    @override
    def __call__(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        features = [torch.zeros(0, self.width, device=self.device)]
        for some in frames.split(self.batch) if len(frames) else ():
            missing = self.batch - len(some)
            filled = torch.cat((some, some[-1:].expand(missing, -1, -1, -1))) if missing else some
            pictures = self.prepare(pixels_of(filled.to(self.device)))
            features.append(self.forward(pictures)[: len(some)])
        return torch.cat(features)

    @override
    def provenance(self) -> dict[str, Any]:
        return {
            "extractor": self.name,
            "weights": {"sha256": self.found.sha256, "verified": self.found.verified},
            "preprocessing": self.preprocessing(),
            "kappa": self.kappa,
            "device": self.device.type,
            "dtype": "float32",
            "batch": self.batch,
            "tolerance": 0.0 if self.device.type == "cpu" and self.batch == 1 else 1e-4,
            "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        }

    def _built(self) -> nn.Module:
        try:
            return self.build(read_state(self.found.path))
        except ValueError as error:
            raise ValueError(f"{self.found.path} as {self.name}: {error}") from error
