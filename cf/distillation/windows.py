"""What a distillation step scores: frames that the student makes, and real video."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.distillation.base import Batch, Gradient, Stretch, TrainingRollout
from cf.memory.base import validity
from cf.memory.pieces import holding_pieces
from cf.models.base import Backbone, recomputes
from cf.models.codec import Codec
from cf.objectives.base import Objective, Window
from cf.rollout.state import Rolled, RolloutState


class WindowNeeds(NamedTuple):
    """What the objectives of a turn ask of a rollout; see `Windows.make`."""

    exits: bool
    gradient: bool
    real: bool

    @classmethod
    def by(cls, objectives: Sequence[Objective], critic: bool) -> "WindowNeeds":
        """By these objectives, in the critic's turn or in the student's."""
        exits = any(objective.needs_gradient for objective in objectives)
        takes = [
            objective.critic_takes_real if critic else objective.takes_real
            for objective in objectives
        ]
        return cls(exits, exits and not critic, any(takes))


class ScoredRollout(NamedTuple):
    """Windows of one batch, and the frames that the student's memory held for the last block.

    Attributes:
        stretch, rolled: what the first window is of.
    """

    windows: list[Window]
    remembered: Float[Tensor, ""]
    stretch: Stretch
    rolled: Rolled

    @property
    def length(self) -> int:
        """Frames of the video that was made."""
        return self.stretch.stop


@dataclass(frozen=True)
class Windows:
    """Rolls the student out and adds real video; see `DistillModule` for the settings."""

    training_rollout: TrainingRollout
    gradient: Gradient
    codec: Codec
    real_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.real_share < 1:
            raise ValueError(f"real_share must lie in [0, 1), got {self.real_share}")
        self.gradient.check(self.training_rollout.rollout)
        if self.training_rollout.reencode_frames and self.codec.time_stride == 1:
            raise ValueError(
                f"training_rollout.reencode_frames={self.training_rollout.reencode_frames}: the "
                f"first latent frame of {type(self.codec).__name__} is like any other; set it to 0"
            )

    def make(
        self, student: Backbone, batch: Batch, step: int, exits: bool, gradient: bool, real: bool
    ) -> ScoredRollout:
        """The windows of a batch at a student step.

        Args:
            student: makes the frames.
            batch: prompts, and real clips where the data have them.
            step: of the student, from 0.
            exits: frames of a window leave at a random denoising step, not at the last.
            gradient: they carry gradient to the student.
            real: score a share of real video as well.

        Raises:
            ValueError: if real video is asked for and there is none.
        """
        own, data = self._shares(len(batch.samples), real)
        own = list(range(len(batch.samples))) if self.training_rollout.keeps else own
        stretch = self.training_rollout.begin(student, batch.only(own), step, exits)
        with torch.set_grad_enabled(gradient), holding_pieces(gradient and recomputes(student)):
            rolled = self.gradient(student, stretch)
            windows = [self._window(stretch, rolled)]
        if data:
            windows.append(self._real(batch.only(data), stretch.stop))
        remembered = _held(rolled.state, windows[0].frames.device)
        return ScoredRollout(windows, remembered, stretch, rolled)

    def _window(self, stretch: Stretch, rolled: Rolled) -> Window:
        """What is scored, its first frame as the networks that score take it."""
        window = stretch.window(rolled)
        context, start = self.training_rollout.reencode_frames, window.past.shape[1]
        if not context or not start:
            return window
        with torch.no_grad():
            before = window.clean()[:, max(start + 1 - context, 0) : start + 1]
            first = self.codec.encode(self.codec.decode(before)[:, -1:]).to(window.frames)
        return replace(window, frames=torch.cat((first, window.frames[:, 1:]), 1))

    def again(self, student: Backbone, made: ScoredRollout, gradient: Gradient) -> list[Window]:
        """The same windows, from the same frames, with gradient that flows in another way."""
        window = self._window(made.stretch, gradient(student, made.stretch))
        return [window, *made.windows[1:]]

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

    def _real(self, batch: Batch, frames: int) -> Window:
        if batch.latents is None:
            raise ValueError("the data hold no video to score: set module.real_share=0")
        block, lead = self.training_rollout.rollout.block_frames, self.training_rollout.lead
        frames = lead + (min(frames, batch.latents.shape[1]) - lead) // block * block
        video = batch.latents[:, :frames]
        uncond = batch.uncond and batch.uncond.frames(0, frames)
        cond = batch.cond.frames(0, frames)
        return Window(video[:, :lead], video[:, lead:], cond, batch.samples, uncond, real=True)


def _held(state: RolloutState, device: torch.device) -> Float[Tensor, ""]:
    """Frames that a layer holds, averaged over layers and samples."""
    context = state.context
    if not context.layers:
        return torch.zeros((), device=device)
    counts = torch.stack([validity(layer).float().sum(1).mean() for layer in context.layers])
    return counts.mean() / context.tokens_per_frame
