"""Flow matching on real video under a causal mask: teacher forcing and diffusion forcing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from cf.models.base import UNREAD, Backbone
from cf.models.masks import BlockCausal, TeacherForcing
from cf.schedule import FlowSchedule
from cf.types import Conditioning, Latents, Loss, Times, wide


class PretrainLoss(ABC):
    """What one network is trained to do on real video."""

    @abstractmethod
    def __call__(
        self, network: Backbone, x0: Latents, cond: Conditioning, generator: torch.Generator
    ) -> Loss:
        """The loss on clean latents `x0`; all randomness comes from `generator`, on the CPU."""

    def measured(
        self, network: Backbone, x0: Latents, cond: Conditioning, generator: torch.Generator
    ) -> Loss:
        """The loss that validation reports, which changes nothing."""
        return self(network, x0, cond, generator)

    def longest(self, frames: int) -> "PretrainLoss":
        """The same at what takes most of clips of `frames` latent frames; it changes nothing."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """What it has gathered in training, for the checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027  (most have none)
        """Go on with what an interrupted training had gathered."""


@dataclass(frozen=True)
class ForcingLoss(PretrainLoss):
    """Squared error of velocity at a random time per block, shared by the block's frames.

    Attributes:
        block_frames: frames that are denoised jointly.
        window_frames: how far back training lets a block see, itself included; None: all.
        sink_frames: first frames that stay visible beyond the window.
    """

    schedule: FlowSchedule = field(default_factory=FlowSchedule)
    block_frames: int = 3
    window_frames: int | None = None
    sink_frames: int = 0

    def __call__(
        self, network: Backbone, x0: Latents, cond: Conditioning, generator: torch.Generator
    ) -> Loss:
        """The loss on clean latents `x0`; all randomness comes from `generator`, on the CPU.

        Raises:
            ValueError: if the frames of `x0` are not whole blocks.
        """
        if x0.shape[1] % self.block_frames:
            raise ValueError(
                f"a clip has {x0.shape[1]} latent frames, which are not whole blocks of "
                f"block_frames={self.block_frames}; choose another clip length or block"
            )
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        t = self.schedule.warp(self._per_block(x0, generator))
        x_t = self.schedule.add_noise(x0, eps, t)
        velocity = self.velocity(network, x0, x_t, t, cond, generator)
        return Loss(F.mse_loss(wide(velocity), wide(network.target(x0, eps, t))))

    @abstractmethod
    def velocity(
        self,
        network: Backbone,
        x0: Latents,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        generator: torch.Generator,
    ) -> Latents:
        """The network's velocity of `x_t`, seeing what this objective lets it see of the past."""

    def _per_block(self, x0: Latents, generator: torch.Generator) -> Times:
        blocks = x0.shape[1] // self.block_frames
        t = torch.rand(x0.shape[0], blocks, generator=generator)
        return t.repeat_interleave(self.block_frames, 1).to(x0)


@dataclass(frozen=True)
class TeacherForcingLoss(ForcingLoss):
    """Every noisy block sees the clean blocks before it, in one forward over [clean | noisy].

    Attributes:
        context_noise: the clean half is noised to a time drawn from U(0, context_noise) per
            block, so that the network learns to read slightly wrong frames.
    """

    context_noise: float = 0.1

    def velocity(
        self,
        network: Backbone,
        x0: Latents,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        generator: torch.Generator,
    ) -> Latents:
        """Past: the clip's own frames, clean or nearly so."""
        context_t = self.context_noise * self._per_block(x0, generator)
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        context = self.schedule.add_noise(x0, eps, context_t)
        mask = TeacherForcing(self.block_frames, self.window_frames, self.sink_frames)
        rows, times = torch.cat((context, x_t), 1), torch.cat((context_t, t), 1)
        velocity: Latents = network(rows, times, cond, UNREAD, mask).velocity
        return velocity[:, x0.shape[1] :]


@dataclass(frozen=True)
class DiffusionForcingLoss(ForcingLoss):
    """Every block sees earlier ones at noise levels of their own (https://arxiv.org/abs/2407.01392)."""

    def velocity(
        self,
        network: Backbone,
        x0: Latents,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        generator: torch.Generator,
    ) -> Latents:
        """Past: the noisy frames themselves."""
        mask = BlockCausal(self.block_frames, self.window_frames, self.sink_frames)
        velocity: Latents = network(x_t, t, cond, UNREAD, mask).velocity
        return velocity
