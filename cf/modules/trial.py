"""A step of a training on shapes alone, to see what it holds at most."""

from dataclasses import replace
from typing import Any

import torch

from cf.distillation.base import Batch
from cf.distillation.scoring import scored
from cf.distillation.windows import WindowNeeds
from cf.models.adapters import shared_networks
from cf.models.allocated import Allocated
from cf.modules.distill import DistillModule
from cf.modules.pretrain import PretrainModule
from cf.seeding import seeded
from cf.types import Conditioning

Peaks = dict[str, int]
"""Bytes of activations by what is done; `held` is what a rollout leaves for its gradient."""


def tried(module: Any, batch_size: int, frames: int, step: int) -> Peaks:
    """The most bytes that each part of a step takes besides weights, gradients and states.

    Args:
        module: of networks on one device, which is counted; that may be the meta device.
        batch_size: samples.
        frames: latent frames of the data's clips; 0: the data are prompts alone.
        step: at which rollouts are as long as they get.

    Raises:
        ValueError: this kind of module cannot be counted.
    """
    if isinstance(module, DistillModule):
        peaks = _turn(module, _batch(module, batch_size, frames, guided=True), step, critic=False)
        if module.critic is not None:
            batch = _batch(module, batch_size, frames, guided=False)
            critics = _turn(module, batch, step, critic=True)
            peaks |= {f"critic: {name}": size for name, size in critics.items()}
        return peaks
    if isinstance(module, PretrainModule):
        return _pretrained(module, batch_size, frames)
    raise ValueError(
        f"memory is counted of module=distill and module=pretrain, not {type(module).__name__}"
    )


def _turn(module: DistillModule, batch: Batch, step: int, critic: bool) -> Peaks:
    parts = module.parts_at(step, critic)
    asked = WindowNeeds.by([part.objective for part in parts], critic)
    network = module.critic if critic else module.trained
    assert network is not None
    frozen = [*shared_networks([module]), *module.networks.real.networks]
    there = [*_with_gradients(network), *(x for one in (module, *frozen) for x in _weights(one))]
    with Allocated(module.trained.device.type, there) as count:
        before = count.now
        made = module.windows.make(module.trained, batch, step, *asked)
        peaks = {"rollout": count.peak, "held": count.now}
        count.restart()
        loss = scored(parts, made.windows, module.networks, critic, module.seed).value
        peaks["scoring"] = count.peak
        count.restart()
        if loss.requires_grad:
            loss.backward()
        peaks["backward"] = count.peak
    return {name: size - before for name, size in peaks.items()}


def _pretrained(module: PretrainModule, batch_size: int, frames: int) -> Peaks:
    network, objective = module.trained, module.objective.longest(frames)
    latents = torch.zeros(batch_size, frames, *network.latent_shape, device=network.device)
    cond = network.fake_conditioning(batch_size, frames)
    frozen = shared_networks([module])
    there = [*_with_gradients(network), *(x for one in (module, *frozen) for x in _weights(one))]
    with Allocated(network.device.type, there) as count:
        before = count.now
        loss = objective(network, latents, cond, seeded(module.seed, 0)).value
        peaks = {"forward": count.peak, "held": count.now}
        count.restart()
        loss.backward()
        peaks["backward"] = count.peak
    return {name: size - before for name, size in peaks.items()}


def _batch(module: DistillModule, size: int, frames: int, guided: bool) -> Batch:
    network = module.trained
    length = max(frames, module.windows.training_rollout.longest)
    latents = None
    if frames:
        latents = torch.zeros(size, frames, *network.latent_shape, device=network.device)
    cond = network.fake_conditioning(size, length)
    uncond: Conditioning | None = None
    if guided and module.networks.real.needs_uncond and cond.text is not None:
        uncond = replace(cond, text=torch.zeros_like(cond.text))
    return Batch(latents, cond, uncond, 0, tuple(range(size)))


def _weights(module: torch.nn.Module) -> list[torch.Tensor]:
    """What is changed in place, or taken as it is, and is counted by itself."""
    return [*module.parameters(), *module.buffers()]


def _with_gradients(network: torch.nn.Module) -> list[torch.Tensor]:
    """Room for gradients, which are counted by themselves."""
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return [p.grad for p in network.parameters() if p.grad is not None]
