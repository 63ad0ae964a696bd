"""A training rollout of its own for every step: from noise, or after some real video."""

from dataclasses import dataclass

import torch

from cf.distillation.base import Batch, Stretch, TrainingRollout
from cf.models.base import Backbone
from cf.rollout.state import START


@dataclass
class Fresh(TrainingRollout):
    """Every step begins a video anew, and scores its last frames (Self Forcing, Context Forcing).

    https://arxiv.org/abs/2506.08009, https://arxiv.org/abs/2602.06028.
    """

    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        """A rollout of the length that is due, after as much real video as is drawn."""
        self.check(batch)
        frames = self.length(step, self.seed, 0, batch.number)
        given = self.given(frames, batch)
        rollout = self.rollout
        noise = rollout.noise(student, self.seed, batch.samples)
        state, past = START, torch.zeros(len(batch.samples), 0, *student.latent_shape)
        past = past.to(student.device)
        if batch.latents is not None and given:
            past = batch.latents[:, :given]
            cond = batch.cond.frames(0, frames)
            state = rollout.remember(student, past, noise, cond)
        made = frames - given
        scored = made if self.window_frames is None else self.window_frames
        told = batch.cond, batch.uncond, batch.samples
        sizes = made, scored, self.trained(scored)
        return Stretch(rollout, noise, *told, past, state, *sizes, self.exit_step(batch, exits))
