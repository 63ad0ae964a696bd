"""A network around another, of which all that it does not change is the other's."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from cf.models.base import Backbone, Prepared
from cf.types import Conditioning, Latents, Past, Times


class WrappedBackbone(Backbone):
    """Hands everything but `forward` on to the network that it is around.

    Attributes:
        network: the network within.
    """

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network
        self.latent_shape, self.patch_size = network.latent_shape, network.patch_size
        self.prediction = network.prediction
        self.control_dim, self.image_dim = network.control_dim, network.image_dim
        self.reference_channels = network.reference_channels
        self.text_dim: int | None = getattr(network, "text_dim", None)

    @override
    def prepare(self, past: Past, cond: Conditioning, times: Sequence[float] = ()) -> Prepared:
        return self.network.prepare(past, cond, times)

    @override
    def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
        return self.network.target(x0, eps, t)

    @override
    def rotate(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.network.rotate(x, ids)

    @property
    @override
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    @property
    @override
    def device(self) -> torch.device:
        return self.network.device

    @override
    def fake_conditioning(self, batch: int, frames: int) -> Conditioning:
        return self.network.fake_conditioning(batch, frames)


def blocks_of(network: Backbone) -> nn.ModuleList:
    """The transformer blocks of a network, through whatever is around it.

    Raises:
        ValueError: if it has none.
    """
    within = network
    while isinstance(within, WrappedBackbone):
        within = within.network
    blocks = getattr(within, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ValueError(f"{type(within).__name__} has no `blocks`, a ModuleList")
    return blocks
