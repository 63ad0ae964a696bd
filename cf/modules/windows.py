"""What a distillation step scores: self-rollouts after real prefixes, and real video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.memory.base import validity
from cf.models.base import Backbone
from cf.modules.rollout_length import Length, drawn
from cf.objectives.base import Window
from cf.rollout.blockwise import Rollout
from cf.rollout.state import START, RolloutState
from cf.types import Conditioning, Latents


class ScoredRollout(NamedTuple):
    """Windows of one batch, and the frames that the student's memory held at their end."""

    windows: list[Window]
    remembered: Float[Tensor, ""]
    length: int
    given: int


class Batch(NamedTuple):
    """A batch as a network takes it.

    Attributes:
        latents: None where the data are prompts alone.
        number: of the batch, over the whole run; the same on every rank.
        samples: global number of each sample.
    """

    latents: Latents | None
    cond: Conditioning
    uncond: Conditioning | None
    number: int
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """Rolls the student out and cuts what is scored; see `DistillModule` for the settings.

    Attributes:
        differentiable_past: let gradient flow from one block of a window to another.
    """

    rollout: Rollout
    length: Length
    window_frames: int | None = None
    prefix_blocks: Sequence[int] = (1, 6)
    real_share: float = 0.5
    differentiable_past: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        block = self.rollout.block_frames
        if len(self.prefix_blocks) != 2 or not 0 <= self.prefix_blocks[0] <= self.prefix_blocks[1]:
            raise ValueError(
                f"prefix_blocks must be [least, most] with 0 <= least <= most, got "
                f"{list(self.prefix_blocks)}"
            )
        if not 0 <= self.real_share < 1:
            raise ValueError(f"real_share must lie in [0, 1), got {self.real_share}")
        scored = block if self.window_frames is None else self.window_frames
        if (
            scored < 1
            or scored % block
            or scored + self.prefix_blocks[0] * block > self.length.least
        ):
            raise ValueError(
                f"window_frames={self.window_frames} must be whole blocks of {block} frames and, "
                f"after prefix_blocks[0]={self.prefix_blocks[0]} blocks, fit into "
                f"length.least={self.length.least}"
            )

    @property
    def starts_from_video(self) -> bool:
        """Whether rollouts may begin with real frames."""
        return self.prefix_blocks[1] > 0

    def make(
        self, student: Backbone, batch: Batch, step: int, exits: bool, gradient: bool, real: bool
    ) -> ScoredRollout:
        """The windows of a batch at a student step.

        Attributes:
            exits: frames of a window leave at a random denoising step, not at the last.
            gradient: they carry gradient to the student.
            real: score a share of real video as well.

        Raises:
            ValueError: if real video is asked for and there is none.
        """
        self._check(batch)
        frames = self.length(step, self.seed, 0, batch.number)
        given = self._given(frames, batch)
        own, data = self._shares(len(batch.samples), real)
        made = self._rolled(student, _only(batch, own), frames, given, exits, gradient)
        windows = [made[0]]
        if data:
            windows.append(self._real(_only(batch, data), frames))
        return ScoredRollout(windows, _held(made[1]), frames, given)

    def _check(self, batch: Batch) -> None:
        """The data must last for the longest rollout, not only for the first ones."""
        least, most = self.prefix_blocks[0] * self.rollout.block_frames, self.length.most
        if batch.latents is not None and batch.latents.shape[1] < least:
            raise ValueError(
                f"clips of {batch.latents.shape[1]} latent frames are shorter than "
                f"module.prefix_blocks[0]={self.prefix_blocks[0]} blocks; raise data.clip_frames"
            )
        for name, signal in batch.cond.per_frame().items():
            if signal.shape[1] < most:
                raise ValueError(
                    f"the data's {name} covers {signal.shape[1]} frames, but rollouts grow to "
                    f"module.length.most={most}; raise data.clip_frames or lower it"
                )

    def _given(self, frames: int, batch: Batch) -> int:
        """Frames of real video at the beginning; the same for all samples and ranks."""
        block = self.rollout.block_frames
        least, most = self.prefix_blocks
        room = (frames - (self.window_frames or block)) // block
        if batch.latents is None:
            if most:
                raise ValueError(
                    "the data hold no video to start from: set module.prefix_blocks=[0,0] and "
                    "module.real_share=0"
                )
            return 0
        most = min(most, room, batch.latents.shape[1] // block)
        return block * (least + drawn(max(most - least, 0) + 1, self.seed, 1, batch.number))

    def _shares(self, count: int, real: bool) -> tuple[list[int], list[int]]:
        """Samples that are rolled out, and real ones; spread alike over every rank's batch."""
        share = self.real_share if real else 0.0
        if abs(count * share - round(count * share)) > 1e-9:  # else ranks would not be one batch
            raise ValueError(
                f"module.real_share={self.real_share} of a batch of {count} is no whole number of "
                f"samples; change data.batch_size"
            )
        data = [i for i in range(count) if int((i + 1) * share + 1e-9) > int(i * share + 1e-9)]
        return [i for i in range(count) if i not in set(data)], data

    def _rolled(
        self,
        student: Backbone,
        batch: Batch,
        frames: int,
        given: int,
        exits: bool,
        gradient: bool,
    ) -> tuple[Window, RolloutState]:
        rollout, cond = self.rollout, batch.cond.frames(0, frames)
        noise = rollout.noise(student, self.seed, batch.samples)
        state, parts = START, []
        if batch.latents is not None and given:
            parts = [batch.latents[:, :given]]
            state = rollout.remember(student, parts[0], noise, cond)
        exit_step = rollout.random_exit(self.seed, 2, batch.number) if exits else None
        with torch.set_grad_enabled(gradient):
            rolled = rollout(
                student,
                noise,
                cond,
                frames=frames - given,
                window_frames=frames - given if self.window_frames is None else self.window_frames,
                exit_step=exit_step,
                differentiable_past=self.differentiable_past,
                state=state,
            )
        past = torch.cat([*parts, rolled.past], 1)
        uncond = batch.uncond and batch.uncond.frames(0, frames)
        return Window(past, rolled.window, cond, batch.samples, uncond), rolled.state

    def _real(self, batch: Batch, frames: int) -> Window:
        if batch.latents is None:
            raise ValueError("the data hold no video to score: set module.real_share=0")
        block = self.rollout.block_frames
        frames = min(frames, batch.latents.shape[1]) // block * block
        window = batch.latents[:, :frames]
        uncond = batch.uncond and batch.uncond.frames(0, frames)
        cond = batch.cond.frames(0, frames)
        return Window(window[:, :0], window, cond, batch.samples, uncond, real=True)


def _only(batch: Batch, index: list[int]) -> Batch:
    """Some of a batch's samples."""
    return batch._replace(
        latents=None if batch.latents is None else batch.latents[index],
        cond=batch.cond.samples(index),
        uncond=batch.uncond and batch.uncond.samples(index),
        samples=tuple(batch.samples[i] for i in index),
    )


def _held(state: RolloutState) -> Float[Tensor, ""]:
    """Frames that a layer holds, averaged over layers and samples."""
    context = state.context
    held = torch.stack([validity(layer).float().sum(1).mean() for layer in context.layers])
    return held.mean() / context.tokens_per_frame
