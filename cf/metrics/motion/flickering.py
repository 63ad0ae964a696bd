"""Temporal flickering as VBench defines it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored
from cf.system.opencv import cv2


@dataclass(frozen=True)
class FrameDifference(Measurement):
    """Mean absolute difference of neighbouring frames, in grey levels of 0 to 255."""

    span = 2
    kept = torch.uint8
    takes_bytes = True
    width = 1

    @override
    def see(self, seen: Seen) -> Tensor:
        if seen.frames.dtype == torch.uint8:
            return seen.frames
        return (seen.frames * 255).round().to(torch.uint8)

    @override
    def measure(self, kept: Tensor) -> Float[Tensor, "n 1"]:
        frames = kept.flatten(1)
        sums = [cv2.norm(first, second, cv2.NORM_L1) for first, second in pairwise(frames.numpy())]
        return torch.tensor(sums, dtype=torch.float64)[:, None] / frames.shape[1]

    @override
    def provenance(self) -> dict[str, Any]:
        return {"measured": "frame difference"}


class TemporalFlickeringVBench(VideoMetric):
    r"""VBench's temporal flickering: how little neighbouring frames differ; up, in [0, 1].

    .. math:: \frac{255 - \text{mean}_t |x_t - x_{t-1}|}{255}

    Mean over the pairs of a video, then over videos (Huang et al. 2024, VBench, arXiv 2311.17982).
    Valid on static scenes only: motion lowers it, and a frozen video has 1.

    >>> import torch
    >>> metric = TemporalFlickeringVBench()
    >>> metric.update(torch.full((8, 3, 16, 16), 0.5), video_id=0, fps=8)
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = True
    title = "vbench_temporal_flickering"

    def __init__(self, window: float | None = 1.0, **kwargs: Any) -> None:
        super().__init__(FrameDifference(), window, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        per_video, reasons = {}, {}
        for video in videos:
            pairs = int(video.count.sum())
            per_video[video.video_id] = (
                float(1 - video.sums.sum() / 255 / pairs) if pairs else float("nan")
            )
            if not pairs:
                reasons[video.video_id] = "a video of one frame has no pair of frames"
        return self.answer(
            mean(per_video.values()),
            per_video,
            reasons=reasons,
            per_window={
                video.video_id: 1 - video.sums[:, 0] / video.count / 255 for video in videos
            },
            windows={video.video_id: video.seconds for video in videos},
        )
