"""How a measure that is had per window differs between a video's beginning and end."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.quality.classical import ClassicalMeasure
from cf.metrics.readings import VideoReading, collected
from cf.metrics.result import Result
from cf.metrics.scored import Scored


class CurveDrift(VideoMetric):
    """A difference between the beginning and the end of another metric's curve.

    It shares that metric's states in `together`.

    Attributes:
        of: the metric, which must give a curve per video; or the name of a `ClassicalMeasure`.
    """

    curve_shows = "the measure, whose ends are compared"

    def __init__(self, of: VideoMetric | str, **kwargs: Any) -> None:
        metric = ClassicalMeasure(of) if isinstance(of, str) else of
        super().__init__(metric.measurement, metric.window, **kwargs)
        self.of = metric

    @property
    @override
    def name(self) -> str:
        return f"{type(self).__name__}[{self.of.name}]"

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "of": self.of.provenance()}

    @abstractmethod
    def length(self, duration: float) -> float:
        """Seconds at either end of a video that are compared."""

    @abstractmethod
    def difference(self, first: float, last: float) -> float:
        """Of the measure at both ends."""

    @override
    def score(self, videos: list[Scored]) -> Result:
        of = self.of.score(videos)
        if videos and not any(len(curve) for curve in of.per_window.values()):
            if all(number in of.reasons for number in of.per_video):
                nothing = dict.fromkeys(of.per_video, math.nan)
                return self.answer(math.nan, nothing, reasons=of.reasons)
            raise ValueError(f"{self.of.name} gives no curve, so it has no drift")

        none = torch.zeros(0, dtype=torch.float64)

        def read(video: Scored) -> VideoReading:
            curve, seconds = (
                part.get(video.video_id, none) for part in (of.per_window, of.windows)
            )
            return self._read(curve, seconds, video.duration)

        return collected(self, videos, read)

    def _read(
        self, curve: Float[Tensor, " w"], seconds: Float[Tensor, " w"], duration: float
    ) -> VideoReading:
        finite = ~torch.isnan(curve)
        extras = vde(curve[finite].tolist())
        if len(curve) < 2:  # the beginning is the end: 0 would be no measurement
            reason = f"it has {len(curve)} window{'s' * (len(curve) != 1)} of time"
            reason += ", and two are needed"
            return VideoReading(reason=reason, curve=curve, seconds=seconds, extras=extras)
        length = self.length(duration)
        ends = ((0.0, length), (duration - length, duration))
        first, last = (_between(curve, seconds, duration, *end) for end in ends)
        if math.isnan(first) or math.isnan(last):
            reason = f"{self.of.name} has no number in its first or last {length:.3g} seconds"
            return VideoReading(reason=reason, curve=curve, seconds=seconds, extras=extras)
        return VideoReading(self.difference(first, last), "", curve, seconds, extras)


def vde(values: Sequence[float]) -> dict[str, float]:
    """LV-Bench's drift error: relative distance to the first of N values, early ones weighing most.

    The sum of (N - i + 1) |m_i - m_1| / m_1 as published (`vde_raw`), which grows with N squared,
    and over its weights' sum (`vde_normalised`).
    """
    if not values or not values[0]:
        return {"vde_raw": math.nan, "vde_normalised": math.nan}
    weights = [len(values) - i for i in range(len(values))]
    far = [abs(value - values[0]) / values[0] for value in values]
    raw = math.fsum(weight * value for weight, value in zip(weights, far, strict=True))
    weight = sum(weights[1:])
    return {"vde_raw": raw, "vde_normalised": raw / weight if weight else math.nan}


def _between(
    curve: Float[Tensor, " w"],
    seconds: Float[Tensor, " w"],
    duration: float,
    start: float,
    end: float,
) -> float:
    """Mean of a curve from one second to another; windows weigh by their share therein."""
    if not len(curve):
        return math.nan
    step = float(seconds.diff().min()) if len(curve) > 1 else duration
    stop = (seconds + step).clamp(max=duration)
    weights = (stop.clamp(max=end) - seconds.clamp(min=start)).clamp(min=0)
    weights = weights.where(~torch.isnan(curve), 0)
    if not weights.sum():
        return math.nan
    return float((weights * curve.nan_to_num()).sum() / weights.sum())
