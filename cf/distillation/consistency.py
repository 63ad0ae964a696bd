"""A start by causal consistency distillation: one step of the teacher's at a time."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from cf.distillation.start import RealClips, Roles, Start, euler_step, told
from cf.types import Loss, wide


@dataclass
class Consistency(Start):
    """Causal Forcing++ (https://arxiv.org/abs/2605.15141), after https://arxiv.org/abs/2303.01469.

    Blocks of real video are noised to points of the schedule, each to one of its own, over the
    clean blocks before them. The teacher takes one step to the next point; what the student says
    from where it began is drawn to what its average says from there. From the last point a step
    ends at time 0, where the answer is the frames themselves.

    Attributes:
        points: times of the schedule (paper: 48).
    """

    points: int = 48

    def __post_init__(self) -> None:
        if self.points < 1:
            raise ValueError(f"start.by.points={self.points} must be at least 1")

    def loss(self, clips: RealClips, roles: Roles) -> Loss:
        """The squared error of consistency."""
        x0, cond = clips.latents, clips.cond
        times = torch.cat((self.rollout.schedule.timesteps(self.points), torch.zeros(1))).to(x0)
        at = (self.per_block(x0, clips.random.purpose(0)).to(x0) * self.points).long()
        t, to = times[at], times[at + 1]
        eps = clips.random.purpose(1).normal(*x0.shape[1:]).to(x0)
        x_t = self.rollout.schedule.add_noise(x0, eps, t)
        with torch.no_grad():
            x_next = euler_step(roles.teacher, x_t, t, to, clips, x0)
            wanted = told(roles.average, x_next, to, cond, x0)
        return Loss(F.mse_loss(wide(told(roles.student, x_t, t, cond, x0)), wide(wanted)))
