"""Cross-prompt collapse: whether videos of different prompts become alike with time."""

import math

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.grid import Grid
from cf.metrics.result import Result
from cf.metrics.set_metric import SetMetric

SPAN = 5.0  # seconds that are looked at, at either end


def ends_of(windows: int, window: float) -> int:
    """Windows at either end: 5 s, or half of the video where that is shorter."""
    return min(max(1, round(SPAN / window)), windows // 2)


def collapse_of(grid: Grid) -> tuple[Float[Tensor, " v"], Float[Tensor, "v k"], int]:
    """Rise of the likeness to other prompts' videos, that likeness, and windows at either end.

    The rise means nothing where there are no windows at the ends.
    """
    likeness = grid.with_others()
    span = ends_of(grid.windows, grid.window)
    if not span:
        return likeness[:, 0] * math.nan, likeness, 0
    return likeness[:, -span:].mean(1) - likeness[:, :span].mean(1), likeness, span


class CrossPromptCollapse(SetMetric):
    r"""Rise of the likeness of videos of different prompts; down, in [-2, 2], 0 for none.

    .. math:: \kappa_{\text{last 5 s}} - \kappa_{\text{first 5 s}}

    :math:`\kappa` is the mean cosine of the features of two videos of different prompts at one
    time. Where videos last less than 10 s, their halves are compared (`extras`: `span`, seconds).
    Of a model whose videos all fade to grey, blur or one picture it rises towards 1 - kappa. A
    definition of this project. Blind to a collapse that is complete in the first seconds
    (`kappa_first` tells), and to one that happens to each prompt in its own way.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = CrossPromptCollapse(MeanColour())
    >>> for number in range(4):
    ...     video = torch.zeros(16, 3, 8, 8)
    ...     video[:8, number % 3] = 1
    ...     video[8:] = 0.5
    ...     metric.update(video, video_id=number, fps=8)
    >>> round(float(metric.compute()), 4)
    0.8333
    """

    higher_is_better = False
    curve_shows = "likeness to other prompts' videos"
    least_prompts = 4
    least_windows = 2

    @override
    def compare(self, grid: Grid) -> Result:
        rise, likeness, span = collapse_of(grid)
        per_window, windows = grid.over_time(likeness)
        kappa = grid.mean(likeness)
        return self.answer(
            float(grid.mean(rise)),
            grid.by_video(rise),
            per_window=per_window,
            windows=windows,
            curves={"kappa": kappa},
            extras={
                "kappa_first": float(kappa[:span].mean()),
                "kappa_last": float(kappa[-span:].mean()),
                "span": span * grid.window,
                "num_prompts": float(grid.prompts),
            },
        )
