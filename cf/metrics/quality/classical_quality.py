"""How classical measures of quality change from a video's first second on."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.quality.classical import FLOORS, MEASURES, Classical, too_small
from cf.metrics.readings import VideoReading, collected
from cf.metrics.result import Result
from cf.metrics.scored import Scored

GLARE = 0.05


class ClassicalQuality(VideoMetric):
    r"""Mean change of classical quality from the first second to the last quarter; down, from 0 up.

    .. math:: \text{mean}_M\ |\log_2 \frac{M_{end} + \epsilon_M}{M_{anchor} + \epsilon_M}|

    in octaves, over the measures of `Classical` (sharpness, noise, clipped and over-exposed pixels,
    saturation, contrast, blockiness, brightness), each with a small floor; then over prompts. The
    anchor is the first window. The per-window curve is that number per window; `curves` hold each
    measure's ratio to the anchor, the mean over videos; the extras hold these ratios at the end
    (`sharpness`, ...) and `glaring`, the share of videos of which over-exposed pixels grow by 5 %
    of the picture or more: learnt measures of quality reward that.

    The measures are textbook ones, the sum is ours. Blind spots: a camera that moves to another
    view changes all of them; which direction is worse, it does not say: read the ratios.

    >>> import torch
    >>> metric = ClassicalQuality()
    >>> metric.update(torch.rand(1, 3, 32, 32).repeat(16, 1, 1, 1), video_id=0, fps=8)
    >>> metric.compute()
    tensor(0., dtype=torch.float64)
    """

    higher_is_better = False

    def __init__(self, rate: float | None = 4.0, window: float = 1.0, **kwargs: Any) -> None:
        super().__init__(Classical(rate), window, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        ratios = [_ratios(video) for video in videos]
        longest = max((len(rows) for rows in ratios), default=0)
        padded = torch.full((len(videos), longest, len(MEASURES)), math.nan, dtype=torch.float64)
        for rows, values in zip(padded, ratios, strict=True):
            rows[: len(values)] = values
        curves = {name: padded[..., i].nanmean(0) for i, name in enumerate(MEASURES)}
        return collected(self, videos, self._read, curves=curves if videos else {})

    def _read(self, video: Scored) -> VideoReading:
        ratios = _ratios(video)
        if len(ratios) < 2:  # the anchor is the end: 0 would be no measurement
            return VideoReading(reason="it has one window of time, and two are needed")
        if ratios.isnan().any():
            return VideoReading(reason=too_small(video))
        changes = ratios.log2().abs().mean(1)
        end = video.seconds >= min(0.75 * video.duration, float(video.seconds[-1]))
        at_end = ratios[end].mean(0)
        extras = dict(zip(MEASURES, at_end.tolist(), strict=True))
        bright = (video.sums / video.count[:, None])[:, MEASURES.index("overexposed")]
        extras["glaring"] = float(bright[end].mean() - bright[0] >= GLARE)
        return VideoReading(float(at_end.log2().abs().mean()), "", changes, video.seconds, extras)


def _ratios(video: Scored) -> Float[Tensor, "w m"]:
    """Each measure in each window over that in the first."""
    floors = torch.tensor(list(FLOORS.values()), dtype=torch.float64)
    values = video.sums / video.count[:, None] + floors
    return values / values[0]
