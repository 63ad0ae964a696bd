"""An adversarial loss: a head on the critic tells real video from the student's (DMD2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.models.base import Backbone
from cf.models.judged import Judged
from cf.objectives.base import Networks, Objective, TimeSampling, Window
from cf.objectives.score import ScoreNetwork
from cf.seeding import SampleRandom
from cf.types import Loss, wide


@dataclass(frozen=True)
class Adversarial(Objective):
    """The student is to pass for real before a classifier on the critic's features, given the past.

    DMD2 (https://arxiv.org/abs/2405.14867, section 4.3): windows of real video and of the student
    are noised alike and go through the critic, whose features a small head reads. With the head's
    logit D, the critic's loss is softplus(-D) of real and softplus(D) of made windows, and the
    student's softplus(-D) of its own. A part of a `Plan` beside DMD, whose weight is the student's;
    the critic's flow matching is DMD's.

    Attributes:
        times: at which a window is noised.
        critic_weight: the head's loss in the critic's, in units of the part's weight (DMD2: 1e-2
            for the critic and 5e-3 for the student).
        window_frames: of a window of real video, which may be longer, so many of its last frames
            are judged, and the others are past; None: all.
        layer: the critic's block that the head reads; None: the one in the middle.
        width: of the head's hidden layer.
    """

    times: TimeSampling
    critic_weight: float = 2.0
    window_frames: int | None = None
    layer: int | None = None
    width: int = 64

    needs_critic = True
    needs_gradient = True
    critic_takes_real = True

    def __post_init__(self) -> None:
        if not self.critic_weight > 0:
            raise ValueError(f"critic_weight={self.critic_weight} must be positive")

    @override
    def critic_network(self, network: Backbone) -> Backbone:
        return Judged(network, self.layer, self.width)

    @override
    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        """softplus(-D) of the student's window, whose gradient reaches its frames alone.

        The critic's weights are left without gradient, as it is not their turn.
        """
        with torch.enable_grad():
            x = window.frames.detach().requires_grad_()
            logits = self._logits(x, window, networks.fake, random)
            value = F.softplus(-logits).mean()
            (gradient,) = torch.autograd.grad(value, x)
        frames = wide(window.frames)
        linear = (frames * gradient.to(frames)).sum()
        logs = {"fooled": (logits > 0).double().mean(), "adversarial_loss": value.detach()}
        return Loss(value.detach() + linear - linear.detach(), logs)

    @override
    def critic_loss(self, window: Window, fake: ScoreNetwork, random: SampleRandom) -> Loss:
        """softplus(-D) of a real window, softplus(D) of one that the student made."""
        if window.real and self.window_frames is not None:
            window = window.last(self.window_frames)
        logits = self._logits(window.frames.detach(), window, fake, random)
        sign = -1.0 if window.real else 1.0
        right = (logits > 0) if window.real else (logits <= 0)
        value = self.critic_weight * F.softplus(sign * logits).mean()
        return Loss(value, {"told_apart": right.double().mean()})

    def _logits(
        self, x: Tensor, window: Window, fake: ScoreNetwork, random: SampleRandom
    ) -> Float[Tensor, " b"]:
        assert isinstance(fake.network, Judged)
        _, _, x_t = noised = self.times.noised(x, random)
        features = fake.features(x_t, noised[0], window.cond, window.clean())
        return wide(fake.network.logits(features))
