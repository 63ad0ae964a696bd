"""A rollout that denoises a window of blocks at once, each a step behind the one before it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cf.models.base import Backbone
from cf.rollout.blockwise import Rollout
from cf.rollout.state import START, Noise, Rolled, RolloutState
from cf.types import Conditioning, Latents, Times


@dataclass(frozen=True)
class Rolling(Rollout):
    """Rolling Forcing (https://arxiv.org/abs/2509.25161).

    The window holds as many blocks as there are steps; all are denoised together, see one another,
    and read the context. Every pass finishes the first of them, which then is read into the
    context alone, and a block of noise enters at the end. So there are two network calls for each
    block, and a new prompt takes the length of the window to be obeyed. A stream begins with
    shorter windows, and so ends, where per-frame conditioning or `frames` end.

    Attributes:
        num_steps: blocks of the window too (paper: 5).
    """

    num_steps: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampler != "renoise":
            raise ValueError(f"a rolling window renoises; sampler={self.sampler!r} is not for it")
        if self.first_steps is not None:
            raise ValueError("a rolling window takes its steps together; leave first_steps out")
        self.memory.check_block(len(self.times) * self.block_frames)

    def __call__(
        self,
        student: Backbone,
        noise: Noise,
        cond: Conditioning,
        *,
        frames: int,
        window_frames: int = 0,
        exit_step: int | None = None,
        differentiable_past: bool = False,
        state: RolloutState = START,
        goes_on: bool = True,
    ) -> Rolled:
        """Roll out `frames` frames for training; the last `window_frames` carry gradient.

        With an `exit_step` these are what every num_steps-th pass over the window says, so that
        blocks leave at different steps, each with those it was denoised with; None: what a
        block's last pass says. `exit_t` is their mean time. Where nobody `goes_on`, the last block
        is not read into the context.
        """
        self._check(frames, window_frames, 0 if exit_step is None else exit_step)
        begun = state.context.start
        scored, times = begun + frames - window_frames, self.times
        grad = torch.is_grad_enabled()
        past: list[Latents] = []
        window: dict[int, Latents] = {}
        exit_times: list[float] = []
        last = begun + frames - self.block_frames
        while state.context.start <= last:
            start, passes = state.context.start, state.passes
            due = (
                exit_step is None or (start // self.block_frames + passes) % len(times) == exit_step
            )
            end, finished = self._end(state, begun + frames), passes == len(times) - 1
            with torch.set_grad_enabled(grad and due and end > scored):
                reads = differentiable_past, goes_on or start < last
                x0, state = self._pass(student, noise, cond, state, end, *reads)
            for i, block in enumerate(torch.split(x0, self.block_frames, 1)):
                at, step = start + i * self.block_frames, passes - i
                if at >= scored and due and (exit_step is not None or step == len(times) - 1):
                    window[at] = block
                    exit_times.append(times[step])
            if finished and start < scored:
                past.append(x0[:, : self.block_frames].detach())
            if finished and start == last:
                break
        nothing = x0[:, :0].detach()
        video = [torch.cat([nothing, *part], 1) for part in (past, window.values())]
        mean = sum(exit_times) / len(exit_times) if exit_times else times[-1]
        return Rolled(video[0], video[1], x0.new_tensor(mean), state)

    def _advance(
        self,
        student: Backbone,
        noise: Noise,
        cond: Conditioning,
        state: RolloutState,
        exit_step: int | None = None,
        differentiable_past: bool = False,
        remembers: bool = True,
    ) -> tuple[Latents, RolloutState]:
        """Passes until a block is finished: one, once the window is full."""
        start = state.context.start
        lengths = [x.shape[1] for x in cond.per_frame().values()]
        first = start + self.block_frames
        finished = False
        while not finished:
            end = max(self._end(state, min(lengths, default=None)), first)
            finished = state.passes == len(self.times) - 1
            x0, state = self._pass(student, noise, cond, state, end, differentiable_past, remembers)
        return x0[:, : self.block_frames], state

    def _end(self, state: RolloutState, limit: int | None) -> int:
        """Where the next pass over the window ends: a block further, if there is one."""
        window_frames = 0 if state.window is None else state.window.shape[1]
        end = state.context.start + window_frames + self.block_frames
        return end if limit is None or end <= limit else state.context.start + window_frames

    def _pass(
        self,
        student: Backbone,
        noise: Noise,
        cond: Conditioning,
        state: RolloutState,
        end: int,
        differentiable_past: bool,
        remembers: bool = True,
    ) -> tuple[Latents, RolloutState]:
        """One pass over the window that ends at frame `end`: all its x0, and the state after."""
        start = state.context.start
        reads = self._reads(student, cond, state, end - start, differentiable_past)
        x, t = self._window(student, noise, state, end)
        velocity = student(x, t, reads.cond, reads("denoise", 0)).velocity
        x0 = self.schedule.to_x0(velocity, x, t)
        reads.clear()
        finished = state.passes == len(self.times) - 1
        with torch.no_grad():
            waiting = self._renoised(x0.detach(), noise, state, first=int(finished))
        if not finished:
            return x0, replace(state, window=waiting, passes=state.passes + 1)
        if not remembers:
            return x0, state
        block = x0[:, : self.block_frames]
        block_reads = self._reads(student, cond, state, self.block_frames, differentiable_past)
        with torch.set_grad_enabled(torch.is_grad_enabled() and differentiable_past):
            committed = block if differentiable_past else block.detach()
            after = self._commit(student, noise, committed, block_reads, state)
        passes = state.passes if waiting.shape[1] else 0
        return x0, replace(after, window=waiting if waiting.shape[1] else None, passes=passes)

    def _window(
        self, student: Backbone, noise: Noise, state: RolloutState, end: int
    ) -> tuple[Latents, Times]:
        """The window's latents and times; a block at its end that is new is noise."""
        parts = [] if state.window is None else [state.window]
        entered = state.context.start + sum(x.shape[1] for x in parts)
        if entered < end:
            fresh = noise(entered, 0)
            dtype = torch.promote_types(student.dtype, torch.float32)
            parts.append(fresh.to(student.device, dtype))
        x = torch.cat(parts, 1)
        blocks = x.shape[1] // self.block_frames
        times = [self.times[state.passes - i] for i in range(blocks)]
        t = x.new_tensor(times).repeat_interleave(self.block_frames)
        return x, t.expand(x.shape[0], -1)

    def _renoised(self, x0: Tensor, noise: Noise, state: RolloutState, first: int) -> Tensor:
        """The window's blocks from the `first` on, at the times of their next steps."""
        blocks = torch.split(x0, self.block_frames, 1)
        out = [x0[:, :0]]
        for i in range(first, len(blocks)):
            at, step = state.context.start + i * self.block_frames, state.passes - i + 1
            t = x0.new_full(blocks[i].shape[:2], self.times[step])
            out.append(self.schedule.add_noise(blocks[i], noise(at, step).to(x0), t))
        return torch.cat(out, 1)
