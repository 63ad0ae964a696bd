"""Likeness to the first frame at moments of a video: Context Forcing's DINO and CLIP-F."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from typing_extensions import override

from cf.metrics import at_times as moments
from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.features import FrameFeatures
from cf.metrics.readings import over_prompts
from cf.metrics.result import Result
from cf.metrics.scored import Scored

_ANCHOR = 1.0  # seconds of the twin's anchor


class SimilarityToFirst(VideoMetric):
    r"""Mean cosine of the first frame with the frames around a time, times 100; up, at most 100.

    .. math:: 100 \cdot \text{mean}_{k:\, |k/\text{fps} - t| \le 0.5} \langle f_0, f_k \rangle

    The protocol of Context Forcing (arXiv 2602.06028): DINOv2 gives its "DINO", a CLIP image tower
    its CLIP-F, at 10, 20, ... 60 s. The value is that at the last of `times` (mean over seeds, then
    prompts); `extras` has `at_<t>` for all. The robust twin `anchor_second_at_<t>` compares with
    the mean direction of all frames of the first second, which one odd first frame does not move.
    `per_window` is the curve at every half second. A video is read at a time if it lasts until a
    quarter of a second before it.

    Blind spots: 100 for a frozen video; rewards resets to the first frame (loops and sinks); falls
    with any camera motion; a different first frame of the same second changes it much.

    Attributes:
        times: seconds.
        rate: frames per second that are looked at; None for all, as the protocol has it.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = SimilarityToFirst(MeanColour(), times=(2,))
    >>> metric.update(torch.full((24, 3, 8, 8), 0.5), video_id=0, fps=8)
    >>> round(float(metric.compute()), 4)
    100.0
    """

    higher_is_better = True
    depends_on = ("times",)

    def __init__(
        self,
        extractor: Extractor,
        *,
        times: Sequence[float] = moments.TIMES,
        rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(FrameFeatures(extractor, rate), None, **kwargs)
        self.times = moments.checked_times(times)

    @override
    def score(self, videos: list[Scored]) -> Result:
        first: dict[int, dict[float, float]] = {}
        second: dict[int, dict[float, float]] = {}
        curves, windows = {}, {}
        reasons: dict[int | None, str] = {}
        for video in videos:
            features = video.sums.double()
            anchor = features[video.seconds < _ANCHOR - 1e-9].mean(0)
            anchor = torch.nn.functional.normalize(anchor, dim=0)
            to_first = 100 * (features @ features[0])
            to_second = 100 * (features @ anchor)
            first[video.video_id] = moments.values_at(self.times, video, to_first)
            second[video.video_id] = moments.values_at(self.times, video, to_second)
            windows[video.video_id] = moments.grid(video)
            curves[video.video_id] = moments.at(windows[video.video_id], video.seconds, to_first)
            if math.isnan(first[video.video_id][self.times[-1]]):
                reasons[video.video_id] = moments.unread(video, self.times[-1])
        per_video = {number: reading[self.times[-1]] for number, reading in first.items()}
        extras = {}
        for name, readings in (("at", first), ("anchor_second_at", second)):
            for time, value in moments.by_time(self.times, readings, videos).items():
                extras[f"{name}_{time:g}"] = value
        return self.answer(
            over_prompts(per_video, videos),
            per_video,
            reasons=reasons,
            per_window=curves,
            windows=windows,
            extras=extras,
        )
