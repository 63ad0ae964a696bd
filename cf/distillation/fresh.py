"""A training rollout of its own for every step: from noise, or after some real video."""

from dataclasses import dataclass
from functools import partial

import torch

from cf.distillation.base import Batch, Stretch, TrainingRollout
from cf.models.base import Backbone
from cf.rollout.given import read_at_once
from cf.rollout.state import START


@dataclass
class Fresh(TrainingRollout):
    """Every step begins a video anew, and scores its last frames (Self Forcing, Context Forcing).

    https://arxiv.org/abs/2506.08009, https://arxiv.org/abs/2602.06028.

    Attributes:
        given_at_once: read given video in one masked forward, if the memory is a mask: equal but
            for rounding.
    """

    given_at_once: bool = False

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
            read = partial(read_at_once, rollout) if self.given_at_once else rollout.remember
            state = read(student, past, noise, cond)
        made = frames - given
        scored = made if self.window_frames is None else self.window_frames
        told = batch.cond, batch.uncond, batch.samples
        sizes = made, scored, self.trained(scored)
        leaves = self.exit_step(batch, exits)
        return Stretch(rollout, noise, *told, past, state, *sizes, leaves, goes_on=False)
