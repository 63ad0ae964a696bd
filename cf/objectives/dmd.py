"""Distribution matching of the student's window, given its past (DMD, contextual DMD)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor

from cf.objectives.base import Networks, Objective, TimeSampling, Window
from cf.objectives.score import ScoreNetwork
from cf.seeding import SampleRandom
from cf.types import Loss, wide


@dataclass(frozen=True)
class DMD(Objective):
    """Follows the difference of two scores, of the student's distribution and of the teacher's.

    DMD: https://arxiv.org/abs/2311.18828; over windows of self-rollouts given their past it is
    Context Forcing's contextual DMD (https://arxiv.org/abs/2602.06028, equations 5 and 6), and with
    score networks that see no past Self Forcing's. In terms of x0, the gradient of a window is
    (x0_fake - x0_real) / mean|x - x0_real|, the mean taken per sample.

    Attributes:
        times: at which a window is noised.
    """

    times: TimeSampling

    needs_critic = True
    needs_gradient = True

    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        """A surrogate whose gradient in the window's frames is that of DMD, over their number."""
        gradient, logs = self.gradient(window, networks, random)
        return surrogate(window, gradient, logs)

    @torch.no_grad()
    def gradient(
        self, window: Window, networks: Networks, random: SampleRandom
    ) -> tuple[Float[Tensor, "b f c h w"], dict[str, Tensor]]:
        """The gradient in each element of the window, in float64, and what is logged."""
        x, clean = window.frames.detach(), window.clean()
        t, _, x_t = self.times.noised(x, random)
        real = networks.real.x0(x_t, t, window.cond, clean, window.uncond)
        fake = networks.fake.x0(x_t, t, window.cond, clean, window.uncond)
        scale = (x - real).double().abs().flatten(1).mean(1).view(-1, 1, 1, 1, 1)
        gradient = (fake - real).double() / scale
        return gradient, {
            "score_norm": gradient.square().mean().sqrt(),
            "real_error": F.mse_loss(real, x),
            "fake_error": F.mse_loss(fake, x),
        }

    def critic_loss(self, window: Window, fake: ScoreNetwork, random: SampleRandom) -> Loss:
        """Flow matching on the student's frames, given the past that they were made with."""
        x = window.frames.detach()
        t, eps, x_t = self.times.noised(x, random)
        velocity = fake.predict(x_t, t, window.cond, window.clean())
        return Loss(F.mse_loss(wide(velocity), wide(fake.network.target(x, eps, t))))


def surrogate(
    window: Window, gradient: Float[Tensor, "b f c h w"], logs: dict[str, Tensor]
) -> Loss:
    """A loss whose gradient in the window's frames is the one given, over their number."""
    frames = window.frames.double()
    return Loss(0.5 * F.mse_loss(frames, (frames - gradient).detach()), logs)
