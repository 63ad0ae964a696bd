"""A result over a set from one reading per video: means over prompts, reasons, curves."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored


@dataclass(frozen=True)
class VideoReading:
    """A metric's value of one video, with extras and a curve.

    Attributes:
        value: NaN where it cannot be given.
        reason: why it is NaN.
        curve, seconds: a number per window, and when each window begins.
        extras: further numbers of this video.
    """

    value: float = math.nan
    reason: str = ""
    curve: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    seconds: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    extras: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.reason) != math.isnan(self.value):
            raise ValueError(
                f"a VideoReading has a value or the reason why it has none, got "
                f"value={self.value}, reason={self.reason!r}; write VideoReading(reason='...') "
                f"where there is no number"
            )
        if len(self.curve) != len(self.seconds):
            raise ValueError(
                f"a VideoReading has one of its seconds for each number of its curve, got "
                f"{len(self.curve)} numbers and {len(self.seconds)} seconds; cut both alike"
            )


def collected(
    metric: VideoMetric,
    videos: Sequence[Scored],
    read: Callable[[Scored], VideoReading],
    **parts: Any,
) -> Result:
    """The result of reading every video: value and extras are means over prompts."""
    readings = {video.video_id: read(video) for video in videos}
    names = {name: None for reading in readings.values() for name in reading.extras}
    extras = {
        name: over_prompts({v: r.extras.get(name, math.nan) for v, r in readings.items()}, videos)
        for name in names
    }
    per_video = {number: reading.value for number, reading in readings.items()}
    return metric.answer(
        over_prompts(per_video, videos),
        per_video,
        reasons={number: reading.reason for number, reading in readings.items() if reading.reason},
        per_window={number: reading.curve for number, reading in readings.items()},
        windows={number: reading.seconds for number, reading in readings.items()},
        extras={**extras, **parts.pop("extras", {})},
        **parts,
    )


class ReadingMetric(VideoMetric):
    """A metric that reads each video alone; its value is a mean over prompts."""

    @override
    def score(self, videos: list[Scored]) -> Result:
        return collected(self, videos, self._read)

    def _read(self, video: Scored) -> VideoReading:
        reading: Any = self.reading(video)
        if not isinstance(reading, VideoReading):
            raise ValueError(
                f"{type(self).__name__}.reading must return a VideoReading, got "
                f"{type(reading).__name__}; write VideoReading(value) or VideoReading(reason='...')"
            )
        return reading

    @abstractmethod
    def reading(self, one: Scored) -> VideoReading:
        """The value of one video, or the reason why it has none."""


def over_prompts(values: Mapping[int, float], videos: Iterable[Scored]) -> float:
    """Mean over prompts of the mean over each prompt's videos, of those that are numbers."""
    prompts: dict[int, list[float]] = {}
    for video in videos:
        prompts.setdefault(video.prompt, []).append(values[video.video_id])
    return mean(mean(of_one) for of_one in prompts.values())
