"""The rollout: noise to video block after block, each block read back into the context."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import Memory
from cf.memory.checks import checked_memory
from cf.models.base import Backbone, ahead
from cf.rollout.reads import BlockReads
from cf.rollout.solvers import SOLVERS, check_solver, solver
from cf.rollout.state import START, Noise, Rolled, RolloutState, last_of, state_dtype
from cf.schedule import FlowSchedule
from cf.seeding import SeededNoise, seeded
from cf.types import Conditioning, Latents, Times


@dataclass(frozen=True)
class Rollout:
    """Generates a video of any length from a backbone, one block at a time.

    Attributes:
        num_steps: denoising steps of a block; one more network call commits it to the context.
        timesteps: falling times of these steps, if not the schedule's; overrides num_steps. The
            first is where pure noise enters: 1, unless the network was trained otherwise.
        first_steps: denoising steps of a video's first block, where it takes others than the rest.
        context_noise: time at which a finished block is read into the context; 0: clean.
        sampler: "renoise" predicts x0 and adds fresh noise, as few-step students are trained;
            "euler" follows the velocity, for a network trained by flow matching alone, as do
            "unipc" and "dpm++", which are more exact with few steps (`cf.rollout.solvers`).
        recent_frames: latent frames that a state holds for computing its context anew; None: as
            many as the memory attends, or none if that has no bound.
    """

    memory: Memory
    schedule: FlowSchedule = field(default_factory=FlowSchedule)
    num_steps: int = 4
    block_frames: int = 3
    context_noise: float = 0.0
    sampler: Literal["renoise", "euler", "unipc", "dpm++"] = "renoise"
    timesteps: Sequence[float] | None = None
    recent_frames: int | None = None
    first_steps: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.context_noise < 1:
            raise ValueError(f"context_noise must lie in [0, 1), got {self.context_noise}")
        check_solver(self.sampler)
        times = self.times
        if not times:
            raise ValueError("timesteps must name at least one time, got []")
        if not all(1 >= a > b > 0 for a, b in zip(times, [*times[1:], times[-1] / 2], strict=True)):
            raise ValueError(f"timesteps must fall from at most 1 to above 0, got {times}")
        check_least(1, block_frames=self.block_frames, first_steps=self.first_steps)
        checked_memory(self.memory).check_block(self.block_frames)

    @cached_property
    def times(self) -> list[float]:
        """The time of every denoising step."""
        t = self.schedule.timesteps(self.num_steps) if self.timesteps is None else self.timesteps
        return [float(x) for x in t]

    def times_at(self, start: int) -> list[float]:
        """The time of every denoising step of the block that begins at frame `start`."""
        return self.times if start > 0 else self._first_times

    @cached_property
    def _first_times(self) -> list[float]:
        first = self.first_steps
        return self.times if first is None else [float(t) for t in self.schedule.timesteps(first)]

    @property
    def _passes(self) -> int:
        """Of denoising, over the block that takes most: what comes after has noise of its own."""
        return max(len(self.times), self.first_steps or 0)

    def noise(self, student: Backbone, seed: int, samples: Sequence[int]) -> SeededNoise:
        """Seeded noise of the shape that this rollout and `student` need."""
        return SeededNoise(seed, tuple(samples), (self.block_frames, *student.latent_shape))

    def check_length(self, blocks: int, given: int, seconds: float) -> None:
        """Raise a ValueError if it cannot make so many blocks, of so long, after given latents."""

    def random_exit(self, *key: int) -> int:
        """An exit step drawn evenly; one for all blocks, samples and ranks that share `key`."""
        return int(torch.randint(self._passes, (), generator=seeded(*key)))

    def exit_of(self, start: int, exit_step: int) -> int:
        """The step that is as far along of the block at frame `start`, which may have fewer."""
        return exit_step * len(self.times_at(start)) // self._passes

    def stream(
        self,
        student: Backbone,
        noise: Noise,
        cond: Conditioning,
        state: RolloutState = START,
    ) -> Iterator[tuple[Latents, RolloutState]]:
        """Blocks without end, each with the state from which the stream can be taken up again.

        Runs without gradient. In inference mode a state is consumed when the next block is asked
        for; `fork` it to keep it.

        Raises:
            ValueError: when a per-frame control or origin has come to its end.
        """
        while True:
            with torch.no_grad():
                x0, state = self._advance(student, noise, cond, state)
            yield x0, state

    def remember(
        self,
        student: Backbone,
        latents: Latents,
        noise: Noise,
        cond: Conditioning,
        state: RolloutState = START,
        differentiable: bool = False,
    ) -> RolloutState:
        """The state after frames that were not generated here: a prompt video or image.

        They are read block by block; where they do not divide, the first block is the shorter.
        Noise is asked for only with `context_noise`, and then cut to the length of the block.
        Gradient flows into what is remembered if that is `differentiable`.
        """
        blocks, first = divmod(latents.shape[1], self.block_frames)
        lengths = [first] * bool(first) + [self.block_frames] * blocks
        for part in torch.split(latents.to(student.device, state_dtype(student)), lengths, 1):
            reads = self._reads(student, cond, state, part.shape[1])
            with torch.set_grad_enabled(torch.is_grad_enabled() and differentiable):
                state = self._commit(student, noise, part, reads, state)
        return state

    @torch.no_grad()
    def extend(
        self, student: Backbone, latents: Latents, noise: Noise, cond: Conditioning, frames: int
    ) -> Float[Tensor, "b all c h w"]:
        """The given latents and what follows them, up to `frames` frames."""
        state = self.remember(student, latents, noise, cond) if latents.shape[1] else START
        missing = max(frames - latents.shape[1], 0)
        stream = self.stream(student, noise, cond, state)
        blocks = [block for block, _ in islice(stream, -(-missing // self.block_frames))]
        return torch.cat((latents, *blocks), 1)[:, :frames]

    def velocity(
        self, student: Backbone, x_t: Latents, t: Times, cond: Conditioning, state: RolloutState
    ) -> Latents:
        """The velocity of the coming block at hand, seeing what `state` remembers."""
        reads = self._reads(student, cond, state, x_t.shape[1])
        velocity: Latents = student(x_t, t, reads.cond, reads("denoise", 0)).velocity
        return velocity

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

        Frames before the window run every step. Those inside leave at `exit_step` (None: the
        last), and only that network call carries gradient. Without `differentiable_past` no
        gradient flows from one block to another; with it, it flows through the window's frames
        and through the keys and values by which they were remembered. Unless the rollout
        `goes_on`, its last block is not read into the context.
        """
        exit_step = self._passes - 1 if exit_step is None else exit_step
        self._check(frames, window_frames, exit_step)
        blocks: list[Latents] = []
        for start in range(0, frames, self.block_frames):
            scored = start >= frames - window_frames
            with torch.set_grad_enabled(torch.is_grad_enabled() and scored):
                past_rules = differentiable_past, goes_on or start + self.block_frames < frames
                exit_here = self.exit_of(state.context.start, exit_step) if scored else None
                x0, state = self._advance(student, noise, cond, state, exit_here, *past_rules)
            blocks.append(x0)
        split = (frames - window_frames) // self.block_frames
        nothing = blocks[0][:, :0].detach()
        past, window = (torch.cat([nothing, *part], 1) for part in (blocks[:split], blocks[split:]))
        exit_t = window.new_tensor(self.times[self.exit_of(1, exit_step)])
        return Rolled(past, window, exit_t, state)

    def _check(self, frames: int, window_frames: int, exit_step: int) -> None:
        for name, value in (("frames", frames), ("window_frames", window_frames)):
            if value % self.block_frames or value < 0:
                raise ValueError(
                    f"{name}={value} is not a multiple of block_frames={self.block_frames}"
                )
        if frames == 0:
            raise ValueError("frames=0 leaves nothing to roll out")
        if window_frames > frames:
            raise ValueError(f"window_frames={window_frames} exceeds frames={frames}")
        if not 0 <= exit_step < self._passes:
            raise ValueError(f"exit_step must lie in 0..{self._passes - 1}, got {exit_step}")

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
        times = self.times_at(state.context.start)
        all_times = *times, self.context_noise
        reads = self._reads(student, cond, state, self.block_frames, differentiable_past, all_times)
        x0 = self._denoise(student, noise, reads, times, exit_step)
        if not remembers:
            return x0, state
        with torch.set_grad_enabled(torch.is_grad_enabled() and differentiable_past):
            committed = x0 if differentiable_past else x0.detach()
            return x0, self._commit(student, noise, committed, reads, state)

    def _denoise(
        self,
        student: Backbone,
        noise: Noise,
        reads: BlockReads,
        times: Sequence[float],
        exit_step: int | None,
    ) -> Latents:
        start = reads.context.start
        last = len(times) - 1 if exit_step is None else exit_step
        entering = last if self.sampler == "renoise" else 0
        eps = [ahead(noise(start, step), student.device) for step in range(entering + 1)]
        x = eps[0].to(state_dtype(student))
        solve = solver(self.sampler, times) if self.sampler in SOLVERS else None
        for step in range(last + 1):
            t = x.new_full(x.shape[:2], times[step])
            with torch.set_grad_enabled(torch.is_grad_enabled() and step == last):
                velocity, block = student(x, t, reads.cond, reads("denoise", step))
                x0 = self.schedule.to_x0(velocity, x, t)
            reads.passed(block)
            if step == last:
                return x0
            to = torch.full_like(t, times[step + 1])
            if solve is not None:
                x = solve(velocity, x)
            elif self.sampler == "euler":
                x = self.schedule.step(velocity, x, t, to)
            else:
                x = self.schedule.add_noise(x0, eps[step + 1].to(x), to)
        raise AssertionError("a rollout has at least one step")

    def _commit(
        self, student: Backbone, noise: Noise, x0: Latents, reads: BlockReads, state: RolloutState
    ) -> RolloutState:
        x, t = self.as_read(x0, noise, reads.context.start)
        block = student.writer(x, t, reads.cond, reads("commit", self._passes)).block
        reads.clear()
        return RolloutState(self.memory.update(reads.context, block), self.recent(state, x0))

    @property
    def recent_held(self) -> int:
        """How many latent frames a state holds at most."""
        return (self.memory.max_frames if self.recent_frames is None else self.recent_frames) or 0

    def as_read(self, x0: Latents, noise: Noise, start: int) -> tuple[Latents, Times]:
        """A finished block that begins at frame `start`, as it is read into the context."""
        t = x0.new_full(x0.shape[:2], self.context_noise)
        if self.context_noise == 0:
            return x0, t
        eps = ahead(noise(start, self._passes), x0.device)[:, : x0.shape[1]].to(x0)
        return self.schedule.add_noise(x0, eps, t), t

    def recent(self, state: RolloutState, x0: Tensor) -> Tensor | None:
        """The last latent frames that are held once the block `x0` is finished."""
        return last_of(state, x0, self.recent_held)

    def _reads(
        self,
        student: Backbone,
        cond: Conditioning,
        state: RolloutState,
        frames: int,
        differentiable: bool = False,
        times: Sequence[float] = (),
    ) -> BlockReads:
        start = state.context.start
        block_cond = cond.frames(start, start + frames)
        place = state.begin, differentiable, times
        return BlockReads(student, self.memory, state.context, block_cond, frames, *place)
