"""How a score network sees the past: not at all, as a clean prefix in time, through a memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.memory.base import Memory
from cf.models.base import UNREAD, Backbone
from cf.models.guided import ALWAYS, led_away
from cf.models.judged import Features, Judged
from cf.models.masks import TeacherForcing
from cf.rollout.blockwise import Rollout
from cf.rollout.state import START
from cf.schedule import FlowSchedule
from cf.types import Conditioning, Latents, Times

Clean = Float[Tensor, "b known c h w"]
"""Past and window together."""


@dataclass(frozen=True)
class ScoreNetwork(ABC):
    """A network that tells the velocity, and so the score, of a noised window given its past.

    Everywhere `clean` holds past and window together, clean, and `x_t` the window, which is the
    last of these frames; `cond` belongs to all of them. What of `clean` is used is the subclass's
    affair; the frames of a block are never used to score the block itself.

    Attributes:
        guidance: velocity = other + guidance (own - other), of which the other is without text, or
            that of the guide; 1: none. Self Forcing's 3 is 4.
        guidance_times: least and most time at which it is guided: most of what guidance spoils, it
            spoils elsewhere (https://arxiv.org/abs/2404.07724).
        guide: a weaker network to lead away from, under the same text and with a view of the past
            of its own (autoguidance, https://arxiv.org/abs/2406.02507); None: lead away from the
            network's own velocity without text.
    """

    network: Backbone
    guidance: float = 1.0
    guidance_times: Sequence[float] = field(default=ALWAYS, kw_only=True)
    guide: ScoreNetwork | None = field(default=None, kw_only=True)

    @property
    def needs_uncond(self) -> bool:
        """Whether it is led away from its own velocity without text."""
        return self.guidance != 1 and self.guide is None

    @property
    def sees_blocks(self) -> bool:
        """Whether a block of the window sees clean blocks before it within the window."""
        return False

    @property
    def networks(self) -> tuple[Backbone, ...]:
        """Its own and the guide's."""
        return (self.network, *(() if self.guide is None else self.guide.networks))

    def unguided(self, network: Backbone) -> ScoreNetwork:
        """Another network with the same view of the past, which nothing guides: a critic."""
        return replace(self, network=network, guidance=1.0, guide=None)

    def velocity(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        clean: Clean,
        uncond: Conditioning | None = None,
    ) -> Latents:
        """The guided velocity.

        Raises:
            ValueError: if there is guidance and nothing to lead away from.
        """
        own = self.predict(x_t, t, cond, clean)
        if self.guidance == 1.0:
            return own
        if self.guide is not None:
            other = self.guide.predict(x_t, t, cond, clean)
        elif uncond is not None:
            other = self.predict(x_t, t, uncond, clean)
        else:
            raise ValueError(
                f"guidance={self.guidance} needs text to lead away from, or a guide; set it to 1 "
                "without either"
            )
        # Both are computed at any time: where weights are sharded, all processes call alike.
        return led_away(own, other, self.guidance, t, self.guidance_times)

    def x0(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        clean: Clean,
        uncond: Conditioning | None = None,
    ) -> Latents:
        """The guided guess of the clean window."""
        return x_t - t[..., None, None, None] * self.velocity(x_t, t, cond, clean, uncond)

    @abstractmethod
    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """The velocity under one conditioning."""

    def features(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Features:
        """What the head of a judged network reads of the window.

        Raises:
            ValueError: if the window is not read in one forward.
        """
        assert isinstance(self.network, Judged)
        with self.network.watched() as features:
            self.predict(x_t, t, cond, clean)
        if len(features) != 1:
            raise ValueError(
                f"a head on the critic reads a window in one forward, and {type(self).__name__} "
                f"took {len(features)} of this memory; give score=time_prefix, memoryless or "
                f"full_history"
            )
        return features[0][:, -x_t.shape[1] :]


@dataclass(frozen=True)
class Memoryless(ScoreNetwork):
    """Sees the window alone, all of it at once (Self Forcing, LongLive)."""

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """One bidirectional forward."""
        frames = clean.shape[1]
        window_cond = cond.frames(frames - x_t.shape[1], frames)
        velocity: Latents = self.network(x_t, t, window_cond, UNREAD).velocity
        return velocity


@dataclass(frozen=True)
class TimePrefix(ScoreNetwork):
    """Sees the last frames before the window as a clean prefix in time, all frames at once.

    Context Forcing's released code (https://arxiv.org/abs/2602.06028) puts 21 clean frames before
    21 noised ones, at positions 0 to 41, and tells the network one time for all of them.

    Attributes:
        prefix_frames: at most so many.
        tell_clean: the prefix's own time is 0 rather than that of the window's first frame.
    """

    prefix_frames: int = 21
    tell_clean: bool = False

    def __post_init__(self) -> None:
        if self.prefix_frames < 0:
            raise ValueError(f"prefix_frames must not be negative, got {self.prefix_frames}")

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """One bidirectional forward over [prefix | window]."""
        start = clean.shape[1] - x_t.shape[1]
        index = range(max(start - self.prefix_frames, 0), start)
        return after_clean(self.network, index, x_t, t, cond, clean, self.tell_clean)


def after_clean(
    network: Backbone,
    index: Sequence[int],
    x_t: Latents,
    t: Times,
    cond: Conditioning,
    clean: Clean,
    tell_clean: bool,
) -> Latents:
    """The velocity of a window after some clean frames, all of which see one another.

    Args:
        network: bidirectional.
        index: the clean frames; they and the window stand at positions 0, 1, 2, ...
        x_t: the window.
        t: its times.
        cond: of all frames.
        clean: past and window.
        tell_clean: the clean frames' time is 0 rather than that of the window's first frame.
    """
    frames, start, indices = clean.shape[1], clean.shape[1] - x_t.shape[1], list(index)
    clean_t = t.new_zeros(()) if tell_clean else t[:, :1]
    times = torch.cat((clean_t.expand(len(t), len(indices)), t), 1)
    rows = torch.cat((clean[:, indices], x_t), 1)
    rows_cond = cond.chosen([*indices, *range(start, frames)])
    velocity: Latents = network(rows, times, rows_cond, UNREAD).velocity
    return velocity[:, len(indices) :]


@dataclass(frozen=True, kw_only=True)
class SharedMemory(ScoreNetwork):
    """Sees, block by block, what a memory keeps of the clean frames before the block.

    With the student's own memory teacher and student look back equally far, as Context Forcing's
    text has it; with `full` the teacher sees all of history, with a window of two blocks hardly
    any. One masked forward where the memory is a mask, a pass block by block elsewhere.

    Attributes:
        differentiable_past: let gradient flow through the keys and values of the clean frames, so
            that a student learns to write its memory.
    """

    memory: Memory
    block_frames: int = 3
    differentiable_past: bool = True

    @property
    @override
    def sees_blocks(self) -> bool:
        most = self.memory.max_frames
        return most is None or most > self.block_frames

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """The velocity of every block of the window over its own past.

        Raises:
            ValueError: if the window is not whole blocks. What the past has beyond whole blocks is
                its first block (a picture).
        """
        frames, first = clean.shape[1], (clean.shape[1] - x_t.shape[1]) % self.block_frames
        if x_t.shape[1] % self.block_frames:
            raise ValueError(
                f"a window of {x_t.shape[1]} frames must be whole blocks of "
                f"block_frames={self.block_frames}"
            )
        sizes = self.memory.as_mask()
        if self.network.writer is not self.network:
            sizes = None  # one forward cannot be two networks'
        if sizes is not None and (self.differentiable_past or not torch.is_grad_enabled()):
            mask = TeacherForcing(self.block_frames, *sizes, first or None, x_t.shape[1])
            rows = torch.cat((clean, x_t), 1)
            times = torch.cat((t.new_zeros(len(t), frames), t), 1)
            velocity: Latents = self.network(rows, times, cond, mask=mask).velocity
            return velocity[:, frames:]
        return self._blockwise(x_t, t, cond, clean)

    def sampled(self, schedule: FlowSchedule) -> Rollout:
        """How it makes videos of its own: along its ODE, whatever way the student is sampled in."""
        return Rollout(self.memory, schedule, 8, self.block_frames, sampler="euler")

    def _blockwise(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        rollout = Rollout(self.memory, block_frames=self.block_frames)
        start, state, velocities = clean.shape[1] - x_t.shape[1], START, []
        first = start % self.block_frames
        for begin in [0] * bool(first) + list(range(first, clean.shape[1], self.block_frames)):
            at = slice(begin, begin + self.block_frames if begin or not first else first)
            if begin >= start:
                part = slice(begin - start, begin - start + self.block_frames)
                velocities.append(
                    rollout.velocity(self.network, x_t[:, part], t[:, part], cond, state)
                )
            if at.stop < clean.shape[1]:
                state = rollout.remember(
                    self.network, clean[:, at], _silent, cond, state, self.differentiable_past
                )
        return torch.cat(velocities, 1)


def _silent(block: int, step: int) -> Latents:
    raise AssertionError("clean frames are remembered without noise")
