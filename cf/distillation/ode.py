"""A start by regression on the ends of the teacher's ODE, whose trajectories are kept on disk."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from cf.distillation.start import RealClips, Roles, Start, euler_step, told
from cf.distillation.trajectories import Trajectories
from cf.objectives.score import ScoreNetwork
from cf.types import Loss, wide


@dataclass
class OdeRegression(Start):
    """From noisy frames on a trajectory of the teacher's, its end (CausVid, Causal Forcing).

    https://arxiv.org/abs/2412.07772; over a causal teacher https://arxiv.org/abs/2602.02214, whose
    trajectories are functions of what the student sees. The first `count` samples of the data are
    solved when they come and kept; later ones are these again.

    Attributes:
        dirpath: where they are kept; another run of the same teacher, data and steps takes them up.
        count: how many (CausVid: some 1000).
        solver_steps: Euler's steps of a trajectory, besides the student's own times.
        past: what the student sees of earlier blocks: the "video" that a causal teacher saw, or
            their own "trajectory", where the teacher sees a whole clip at once.
        most_gb: of the folder; more is refused before the first trajectory.
    """

    dirpath: str = "trajectories"
    count: int = 1024
    solver_steps: int = 48
    past: Literal["video", "trajectory"] = "video"
    most_gb: float = 64.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.solver_steps < 1:
            raise ValueError(
                f"start.by.count={self.count} and start.by.solver_steps={self.solver_steps} must "
                "be at least 1"
            )
        if self.past not in ("video", "trajectory"):
            raise ValueError(f"start.by.past must be video or trajectory, got {self.past!r}")
        self.kept = Trajectories(self.dirpath, self.count, self.most_gb)

    @property
    def times(self) -> list[float]:
        """All times from which the student is asked, falling."""
        return sorted({*self.rollout.times_at(0), *self.rollout.times}, reverse=True)

    def prepare(self, key: str) -> None:
        """The folder belongs to this teacher, data and steps."""
        told = {"key": key, "times": self.times, "solver_steps": self.solver_steps}
        self.kept.prepare({**told, "block_frames": self.rollout.block_frames})

    def loss(self, clips: RealClips, roles: Roles) -> Loss:
        """The squared error at a time drawn for every block."""
        clips, states = self.kept.of(
            clips, len(self.times) + 1, lambda some: self.solved(some, roles.teacher)
        )
        end = states[:, -1]
        at = self._drawn(clips)
        frames = torch.arange(end.shape[1], device=end.device)
        x_t = torch.stack([states[i, one, frames] for i, one in enumerate(at)])
        t = torch.tensor(self.times, dtype=end.dtype).to(end.device)[at]
        past = clips.latents if self.past == "video" else end
        return Loss(F.mse_loss(wide(told(roles.student, x_t, t, clips.cond, past)), wide(end)))

    def solved(self, clips: RealClips, teacher: ScoreNetwork) -> Tensor:
        """The teacher's states at the student's times, then at 0: (b, states, f, c, h, w)."""
        x0, times = clips.latents, self.times
        grid = {*self.rollout.schedule.timesteps(self.solver_steps).tolist(), *times, 1.0}
        points = [*sorted(grid, reverse=True), 0.0]
        x, states = clips.random.purpose(1).normal(*x0.shape[1:]).to(x0), []
        for t, to in pairwise(points):
            if t in times:
                states.append(x)
            now, then = (x0.new_full(x0.shape[:2], value) for value in (t, to))
            x = euler_step(teacher, x, now, then, clips, x0)
        return torch.stack([*states, x], 1)

    def _drawn(self, clips: RealClips) -> Tensor:
        """Which of the times each frame is noised to: one of its block's own."""
        even = self.per_block(clips.latents, clips.random.purpose(2))
        starts = torch.arange(even.shape[1]) // self.rollout.block_frames
        places = [
            [self.times.index(t) for t in self.rollout.times_at(int(block))] for block in starts
        ]
        rows = [
            [own[int(u * len(own))] for u, own in zip(sample, places, strict=True)]
            for sample in even.tolist()
        ]
        return torch.tensor(rows, device=clips.latents.device)
