"""Frames made a second time, each block in one call, over what was written of a draft of them."""

import torch

from cf.distillation.base import Draft, Stretch
from cf.models.base import Backbone
from cf.models.masks import TeacherForcing
from cf.rollout.blockwise import Rollout
from cf.rollout.reads import BlockReads
from cf.rollout.state import Rolled, RolloutState
from cf.types import Conditioning, Latents, Times


def made_again(student: Backbone, stretch: Stretch, draft: Draft, through_past: bool) -> Rolled:
    """The frames of a stretch from its draft; gradient flows from each block's single call.

    With `through_past` it flows on through the calls that write the blocks before it. The drafted
    frames themselves are constants.
    """
    sizes = stretch.rollout.memory.as_mask()
    alike = through_past or not torch.is_grad_enabled()
    if stretch.begins and student.writer is student and sizes is not None and alike:
        velocity = _at_once(student, stretch, draft, sizes)
    else:
        velocity = _in_turn(student, stretch, draft, through_past)
    x0 = stretch.rollout.schedule.to_x0(velocity, draft.noisy, draft.times)
    split = stretch.frames - stretch.trained
    return Rolled(x0[:, :split].detach(), x0[:, split:], draft.times.mean(), draft.state)


def _at_once(
    student: Backbone, stretch: Stretch, draft: Draft, sizes: tuple[int | None, int]
) -> Latents:
    """One forward over [written | noisy] under a mask."""
    frames, block = stretch.frames, stretch.rollout.block_frames
    mask = TeacherForcing(block, *sizes, noisy_frames=frames)
    rows = torch.cat((draft.written, draft.noisy), 1)
    times = torch.cat((draft.written_times, draft.times), 1)
    velocity: Latents = student(rows, times, stretch.cond.frames(0, frames), mask=mask).velocity
    return velocity[:, frames:]


def _in_turn(student: Backbone, stretch: Stretch, draft: Draft, through_past: bool) -> Latents:
    """Block by block, from a state that is a constant, through any memory."""
    rollout, cond, state = stretch.rollout, stretch.cond, stretch.state
    grad, velocities = torch.is_grad_enabled(), list[Latents]()
    for begin in range(0, stretch.frames, rollout.block_frames):
        at = slice(begin, begin + rollout.block_frames)
        carries = grad and begin >= stretch.frames - stretch.trained
        with torch.set_grad_enabled(carries):
            noisy, times = draft.noisy[:, at], draft.times[:, at]
            velocities.append(rollout.velocity(student, noisy, times, cond, state))
        if at.stop < stretch.frames:
            with torch.set_grad_enabled(carries and through_past):
                read = draft.written[:, at], draft.written_times[:, at]
                state = _written(student, rollout, *read, cond, state)
    return torch.cat(velocities, 1)


def _written(
    student: Backbone,
    rollout: Rollout,
    x: Latents,
    t: Times,
    cond: Conditioning,
    state: RolloutState,
) -> RolloutState:
    """The state after a block that is read as it is, at the times that are told."""
    start, frames = state.context.start, x.shape[1]
    block_cond = cond.frames(start, start + frames)
    reads = BlockReads(student, rollout.memory, state.context, block_cond, frames)
    block = student.writer(x, t, block_cond, reads("commit", len(rollout.times))).block
    return RolloutState(rollout.memory.update(reads.context, block))
