"""A start by regression on the ends of the teacher's ODE, whose trajectories are kept on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor
from typing_extensions import override

from cf.distillation.rollout_length import check_prefix, drawn
from cf.distillation.start import RealClips, Roles, Start, euler_step, told
from cf.distillation.trajectories import Trajectories
from cf.models.base import Backbone
from cf.objectives.score import ScoreNetwork
from cf.types import Latents, Loss, wide


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
        past: what the student sees of earlier blocks: the "video" that a causal teacher saw; their
            own "trajectory", where the teacher sees a whole clip at once; or a "rollout" that the
            student made when its sample came, in place of the video, which a causal teacher sees
            too, so that the student learns to go on after its own errors.
        prefix_blocks: least and most blocks of real video that a rollout of the past starts from.
        most_gb: of the folder; more is refused before the first trajectory.
    """

    dirpath: str = "trajectories"
    count: int = 1024
    solver_steps: int = 48
    past: Literal["video", "trajectory", "rollout"] = "video"
    prefix_blocks: Sequence[int] = (1, 6)
    most_gb: float = 64.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.solver_steps < 1:
            raise ValueError(
                f"start.by.count={self.count} and start.by.solver_steps={self.solver_steps} must "
                "be at least 1"
            )
        if self.past not in ("video", "trajectory", "rollout"):
            raise ValueError(
                f"start.by.past must be video, trajectory or rollout, got {self.past!r}"
            )
        check_prefix(self.prefix_blocks, "start.by.prefix_blocks")
        self.kept = Trajectories(self.dirpath, self.count, self.most_gb)

    @property
    @override
    def keeps_rollouts(self) -> bool:
        return self.past == "rollout"

    @override
    def check_view(self, teacher: ScoreNetwork) -> None:
        if self.past != "trajectory" and not teacher.sees_blocks:
            raise ValueError(
                f"start.by.past={self.past}: what a student sees of earlier blocks is nothing to a "
                f"teacher that sees a clip at once or a block alone ({type(teacher).__name__}); "
                "give score=full_history, or start.by.past=trajectory"
            )

    @property
    def times(self) -> list[float]:
        """All times from which the student is asked, falling."""
        return sorted({*self.rollout.times_at(0), *self.rollout.times}, reverse=True)

    def prepare(self, key: str) -> None:
        """The folder belongs to this teacher, data and steps."""
        settings = {"key": key, "times": self.times, "solver_steps": self.solver_steps}
        if self.keeps_rollouts:
            settings |= {"past": self.past, "prefix_blocks": list(self.prefix_blocks)}
        self.kept.prepare({**settings, "block_frames": self.rollout.block_frames})

    def loss(self, clips: RealClips, roles: Roles) -> Loss:
        """The squared error at a time drawn for every block."""
        clips, states = self.kept.of(
            clips, len(self.times) + 1, lambda some: self.solved(some, roles)
        )
        return self.regressed(clips, states, roles)

    def regressed(self, clips: RealClips, states: Tensor, roles: Roles) -> Loss:
        """The loss, given what `solved` says of the batch."""
        end = states[:, -1]
        at = self._drawn(clips)
        frames = torch.arange(end.shape[1], device=end.device)
        x_t = torch.stack([states[i, step, frames] for i, step in enumerate(at)])
        t = torch.tensor(self.times, dtype=end.dtype).to(end.device)[at]
        past = end if self.past == "trajectory" else clips.latents
        return Loss(F.mse_loss(wide(told(roles.student, x_t, t, clips.cond, past)), wide(end)))

    def solved(self, clips: RealClips, roles: Roles) -> tuple[RealClips, Tensor]:
        """What is seen as the past, and the teacher's states after it.

        The states are (b, states, f, c, h, w), at the student's times, then at 0.
        """
        if self.keeps_rollouts:
            clips = clips._replace(latents=self._made(clips, roles.average.network))
        x0, times = clips.latents, self.times
        grid = {*self.rollout.schedule.timesteps(self.solver_steps).tolist(), *times, 1.0}
        points = [*sorted(grid, reverse=True), 0.0]
        x, states = clips.random.purpose(1).normal(*x0.shape[1:]).to(x0), []
        for t, to in pairwise(points):
            if t in times:
                states.append(x)
            now, then = (x0.new_full(x0.shape[:2], value) for value in (t, to))
            x = euler_step(roles.teacher, x, now, then, clips, x0)
        return clips, torch.stack([*states, x], 1)

    def _made(self, clips: RealClips, student: Backbone) -> Latents:
        """The student's own videos after the first real blocks of the clips, and as long as them.

        As many blocks are real in all samples and on all ranks, since shards are gathered together.

        Raises:
            ValueError: the clips are real to their end.
        """
        frames, *shape = clips.latents.shape[1:]
        block, key = self.rollout.block_frames, clips.random.key
        if self.prefix_blocks[0] * block >= frames:
            raise ValueError(
                f"start.by.prefix_blocks={list(self.prefix_blocks)}: clips of {frames} latent "
                f"frames have {frames // block} blocks, so that the student would make none of "
                "them; lower it, or raise data.clip_frames"
            )
        least, most = (min(number, frames // block) for number in self.prefix_blocks)
        real = block * (least + drawn(most - least + 1, *key, 3, clips.number))
        random = clips.random.purpose(4)

        def noise(start: int, step: int) -> Latents:
            return random.purpose(start, step).normal(block, *shape)

        prefix = clips.latents[:, :real]
        return self.rollout.extend(student, prefix, noise, clips.cond, frames).to(clips.latents)

    def _drawn(self, clips: RealClips) -> Tensor:
        """Which of the times each frame is noised to: one of its block's own."""
        even = self.per_block(clips.latents, clips.random.purpose(2))
        starts = torch.arange(even.shape[1]) // self.rollout.block_frames
        places = [
            [self.times.index(t) for t in self.rollout.times_at(int(block))] for block in starts
        ]
        rows = [
            [choices[int(u * len(choices))] for u, choices in zip(sample, places, strict=True)]
            for sample in even.tolist()
        ]
        return torch.tensor(rows, device=clips.latents.device)
