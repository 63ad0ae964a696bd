"""The direct forcing loss: on its own rollout the student predicts what the teacher predicts."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from cf.bounds import check_above
from cf.objectives.base import Networks, Objective, TimeSampling, Window
from cf.seeding import SampleRandom
from cf.types import Loss, wide


@dataclass(frozen=True)
class DirectForcing(Objective):
    """Noise a window anew and match the student's velocity, given its memory, to the teacher's.

    The frames come from the student itself, so that it learns on the mistakes it makes, and the
    teacher sees of them what its own view of the past allows. Windows of real video are scored in
    the same way; without them novel content collapses.

    Attributes:
        times: at which a window is noised.
        divergence: "squared" error, or the "kl" of Gaussians around both velocities, in nats per
            element, from the teacher's to the student's.
        student_std, teacher_std: their standard deviations, for "kl".
    """

    times: TimeSampling
    divergence: Literal["squared", "kl"] = "squared"
    student_std: float = 1.0
    teacher_std: float = 1.0

    takes_real = True
    predicts = True

    def __post_init__(self) -> None:
        if self.divergence not in ("squared", "kl"):
            raise ValueError(f"divergence must be squared or kl, got {self.divergence!r}")
        check_above(0, student_std=self.student_std, teacher_std=self.teacher_std)

    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        """The divergence, averaged over all elements of the window."""
        x, clean = window.frames.detach(), window.clean()
        t, _, x_t = self.times.noised(x, random)
        with torch.no_grad():
            wanted = networks.real.velocity(x_t, t, window.cond, clean, window.uncond)
        velocity = networks.student.predict(x_t, t, window.cond, clean)
        error = (wide(velocity) - wide(wanted)).square().mean()
        logs = {"velocity_error": error.detach()}
        if self.divergence == "squared":
            return Loss(error, logs)
        ratio = self.student_std / self.teacher_std
        kl = error / (2 * self.student_std**2) + (ratio**-2 - 1) / 2 + math.log(ratio)
        return Loss(kl, logs)
