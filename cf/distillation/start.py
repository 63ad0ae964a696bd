"""How a few-step student starts: what it is trained on before its own rollouts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch

from cf.objectives.score import ScoreNetwork
from cf.rollout.blockwise import Rollout
from cf.seeding import SampleRandom
from cf.types import Conditioning, Latents, Loss, Times


class RealClips(NamedTuple):
    """Real video and what it shows.

    Attributes:
        samples: global number of each sample.
        random: of these samples.
        number: of the batch, over the whole run; the same on every rank.
    """

    latents: Latents
    cond: Conditioning
    uncond: Conditioning | None
    samples: tuple[int, ...]
    random: SampleRandom
    number: int

    def only(self, index: list[int]) -> "RealClips":
        """Some of them."""
        samples = tuple(self.samples[i] for i in index)
        return RealClips(
            self.latents[index],
            self.cond.samples(index),
            self.uncond and self.uncond.samples(index),
            samples,
            SampleRandom(self.random.key, samples),
            self.number,
        )


class Roles(NamedTuple):
    """The networks of a start, each as it sees the past.

    Attributes:
        average: of the student's weights; the student itself where none is kept.
    """

    student: ScoreNetwork
    average: ScoreNetwork
    teacher: ScoreNetwork


@dataclass
class Start(ABC):
    """Trains a student to say in one call where the teacher's ODE ends.

    Attributes:
        rollout: of the student, whose denoising steps it is trained for.
    """

    rollout: Rollout

    @abstractmethod
    def loss(self, clips: RealClips, roles: Roles) -> Loss:
        """The student's loss on a batch."""

    @property
    def keeps_rollouts(self) -> bool:
        """Whether it keeps videos that the student makes."""
        return False

    def check_view(self, teacher: ScoreNetwork) -> None:  # noqa: B027  (most take any)
        """Refuse a teacher that does not see what the student sees.

        Raises:
            ValueError: naming the settings that go together.
        """

    def prepare(self, key: str) -> None:  # noqa: B027  (most keep nothing)
        """Get ready for a run; `key` tells its teacher and its data from all others.

        Where it keeps rollouts, the key tells the student's first weights as well.

        Raises:
            ValueError: if what an earlier run left does not belong to this one.
        """

    def per_block(self, x0: Latents, random: SampleRandom) -> Times:
        """Even numbers in [0, 1), one per block, which its frames share; on the CPU."""
        block = self.rollout.block_frames
        if x0.shape[1] % block:
            raise ValueError(
                f"a clip has {x0.shape[1]} latent frames, which are not whole blocks of "
                f"rollout.block_frames={block}; choose another data.clip_frames or block"
            )
        return random.uniform(x0.shape[1] // block).repeat_interleave(block, 1).to(x0.dtype)


def told(
    network: ScoreNetwork, x_t: Latents, t: Times, cond: Conditioning, past: Latents
) -> Latents:
    """Where a student says that the ODE ends; at time 0 it is there."""
    x0: Latents = x_t - t[..., None, None, None] * network.predict(x_t, t, cond, past)
    return x0


def euler_step(
    teacher: ScoreNetwork, x_t: Latents, t: Times, to: Times, clips: RealClips, past: Latents
) -> Latents:
    """One step of Euler's along the teacher's guided ODE."""
    with torch.no_grad():
        velocity = teacher.velocity(x_t, t, clips.cond, past, clips.uncond)
    after: Latents = x_t + (to - t)[..., None, None, None] * velocity
    return after
