"""Values of a curve at times of a video: means over half a second on either side."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cf.metrics.readings import over_prompts
from cf.metrics.scored import Scored

TIMES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
HALF = 0.5
_LEAST = 0.25  # seconds of the interval that the video must have
_SLACK = 1e-6


def checked_times(times: Sequence[float]) -> tuple[float, ...]:
    """The times in seconds, checked and in order.

    Raises:
        ValueError: if there is none, or one is not positive.
    """
    if not times or min(times) <= 0:
        raise ValueError(f"times={list(times)} must be one or more positive numbers of seconds")
    return tuple(sorted(float(time) for time in times))


def at(
    times: Float[Tensor, " k"], seconds: Float[Tensor, " n"], values: Float[Tensor, " n"]
) -> Float[Tensor, " k"]:
    """The mean of the values in [t - .5, t + .5] seconds; NaN where there is none."""
    low = torch.searchsorted(seconds, times - HALF - _SLACK)
    high = torch.searchsorted(seconds, times + HALF + _SLACK)
    sums = torch.cat((torch.zeros(1, dtype=torch.double), values.double().cumsum(0)))
    return (sums[high] - sums[low]) / (high - low)


def grid(one: Scored) -> Float[Tensor, " k"]:
    """Every half second of a video."""
    return HALF * torch.arange(1, max(math.floor(one.duration / HALF), 1) + 1, dtype=torch.double)


def reached(one: Scored, time: float) -> bool:
    """Whether a video lasts long enough to be read at a time: 59.8 s do for 60 s."""
    return one.duration >= time - HALF + _LEAST


def unread(one: Scored, time: float) -> str:
    """The reason why a video has no value at a time."""
    if reached(one, time):
        return f"no frame is looked at around {time:g} s; give a higher rate="
    return f"it lasts {one.duration:g} s and cannot be read at {time:g} s; give earlier times="


def values_at(
    times: Sequence[float], one: Scored, values: Float[Tensor, " n"]
) -> dict[float, float]:
    """The mean around each time; NaN where the video is too short."""
    means = at(torch.tensor(times, dtype=torch.double), one.seconds, values).tolist()
    return {
        time: mean if reached(one, time) else math.nan
        for time, mean in zip(times, means, strict=True)
    }


def by_time(
    times: Sequence[float], readings: Mapping[int, Mapping[float, float]], videos: Sequence[Scored]
) -> dict[float, float]:
    """The mean over prompts at each time; NaN where a video is too short.

    A mean over those that do would be one over other videos than at the times before.
    """
    means = {}
    for time in times:
        now = {video: reading[time] for video, reading in readings.items()}
        complete = not any(math.isnan(value) for value in now.values())
        means[time] = over_prompts(now, videos) if complete else math.nan
    return means
