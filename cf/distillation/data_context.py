"""No rollout at all: blocks of real video, noised, each over the noised ones before it."""

from dataclasses import dataclass, replace

import torch

from cf.distillation.base import Batch, Draft, Stretch
from cf.distillation.fresh import Fresh
from cf.models.base import Backbone
from cf.seeding import seeded


@dataclass
class DataContext(Fresh):
    """CausVid (https://arxiv.org/abs/2412.07772): the past in training is data, noised.

    Each block of a clip is noised to the time of a denoising step of its own, and the student makes
    it in one call, over the blocks before it as noisy as they are. What it will read of its own
    frames it never sees, from which CausVid drifts; a baseline, and a start.
    """

    @property
    def needs_video(self) -> bool:
        """Always."""
        return True

    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        """The clip's blocks, noised."""
        stretch = super().begin(student, batch, step, exits)
        assert batch.latents is not None
        start, stop, block = stretch.past.shape[1], stretch.stop, self.rollout.block_frames
        if batch.latents.shape[1] < stop:
            raise ValueError(
                f"clips of {batch.latents.shape[1]} latent frames are shorter than rollouts of "
                f"{stop}, and training_rollout=data_context makes frames from video alone; raise "
                f"data.clip_frames or lower module.length.most={self.length.most}"
            )
        clean = batch.latents[:, start:stop]
        starts = range(start, stop, block)
        eps = torch.cat([stretch.noise(at, 0) for at in starts], 1).to(clean)
        key = seeded(self.seed, 6, batch.number)
        drawn = torch.rand(len(starts), generator=key).tolist()
        choices = [self.rollout.times_at(at) for at in starts]
        block_times = [of[int(u * len(of))] for u, of in zip(drawn, choices, strict=True)]
        times = clean.new_tensor(block_times).repeat_interleave(block).expand(len(clean), -1)
        noisy = self.rollout.schedule.add_noise(clean, eps, times)
        return replace(stretch, draft=Draft(noisy, times, noisy, times, stretch.state))
