"""A network with a head that tells real frames from made ones by the network's own features."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.masks import Mask
from cf.models.wrapped import WrappedBackbone, blocks_of
from cf.types import Conditioning, Latents, Prediction, Times

Features = Float[Tensor, "b f n dim"]
"""Tokens of each frame as they leave one block of a network."""


class Judged(WrappedBackbone):
    """A backbone and the classifier of DMD2 (https://arxiv.org/abs/2405.14867) on its features.

    Attributes:
        layer: the block whose output is read.
        head: features -> a logit for each token.
    """

    def __init__(self, network: Backbone, layer: int | None = None, width: int = 64) -> None:
        """Put a new head on a network.

        Args:
            network: has `blocks`.
            layer: counted from 0; None: the block in the middle.
            width: of the head's hidden layer.
        """
        super().__init__(network)
        blocks = blocks_of(network)
        index = (len(blocks) - 1) // 2 if layer is None else layer
        if not 0 <= index < len(blocks) or width < 1:
            raise ValueError(
                f"layer={layer} must be one of the critic's {len(blocks)} blocks, counted from 0, "
                f"and width={width} at least 1"
            )
        self.layer = index
        modulation = blocks[index].modulation
        assert isinstance(modulation, Tensor)
        layers = (
            nn.LayerNorm(modulation.shape[-1]),
            nn.Linear(modulation.shape[-1], width),
            nn.SiLU(),
            nn.Linear(width, 1),
        )
        self.head = nn.Sequential(*layers).to(network.device, network.dtype)

    @override
    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        prediction: Prediction = self.network(x_t, t, cond, past, mask)
        return prediction

    def logits(self, features: Features) -> Float[Tensor, " b"]:
        """How real each sample is: the mean of its tokens' logits."""
        logits: Tensor = self.head(features)
        return logits.flatten(1).mean(1)

    @contextmanager
    def watched(self) -> Iterator[list[Features]]:
        """While it lasts, every forward leaves its features in the list."""
        features: list[Features] = []

        def keep(block: nn.Module, inputs: object, out: Sequence[Tensor]) -> None:
            features.append(out[0])

        handle = blocks_of(self.network)[self.layer].register_forward_hook(keep)
        try:
            yield features
        finally:
            handle.remove()
