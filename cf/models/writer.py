"""Two networks for one rollout: one denoises, the other writes what is remembered (SGF+)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.checkpoints import load_into
from cf.models.masks import Mask
from cf.models.merged import Weights
from cf.types import Conditioning, Latents, Past, Prediction, Times

_OWN = re.compile(r"(^|\.)memory_")


class WithWriter(Backbone):
    """A network that denoises, with another that reads finished blocks into the context.

    Self Gradient Forcing Plus (https://arxiv.org/abs/2610.10429) trains them apart, since their
    gradients conflict. Both attend the same keys and values, all of which the writer makes.

    Attributes:
        denoiser, context_writer: of one architecture.
    """

    def __init__(self, denoiser: Backbone, context_writer: Backbone) -> None:
        super().__init__()
        self.denoiser, self.context_writer = denoiser, context_writer
        self.latent_shape, self.patch_size = denoiser.latent_shape, denoiser.patch_size
        self.prediction = denoiser.prediction

    @property
    @override
    def writer(self) -> Backbone:
        return self.context_writer

    def prepare(self, past: Past, cond: Conditioning, times: Sequence[float] = ()) -> Prepared:
        """For the denoiser; what the writer reads, it prepares itself."""
        return self.denoiser.prepare(past, cond, times)

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """The denoiser's."""
        made: Prediction = self.denoiser(x_t, t, cond, past, mask)
        return made

    def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
        """The denoiser's."""
        return self.denoiser.target(x0, eps, t)

    def rotate(self, x: Tensor, ids: Tensor) -> Tensor:
        """The same for both."""
        return self.denoiser.rotate(x, ids)

    @property
    def dtype(self) -> torch.dtype:
        """Of both."""
        return self.denoiser.dtype

    @property
    def device(self) -> torch.device:
        """Of both."""
        return self.denoiser.device

    def fake_conditioning(self, batch: int, frames: int) -> Conditioning:
        """The denoiser's."""
        return self.denoiser.fake_conditioning(batch, frames)


def filled(
    make: Callable[[], Backbone],
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | None = None,
) -> Backbone:
    """The network of these weights; with its writer, where they are of two.

    SGF+ publishes both in one file: `blocks.0.ffn.0.memory_weight` is the writer's
    `blocks.0.ffn.0.weight`. What the writer has none of its own of, they share.

    Args:
        make: builds a network of the architecture.
        state: as `load_weights` returns it.
        source: where it comes from, for messages.
        device: where what is built on the meta device shall lie; None: on the CPU.

    Raises:
        CheckpointError: see `load_into`.
    """
    raw = state.raw if isinstance(state, Weights) else state
    own = {_OWN.sub(r"\1", name, count=1): name for name in raw if _OWN.search(name)}
    network = make()
    if not own:
        load_into(network, state, source, device)
        return network
    shared = [name for name in raw if not _OWN.search(name)]
    writer = make()
    load_into(network, _named(state, {name: name for name in shared}), source, device)
    load_into(writer, _named(state, {**{name: name for name in shared}, **own}), source, device)
    return WithWriter(network, writer)


def _named(state: Mapping[str, Tensor], names: Mapping[str, str]) -> Mapping[str, Tensor]:
    """Some of the weights under other names; those that are made when asked for still are."""
    if not isinstance(state, Weights):
        return {new: state[old] for new, old in names.items()}
    raw = {new: state.raw[old] for new, old in names.items()}
    made = {new: state.made[old] for new, old in names.items() if old in state.made}
    updates = {new: state.updates[old] for new, old in names.items() if old in state.updates}
    return Weights(raw, made, updates)
