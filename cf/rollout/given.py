"""Frames that were not generated, read into a context in one forward where a mask stands for it."""

import torch

from cf.memory.base import pieces
from cf.models.base import WRITTEN, Backbone
from cf.models.masks import BlockCausal
from cf.rollout.blockwise import Rollout
from cf.rollout.state import START, Noise, RolloutState, state_dtype
from cf.types import Conditioning, Latents


def read_at_once(
    rollout: Rollout, student: Backbone, latents: Latents, noise: Noise, cond: Conditioning
) -> RolloutState:
    """The state after whole blocks at the beginning of a video, as `Rollout.remember` makes it.

    They are read in one forward under the memory's mask, the same but for rounding; block by block
    where no mask reads what the memory does. Without gradient.
    """
    sizes, frames = rollout.memory.as_mask(), latents.shape[1]
    if sizes is None or frames % rollout.block_frames:
        return rollout.remember(student, latents, noise, cond)
    latents = latents.to(student.device, state_dtype(student))
    parts = torch.split(latents, rollout.block_frames, 1)
    read = [rollout.as_read(x0, noise, i * x0.shape[1]) for i, x0 in enumerate(parts)]
    x, t = (torch.cat(tensors, 1) for tensors in zip(*read, strict=True))
    mask, state = BlockCausal(rollout.block_frames, *sizes), START
    with torch.no_grad():
        joint_block = student.writer(x, t, cond.frames(0, frames), WRITTEN, mask).block
        lengths = [x0.shape[1] for x0 in parts]
        for x0, block in zip(parts, pieces(joint_block, lengths), strict=True):
            context = rollout.memory.update(state.context, block)
            state = RolloutState(context, rollout.recent(state, x0))
    return state
