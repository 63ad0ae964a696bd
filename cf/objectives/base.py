"""What a distillation objective is: losses of student and critic on a scored window."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.models.base import Backbone
from cf.objectives.score import Clean, ScoreNetwork
from cf.schedule import FlowSchedule
from cf.seeding import SampleRandom
from cf.types import Conditioning, Latents, Loss, Times, Video


@dataclass(frozen=True)
class Window:
    """Frames that are scored, after the clean ones before them.

    Attributes:
        past: clean and detached; may be empty.
        frames: carry gradient where the student made them under an objective that wants it.
        cond: of past and frames together.
        samples: global number of each sample, which its random numbers are keyed by.
        uncond: what guidance leads away from; None where nobody guides.
        real: whether the frames are data rather than the student's own.
    """

    past: Float[Tensor, "b past c h w"]
    frames: Latents
    cond: Conditioning
    samples: tuple[int, ...]
    uncond: Conditioning | None = None
    real: bool = False

    def clean(self) -> Clean:
        """Past and frames, detached."""
        return torch.cat((self.past, self.frames.detach()), 1)

    def last(self, frames: int) -> "Window":
        """The same video, of which the last `frames` frames are scored and the others are past."""
        split = max(self.frames.shape[1] - frames, 0)
        past = torch.cat((self.past, self.frames[:, :split].detach()), 1)
        return replace(self, past=past, frames=self.frames[:, split:])


class Networks(NamedTuple):
    """The networks of a distillation, each as it sees the past.

    Attributes:
        student: through its own memory, its keys and values differentiable or not.
        real: the frozen teacher.
        critic: it knows the student's distribution; None where no objective needs one.
        decode: latents -> pixels, for what judges pictures; None where there is no codec.
    """

    student: ScoreNetwork
    real: ScoreNetwork
    critic: ScoreNetwork | None
    decode: Callable[[Latents], Video] | None = None

    @property
    def fake(self) -> ScoreNetwork:
        """The critic.

        Raises:
            ValueError: if none is trained.
        """
        if self.critic is None:
            raise ValueError(
                "networks.fake: no critic is trained, since no objective of this run asks for one; "
                "write needs_critic = True in the objective that uses it"
            )
        return self.critic


class Objective(ABC):
    """What a student is trained to do, given a teacher and perhaps a critic.

    Attributes:
        needs_critic: whether a critic is trained along.
        needs_gradient: whether the frames of a window carry gradient to the student that made
            them; else they are made without.
        takes_real: whether windows of real video are scored as well.
        critic_takes_real: whether the critic's loss is taken on windows of real video as well.
        predicts: whether the student's own velocity on clean frames is compared.
    """

    needs_critic: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = False
    takes_real: ClassVar[bool] = False
    critic_takes_real: ClassVar[bool] = False
    predicts: ClassVar[bool] = False

    @abstractmethod
    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        """The student's loss."""

    def critic_network(self, network: Backbone) -> Backbone:
        """The critic to train, given its backbone; an objective may put a head on it."""
        return network

    def critic_loss(self, window: Window, fake: ScoreNetwork, random: SampleRandom) -> Loss:
        """The critic's loss on frames that the student made, or on real ones.

        Raises:
            NotImplementedError: if the objective has no critic.
        """
        raise NotImplementedError(f"{type(self).__name__} has no critic")


@dataclass(frozen=True)
class TimeSampling:
    """Times at which a window is scored: uniform, shifted, then clamped.

    Attributes:
        block_frames: frames that share a time; None: the whole window does.
        least, most: bounds of a time (DMD2: 0.02 and 0.98).
    """

    schedule: FlowSchedule
    block_frames: int | None = None
    least: float = 0.02
    most: float = 0.98

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise ValueError(f"0 <= least={self.least} <= most={self.most} <= 1 must hold")

    def __call__(self, frames: Latents, random: SampleRandom) -> Times:
        """A time for every frame of every sample."""
        count = frames.shape[1]
        share = count if self.block_frames is None else self.block_frames
        drawn = self.schedule.warp(random.uniform(-(-count // share)))
        t = drawn.clamp(self.least, self.most).repeat_interleave(share, 1)
        return t[:, :count].to(frames)

    def noised(self, x0: Latents, random: SampleRandom) -> tuple[Times, Latents, Latents]:
        """Times, noise and the noised frames: times are of purpose 0, noise is of purpose 1."""
        t = self(x0, random.purpose(0))
        eps = random.purpose(1).normal(*x0.shape[1:]).to(x0)
        return t, eps, self.schedule.add_noise(x0, eps, t)
