"""The straight path between data and noise, x_t = (1 - t) x0 + t eps, and its conversions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cf.bounds import check_above, check_least
from cf.types import Latents, Times


@dataclass(frozen=True)
class FlowSchedule:
    """Rectified flow with a timestep shift (https://arxiv.org/abs/2403.03206).

    Attributes:
        shift: moves timesteps towards noise, t <- shift t / (1 + (shift - 1) t); 1 moves nothing.

    >>> FlowSchedule(shift=5.0).timesteps(4)
    tensor([1.0000, 0.9375, 0.8333, 0.6250])
    """

    shift: float = 5.0

    def __post_init__(self) -> None:
        check_above(0, shift=self.shift)

    def warp(self, t: Tensor) -> Tensor:
        """Apply the shift to uniform times."""
        return self.shift * t / (1 + (self.shift - 1) * t)

    def timesteps(self, num_steps: int) -> Float[Tensor, " s"]:
        """The times at which a sampler of `num_steps` calls the network: 1 = first > ... > 0."""
        check_least(1, num_steps=num_steps)
        return self.warp(1 - torch.arange(num_steps) / num_steps)

    def add_noise(self, x0: Latents, eps: Latents, t: Times) -> Latents:
        """The noisy latents x_t."""
        t = _per_frame(t, x0)
        return torch.addcmul((1 - t) * x0, t, eps)

    def to_x0(self, velocity: Latents, x_t: Latents, t: Times) -> Latents:
        """Clean latents from velocity = eps - x0."""
        return torch.addcmul(x_t, _per_frame(t, x_t), velocity, value=-1)

    def to_eps(self, velocity: Latents, x_t: Latents, t: Times) -> Latents:
        """Noise from velocity = eps - x0."""
        return x_t + (1 - _per_frame(t, x_t)) * velocity

    def step(self, velocity: Latents, x_t: Latents, t: Times, to: Times) -> Latents:
        """One Euler step along the velocity, from time `t` to time `to`."""
        return x_t - _per_frame(t - to, x_t) * velocity


def _per_frame(t: Times, like: Tensor) -> Tensor:
    return t.to(like).view(*t.shape, 1, 1, 1)
