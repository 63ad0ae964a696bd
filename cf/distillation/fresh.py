"""A training rollout of its own for every step: from noise, or after some real video."""

from dataclasses import dataclass

from cf.distillation.base import Batch, Stretch, TrainingRollout
from cf.models.base import Backbone


@dataclass
class Fresh(TrainingRollout):
    """Every step begins a video anew, and scores its last frames (Self Forcing, Context Forcing).

    https://arxiv.org/abs/2506.08009, https://arxiv.org/abs/2602.06028.
    """

    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        """A rollout of the length that is due, after as much real video as is drawn."""
        self.check(batch)
        frames = self.lead + self.length(step, self.seed, 0, batch.number)
        prefix = self.given(frames, batch)
        noise = self.rollout.noise(student, self.seed, batch.samples)
        new_frames = frames - prefix
        scored = new_frames if self.window_frames is None else self.window_frames
        return Stretch(
            self.rollout,
            noise,
            *(batch.cond, batch.uncond, batch.samples),
            *self.remembered(student, batch, noise, prefix),
            *(new_frames, scored, self.trained(scored)),
            self.exit_step(batch, exits),
            goes_on=False,
        )
