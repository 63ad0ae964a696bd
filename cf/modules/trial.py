"""A step of a training on shapes alone, to see what it holds at most."""

from dataclasses import replace
from typing import Any

import torch

from cf.distillation.base import Batch
from cf.distillation.ode import OdeRegression
from cf.distillation.scoring import scored
from cf.distillation.start import RealClips
from cf.distillation.windows import WindowNeeds
from cf.models.adapters import shared_networks
from cf.models.allocated import Allocated
from cf.modules.distill import DistillModule
from cf.modules.pretrain import PretrainModule
from cf.modules.start import StartModule
from cf.seeding import SampleRandom, seeded
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
    if isinstance(module, StartModule):
        return _started(module, batch_size, frames)
    raise ValueError(
        f"memory is counted of module=distill, pretrain and start, not {type(module).__name__}"
    )


def _turn(module: DistillModule, batch: Batch, step: int, critic: bool) -> Peaks:
    parts = module.parts_at(step, critic)
    needs = WindowNeeds.by([part.objective for part in parts], critic)
    network = module.critic if critic else module.trained
    assert network is not None
    frozen = [*shared_networks([module]), *module.networks.real.networks]
    tensors = [*_with_gradients(network), *(x for m in (module, *frozen) for x in _weights(m))]
    with Allocated(module.trained.device.type, tensors) as count:
        before = count.now
        output = module.windows.make(module.trained, batch, step, *needs)
        peaks = {"rollout": count.peak, "held": count.now}
        count.restart()
        loss = scored(parts, output.windows, module.networks, critic, module.seed).value
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
    tensors = [*_with_gradients(network), *(x for m in (module, *frozen) for x in _weights(m))]
    with Allocated(network.device.type, tensors) as count:
        before = count.now
        loss = objective(network, latents, cond, seeded(module.seed, 0)).value
        peaks = {"forward": count.peak, "held": count.now}
        count.restart()
        loss.backward()
        peaks["backward"] = count.peak
    return {name: size - before for name, size in peaks.items()}


def _started(module: StartModule, size: int, frames: int) -> Peaks:
    if not frames:
        raise ValueError(
            "a start trains on video, and the data hold prompts alone; give data.folder"
        )
    network, roles, by = module.trained, module.roles, module.by
    cond, samples = network.fake_conditioning(size, frames), tuple(range(size))
    latents = torch.zeros(size, frames, *network.latent_shape, device=network.device)
    uncond = _without_text(cond) if roles.teacher.needs_uncond else None
    clips = RealClips(latents, cond, uncond, samples, SampleRandom((module.seed, 1), samples), 0)
    frozen = [*shared_networks([module]), *roles.teacher.networks]
    tensors = [*_with_gradients(network), *(x for m in (module, *frozen) for x in _weights(m))]
    peaks: Peaks = {}
    with Allocated(network.device.type, tensors) as count:
        before = count.now
        if isinstance(by, OdeRegression):
            with torch.no_grad():  # one of its steps, which are alike
                clips, states = replace(by, solver_steps=1).solved(clips, roles)
            peaks["trajectories"] = count.peak
            count.restart()
            loss = by.regressed(clips, states, roles).value
        else:
            loss = by.loss(clips, roles).value
        peaks |= {"forward": count.peak, "held": count.now}
        count.restart()
        loss.backward()
        peaks["backward"] = count.peak
    return {name: size - before for name, size in peaks.items()}


def _without_text(cond: Conditioning) -> Conditioning | None:
    return None if cond.text is None else replace(cond, text=torch.zeros_like(cond.text))


def _batch(module: DistillModule, size: int, frames: int, guided: bool) -> Batch:
    network = module.trained
    length = max(frames, module.windows.training_rollout.longest)
    latents = None
    if frames:
        latents = torch.zeros(size, frames, *network.latent_shape, device=network.device)
    cond = network.fake_conditioning(size, length)
    uncond = _without_text(cond) if guided and module.networks.real.needs_uncond else None
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
