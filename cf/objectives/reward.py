"""Distribution matching weighted by a reward of each video (Reward Forcing's Re-DMD)."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.objectives.base import Networks, Window
from cf.objectives.dmd import DMD, surrogate
from cf.seeding import SampleRandom
from cf.types import Loss, Video

_LARGEST = 20.0  # of a reward over its temperature: beyond it one sample is all of a batch


class Reward(ABC):
    """How good each video of a batch is; a number without unit, about 1 from worse to better."""

    @abstractmethod
    def __call__(self, video: Video, window: Window) -> Float[Tensor, " b"]:
        """The reward of each sample; NaN where it cannot be told.

        Args:
            video: the window's frames as pixels.
            window: the same frames as latents, with their past and conditioning.
        """


@dataclass(frozen=True)
class MetricReward(Reward):
    """A metric of videos as a reward: (value - centre) / spread, its sign such that up is better.

    The metric sees one window at a time and keeps nothing of it.

    Attributes:
        metric: one that needs neither a reference nor the truth of a drawn world.
        fps: pixel frames per second of the videos.
        centre, spread: of the metric's values, in its unit; they make rewards about 0 +- 1.
    """

    metric: VideoMetric
    fps: float
    centre: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        metric = self.metric
        if metric.higher_is_better is None:
            raise ValueError(
                f"reward.metric={metric.name} has no better direction, so it is no reward; give "
                f"another metric"
            )
        if needs := metric.measurement.needs:
            raise ValueError(
                f"reward.metric={metric.name} needs {', '.join(needs)}, which a student's rollout "
                f"does not come with; give a metric that looks at the video alone"
            )
        if not self.spread > 0:
            raise ValueError(f"reward.spread={self.spread} must be positive")
        metric._to_sync = False  # each process rewards its own samples

    def __call__(self, video: Video, window: Window) -> Float[Tensor, " b"]:
        """The metric of each window, centred and scaled."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        values = [self._value(frames) for frames in video]
        return sign * (torch.tensor(values, dtype=torch.float64) - self.centre) / self.spread

    def _value(self, frames: Float[Tensor, "t 3 h w"]) -> float:
        self.metric.reset()
        pixels = frames.float().clamp(0, 1).to(self.metric.device)
        self.metric.update(pixels, video_id=0, fps=self.fps)
        value = self.metric.result().per_video.get(0, math.nan)
        self.metric.reset()
        return float(value)


@dataclass(frozen=True)
class RewardedDMD(DMD):
    """DMD whose gradient is multiplied by exp(reward / temperature) of the sample it belongs to.

    Reward Forcing (https://arxiv.org/abs/2512.04678) takes the motion quality of a learned judge as
    reward; its text has a temperature of 1/2, its code multiplies the reward by 2. No gradient
    flows through the reward, which may be any function of pixels. A sample whose reward is NaN has
    the weight 1 and is counted in `reward_missing`.

    Attributes:
        reward: of each video.
        temperature: in units of the reward.
    """

    reward: Reward
    temperature: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must be positive")

    @override
    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        """The surrogate of DMD, each sample's gradient times its weight."""
        gradient, logs = self.gradient(window, networks, random)
        rewards = self._rewards(window, networks).to(gradient)
        finite = rewards.isfinite()
        exponent = torch.where(finite, rewards, 0.0) / self.temperature
        weight = exponent.clamp(max=_LARGEST).exp()
        logs["reward"] = torch.where(finite, rewards, 0.0).sum() / finite.sum().clamp(min=1)
        logs["reward_weight"] = weight.mean()
        logs["reward_missing"] = 1 - finite.double().mean()
        return surrogate(window, weight.view(-1, 1, 1, 1, 1) * gradient, logs)

    @torch.no_grad()
    def _rewards(self, window: Window, networks: Networks) -> Float[Tensor, " b"]:
        assert networks.decode is not None
        frames = window.frames.detach()
        rewards = self.reward(networks.decode(frames), window)
        if rewards.shape != (len(frames),):
            raise ValueError(
                f"{type(self.reward).__name__} gave rewards of shape {tuple(rewards.shape)} for a "
                f"batch of {len(frames)}; a reward is one number for each video"
            )
        return rewards
