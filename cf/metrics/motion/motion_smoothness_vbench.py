"""Motion smoothness as VBench defines it."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.motion.interpolation import Interpolator, interpolator_named
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored

LOWEST, HIGHEST = 0.706, 0.9975
"""What VBench maps to 0 and 1 in its normalised scores."""


@dataclass(frozen=True)
class Interpolated(Measurement):
    """Mean absolute difference of every odd frame from what its neighbours suggest, in levels."""

    interpolator: Interpolator
    span = 3
    stride = 2
    kept = torch.uint8
    width = 1

    @override
    def see(self, seen: Seen) -> UInt8[Tensor, "t 3 h w"]:
        return (seen.frames * 255).round().to(torch.uint8)

    @override
    def measure(self, kept: UInt8[Tensor, "t 3 h w"]) -> Float[Tensor, "n 1"]:
        rows = []
        for first in range(0, len(kept) - 2, 2):
            before, between, after = kept[first : first + 3]
            interpolated = self.interpolator(before.float() / 255, after.float() / 255)
            levels = (interpolated * 255).clamp(0, 255).to(torch.uint8)  # cut off, as VBench does
            rows.append((levels.short() - between.short()).abs().double().mean())
        return torch.stack(rows)[:, None]

    @override
    def provenance(self) -> dict[str, Any]:
        described = {"by": self.interpolator.name, "measured": "interpolated odd frames"}
        return {**described, **self.interpolator.provenance()}


class MotionSmoothnessVBench(VideoMetric):
    r"""VBench's motion smoothness: how well odd frames follow from even ones; up, in [0, 1].

    .. math:: \frac{255 - \text{mean}_t |x_{2t+1} - \lfloor f(x_{2t}, x_{2t+2}) \rfloor|}{255}

    over levels of 0 to 255, the mean over the odd frames that have an even one on both sides (of an
    even number of frames the last is ignored), then over videos (Huang et al. 2024, VBench, arXiv
    2311.17982). VBench's interpolator f is AMT-S, whose weights are for non-commercial use only;
    without it, `linear` and `dis` give numbers of their own. Extras: `normalised`, between VBench's
    .706 and .9975, and `interpolation_error`, 1 less the value.

    Blind spots: a frozen video has 1, and so has blur; the score rises with frames per second;
    today's models lie within .02 of one another.

    Attributes:
        interpolator: `linear`, `dis`, or one of your own (`Supplied`).

    >>> import torch
    >>> metric = MotionSmoothnessVBench("linear")
    >>> metric.update(torch.full((8, 3, 16, 16), 0.5), video_id=0, fps=8)
    >>> metric.name, float(metric.compute())
    ('vbench_motion_smoothness[linear]', 1.0)
    """

    higher_is_better = True
    title = "vbench_motion_smoothness"

    def __init__(
        self, interpolator: Interpolator | str, window: float | None = 1.0, **kwargs: Any
    ) -> None:
        if isinstance(interpolator, str):
            interpolator = interpolator_named(interpolator)
        super().__init__(Interpolated(interpolator), window, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        per_video, reasons = {}, {}
        for video in videos:
            count = int(video.count.sum())
            error = float(video.sums.sum()) / 255 / count if count else float("nan")
            per_video[video.video_id] = 1 - error
            if not count:
                reasons[video.video_id] = (
                    f"a video of {video.frames} frames has none between two others"
                )
        value = mean(per_video.values())
        return self.answer(
            value,
            per_video,
            reasons=reasons,
            per_window={
                video.video_id: 1 - video.sums[:, 0] / video.count / 255 for video in videos
            },
            windows={video.video_id: video.seconds for video in videos},
            extras={
                "normalised": (value - LOWEST) / (HIGHEST - LOWEST),
                "interpolation_error": 1 - value,
            },
        )
