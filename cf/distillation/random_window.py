"""A window anywhere in a long rollout, made again from its own noised frames."""

from dataclasses import dataclass, replace

import torch

from cf.distillation.base import Batch, Draft, Stretch
from cf.distillation.fresh import Fresh
from cf.distillation.rollout_length import drawn
from cf.models.base import Backbone

_AGAIN = 1000
"""Step that keys the noise of the second making: no rollout has so many of its own."""


@dataclass
class RandomWindow(Fresh):
    """Self-Forcing++ (https://arxiv.org/abs/2510.02283): long rollouts, short windows.

    A rollout without gradient, every step taken, of at most as many frames as `length` draws; the
    window lies anywhere in it, evenly. Its frames are noised to the time of the exit step and
    denoised in one call per block, which carries gradient. Frames after the window, on which
    nothing depends, are not made.
    """

    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        """What leads to the window, and the window's draft."""
        full = super().begin(student, batch, step, exits)
        rollout, block, window = self.rollout, self.rollout.block_frames, full.scored
        before = block * drawn((full.frames - window) // block + 1, self.seed, 4, batch.number)
        past, state = full.past, full.state
        cond = batch.cond.frames(0, past.shape[1] + before + window)
        with torch.no_grad():
            if before:
                led = rollout(student, full.noise, cond, frames=before, state=state)
                past, state = torch.cat((past, led.past), 1), led.state
            windowed = replace(full, past=past, state=state, frames=window)
            if full.exit_step is None:  # nothing will carry gradient
                return windowed
            rolled = rollout(student, full.noise, cond, frames=window, state=state, goes_on=False)
            start, frames = past.shape[1], rolled.past
            starts = range(start, start + window, block)
            eps = torch.cat([full.noise(at, _AGAIN) for at in starts], 1).to(frames)
            exit_t = [rollout.times_at(at)[rollout.exit_of(at, full.exit_step)] for at in starts]
            times = frames.new_tensor(exit_t).repeat_interleave(block).expand(len(frames), -1)
            noisy = rollout.schedule.add_noise(frames, eps, times)
            pieces = zip(torch.split(frames, block, 1), starts, strict=True)
            read = [rollout.as_read(x0, full.noise, at) for x0, at in pieces]
            written, read_times = (torch.cat(tensors, 1) for tensors in zip(*read, strict=True))
        return replace(windowed, draft=Draft(noisy, times, written, read_times, rolled.state))
