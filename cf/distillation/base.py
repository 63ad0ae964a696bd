"""What a training rollout is, and how gradient flows: the two seams of a distillation step."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.distillation.rollout_length import Length, check_prefix, drawn
from cf.models.base import Backbone
from cf.objectives.base import Window
from cf.rollout.blockwise import Rollout
from cf.rollout.given import read_at_once
from cf.rollout.state import START, Noise, Rolled, RolloutState
from cf.types import Conditioning, Latents, Times


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

    def only(self, index: list[int]) -> "Batch":
        """Some of its samples."""
        return self._replace(
            latents=None if self.latents is None else self.latents[index],
            cond=self.cond.samples(index),
            uncond=self.uncond and self.uncond.samples(index),
            samples=tuple(self.samples[i] for i in index),
        )


class Draft(NamedTuple):
    """Frames made without gradient, from which they are made once more, with it.

    Attributes:
        noisy, times: what each block is denoised from, in one call.
        written, written_times: what the blocks after it read of it.
        state: what the student remembers at their end.
    """

    noisy: Latents
    times: Times
    written: Latents
    written_times: Times
    state: RolloutState


@dataclass(frozen=True)
class Stretch:
    """Frames that the student is about to make, and all they depend on besides its weights.

    Attributes:
        rollout: how they are made.
        noise, cond, uncond: for the whole video, from its first frame on.
        samples: global number of each sample.
        past: the clean frames before, given or made earlier; may be empty.
        state: what the student remembers of them.
        frames: how many are made.
        scored: last frames that are scored, whether they were made now or before.
        trained: last of the frames made that may carry gradient.
        exit_step: denoising step at which those leave; None: the last.
        goes_on: the student reads what was made into its memory to the end, for a later stretch.
        draft: what they are made from, if not from noise.
        seen: frames of the past that an earlier step of training has made.
    """

    rollout: Rollout
    noise: Noise
    cond: Conditioning
    uncond: Conditioning | None
    samples: tuple[int, ...]
    past: Float[Tensor, "b past c h w"]
    state: RolloutState
    frames: int
    scored: int
    trained: int
    exit_step: int | None = None
    goes_on: bool = True
    draft: Draft | None = None
    seen: int = 0

    @property
    def begins(self) -> bool:
        """Whether there is nothing before them."""
        return self.state.context.start == 0 and self.past.shape[1] == 0

    @property
    def stop(self) -> int:
        """Frames of the video once they are made."""
        return self.past.shape[1] + self.frames

    def window(self, rolled: Rolled) -> Window:
        """What is scored once they are made."""
        video = torch.cat((self.past, rolled.past, rolled.window), 1)
        split = self.stop - self.scored
        cond = self.cond.frames(0, self.stop)
        uncond = self.uncond and self.uncond.frames(0, self.stop)
        return Window(video[:, :split].detach(), video[:, split:], cond, self.samples, uncond)


@dataclass
class TrainingRollout(ABC):
    """Says what of a video the student makes in a step of training, and what of it is scored.

    A subclass keeps hyper-parameters and, if its rollouts last for more than a step, what they
    have come to. All randomness is keyed by the number of the batch.

    Attributes:
        rollout: how the student makes frames.
        length: student step -> frames of a rollout, those given included.
        window_frames: last frames of a rollout that are scored; None: all that were made.
        prefix_blocks: least and most blocks of real video that a rollout starts from.
        keeps: whether its rollouts go on from step to step. All samples of a batch are made then,
            and real video is scored besides.
        first_gradient: whether the first block of a window carries gradient. Without it, that
            block takes every step, as the frames before it do (Context Forcing's released code).
        given_at_once: read given video in one masked forward, if the memory is a mask: equal but
            for rounding.
        image_first: every video begins with one real latent frame, which stands for a picture, and
            blocks follow it (image to video).
        reencode_frames: latent frames that are decoded, up to the first one of a window, which is
            then encoded anew as a picture, as that of a clip is to a teacher of clips (Self
            Forcing: 21); 0: it stays. It carries no gradient then.
    """

    keeps: ClassVar[bool] = False

    rollout: Rollout
    length: Length
    window_frames: int | None = None
    prefix_blocks: Sequence[int] = (1, 6)
    first_gradient: bool = True
    given_at_once: bool = False
    image_first: bool = False
    reencode_frames: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_prefix(self.prefix_blocks, "module.prefix_blocks")
        block = self.rollout.block_frames
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
        if not self.first_gradient and scored <= block:
            raise ValueError(
                f"training_rollout.first_gradient=false leaves nothing to train of "
                f"module.window_frames={self.window_frames}; set it to {2 * block} or more"
            )

    @property
    def needs_video(self) -> bool:
        """Whether rollouts may begin with real frames."""
        return self.prefix_blocks[1] > 0 or self.image_first

    @property
    def lead(self) -> int:
        """Frames before the first whole block."""
        return int(self.image_first)

    @property
    def longest(self) -> int:
        """The most frames that a video of it ever has."""
        return self.lead + self.length.most

    @abstractmethod
    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        """What is made with this batch at a student step.

        With `exits`, frames that carry gradient leave at a random denoising step, not at the last.

        Raises:
            ValueError: if the data do not have what it takes.
        """

    def finish(self, stretch: Stretch, rolled: Rolled) -> None:  # noqa: B027  (most keep nothing)
        """Take note of what was made."""

    def state_dict(self) -> dict[str, Any]:
        """What this process has to keep so that a resumed run makes the same frames."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  (most keep nothing)
        """Go on from what `state_dict` said."""

    def check(self, batch: Batch) -> None:
        """Refuse data that do not last for the longest rollout, not only for the first ones.

        Raises:
            ValueError: if they do not.
        """
        least = self.lead + self.prefix_blocks[0] * self.rollout.block_frames
        if batch.latents is not None and batch.latents.shape[1] < least:
            raise ValueError(
                f"clips of {batch.latents.shape[1]} latent frames are shorter than "
                f"module.prefix_blocks[0]={self.prefix_blocks[0]} blocks; raise data.clip_frames"
            )
        for name, signal in batch.cond.per_frame().items():
            if signal.shape[1] < self.longest:
                raise ValueError(
                    f"the data's {name} covers {signal.shape[1]} frames, but rollouts grow to "
                    f"module.length.most={self.longest}; raise data.clip_frames or lower it"
                )

    def given(self, frames: int, batch: Batch) -> int:
        """Frames of real video at the beginning; the same for all samples and ranks."""
        block = self.rollout.block_frames
        least, most = self.prefix_blocks
        room = (frames - self.lead - (self.window_frames or block)) // block
        if batch.latents is None:
            if self.needs_video:
                raise ValueError(
                    "the data hold no video to start from: set module.prefix_blocks=[0,0] and "
                    "module.real_share=0" + ", training_rollout.image_first=false" * self.lead
                )
            return 0
        most = min(most, room, (batch.latents.shape[1] - self.lead) // block)
        more = drawn(max(most - least, 0) + 1, self.seed, 1, batch.number)
        return self.lead + block * (least + more)

    def remembered(
        self, student: Backbone, batch: Batch, noise: Noise, given: int
    ) -> tuple[Latents, RolloutState]:
        """The first `given` frames of real video, and what a student remembers of them."""
        if batch.latents is None or not given:
            nothing = torch.zeros(len(batch.samples), 0, *student.latent_shape)
            return nothing.to(student.device), START
        past, cond = batch.latents[:, :given], batch.cond.frames(0, given)
        read = partial(read_at_once, self.rollout) if self.given_at_once else self.rollout.remember
        return past, read(student, past, noise, cond)

    def trained(self, scored: int) -> int:
        """Of so many frames that are made and scored, how many may carry gradient."""
        return scored if self.first_gradient else max(scored - self.rollout.block_frames, 0)

    def exit_step(self, batch: Batch, exits: bool) -> int | None:
        """The denoising step at which frames leave; one for all samples and ranks."""
        return self.rollout.random_exit(self.seed, 2, batch.number) if exits else None


class Gradient(ABC):
    """How gradient flows from the frames of a window to the student that made them.

    Attributes:
        through_past: whether it flows from a frame through what was written of earlier ones, into
            the writing; also where an objective compares the student's predictions on clean frames.
    """

    through_past: ClassVar[bool] = True

    def prepared(self, student: Backbone) -> Backbone:
        """The network that is trained, if it takes more than the one that is given."""
        return student

    def check(self, rollout: Rollout) -> None:  # noqa: B027  (most go with any)
        """Raise a ValueError if it does not go with this rollout."""

    @property
    @abstractmethod
    def counterpart(self) -> "Gradient":
        """The same with the past left out if it counts here, and with it if it does not."""

    def alias(self, name: str) -> str:
        """The name under which the two ways of gradient to a parameter are compared."""
        return name

    @abstractmethod
    def __call__(self, student: Backbone, stretch: Stretch) -> Rolled:
        """Make the frames of a stretch; the last `stretch.trained` carry gradient.

        Without gradient at large (`torch.no_grad`) they are the same frames, and carry none.
        """
