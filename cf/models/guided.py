"""A network with classifier-free guidance (https://arxiv.org/abs/2207.12598), as a backbone."""

import torch
from typing_extensions import override

from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.masks import Mask
from cf.models.wrapped import WrappedBackbone
from cf.types import Conditioning, Latents, Prediction, Times


class Guided(WrappedBackbone):
    """Says v_negative + scale (v_prompt - v_negative), both out of one pass of twice the batch.

    Conditioning, and so what is remembered, has two samples for each of the latents: first all
    under their prompts, then all under what they should not show.

    Attributes:
        network: the network that is guided.
        scale: 1 is the network under its prompts alone.
    """

    def __init__(self, network: Backbone, scale: float) -> None:
        super().__init__(network)
        self.scale = scale

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """See `Backbone.forward`; the conditioning has twice the batch of `x_t`."""
        both = self.network(torch.cat((x_t, x_t)), torch.cat((t, t)), cond, past, mask)
        asked, negative = both.velocity.chunk(2)
        return Prediction(negative + self.scale * (asked - negative), both.block)

    @override
    def fake_conditioning(self, batch: int, frames: int) -> Conditioning:
        return self.network.fake_conditioning(2 * batch, frames)
