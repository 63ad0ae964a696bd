"""Two networks for one rollout: one denoises, the other writes what is remembered (SGF+)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.checkpoints import load_into, refuse_misfit
from cf.models.masks import Mask
from cf.models.merged import Weights
from cf.models.wrapped import WrappedBackbone
from cf.types import Conditioning, Latents, Prediction, Times

_OWN = re.compile(r"(^|\.)memory_")


class WithWriter(WrappedBackbone):
    """A network that denoises, with another that reads finished blocks into the context.

    Self Gradient Forcing Plus (https://arxiv.org/abs/2610.10429) trains them apart, since their
    gradients conflict. Both attend the same keys and values, all of which the writer makes.

    Attributes:
        network: denoises; what the writer reads, that prepares itself.
        context_writer: of the same architecture.
    """

    def __init__(self, denoiser: Backbone, context_writer: Backbone) -> None:
        super().__init__(denoiser)
        self.context_writer = context_writer

    @property
    @override
    def writer(self) -> Backbone:
        return self.context_writer

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """The denoiser's."""
        prediction: Prediction = self.network(x_t, t, cond, past, mask)
        return prediction


def filled_backbone(
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
    network = make()
    denoising, writing = _of_each(state)
    load_into(network, denoising, source, device)
    if writing is None:
        return network
    writer = make()
    load_into(writer, writing, source, device)
    return WithWriter(network, writer)


def refuse_other_network(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Compare the names and shapes of `filled_backbone`'s weights with a network's.

    Args:
        network: of the architecture, on any device.
        state: as `load_weights` returns it.
        source: where they come from, for messages.

    Raises:
        CheckpointError: see `refuse_misfit`.
    """
    for part in _of_each(state):
        if part is not None:
            refuse_misfit(network, part, source)


def _of_each(
    state: Mapping[str, Tensor],
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor] | None]:
    """Weights of the network that denoises, and those of its writer if there is one."""
    raw = state.raw if isinstance(state, Weights) else state
    of_writer = {_OWN.sub(r"\1", name, count=1): name for name in raw if _OWN.search(name)}
    if not of_writer:
        return state, None
    shared = {name: name for name in raw if not _OWN.search(name)}
    return _named(state, shared), _named(state, {**shared, **of_writer})


def exported_weights(
    network: nn.Module, state: Mapping[str, Tensor] | None = None
) -> Mapping[str, Tensor]:
    """The weights of a network, by the names under which they are exported; see `filled`.

    Args:
        network: a module.
        state: its state dict, where it has to be gathered first; None: as the network gives it.
    """
    state = network.state_dict() if state is None else state
    if not isinstance(network, WithWriter):
        return state
    parts = {"network.": "", "context_writer.": "memory_"}
    exported = {}
    for name, weight in state.items():
        whose = next(part for part in parts if name.startswith(part))
        above, dot, last = name.removeprefix(whose).rpartition(".")
        exported[f"{above}{dot}{parts[whose]}{last}"] = weight
    return exported


def _named(state: Mapping[str, Tensor], names: Mapping[str, str]) -> Mapping[str, Tensor]:
    """Some of the weights under other names; those that are made when asked for still are."""
    if not isinstance(state, Weights):
        return {new: state[old] for new, old in names.items()}
    raw = {new: state.raw[old] for new, old in names.items()}
    makers = {new: state.made[old] for new, old in names.items() if old in state.made}
    updates = {new: state.updates[old] for new, old in names.items() if old in state.updates}
    return Weights(raw, makers, updates)
