"""Consistency horizon: the time after which half of the videos have lost half of their identity."""

import math

import torch
from typing_extensions import override

from cf.metrics.bootstrap import bootstrap
from cf.metrics.consistency.anchor_drift import AnchorDrift
from cf.metrics.consistency.survival import median, survival
from cf.metrics.grid import Grid
from cf.metrics.result import Result
from cf.metrics.set_metric import SetMetric


class ConsistencyHorizon(SetMetric):
    r"""Median time until half of a video's identity is lost, in seconds; up, above 0.

    The event of a video is the first time at which the median of D (`SemanticDrift`) over three
    windows exceeds .5; a video that ends before is right-censored at its end. The value is the
    median of Kaplan and Meier's estimate (1958), each prompt with the same weight. Where more than
    half of the videos last, the value is the duration T, `extras["censored"]` is 1 and the reason
    under None says "> T s". A video whose anchor is not told from other prompts' has lost it in the
    first window. One of four numbers that are called usable context, of a definition of this
    project; never merged with the configured, recall or influence horizon.

    `extras` has the interval by resampling prompts (`low`, `high`; `high_censored` is 1 where it
    has no upper end), `num_censored`, `num_unidentified`; `curves` has the estimate: `survival`
    after each of `time`. Needs 4 prompts of equal duration.

    Blind spots: those of `SemanticDrift`; a frozen video lasts for ever, so it is read with motion.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = ConsistencyHorizon(MeanColour())
    >>> for number in range(4):
    ...     video = torch.full((64, 3, 8, 8), 0.1)
    ...     video[:24, number % 3] = 1  # grey from 3 s on
    ...     metric.update(video, video_id=number, fps=8)
    >>> metric.compute()
    tensor(3., dtype=torch.float64)
    """

    higher_is_better = True
    least_prompts = 4
    least_windows = 3

    @override
    def compare(self, grid: Grid) -> Result:
        drift = AnchorDrift.of(grid)
        refusal = drift.refusal()
        if refusal:
            return self.refused(set(grid.videos), refusal)
        times, happened = drift.half_lost()
        sizes = torch.bincount(grid.prompt).double()
        weights = (1 / sizes)[grid.prompt]
        steps, curve = survival(times, happened, weights)
        value = float(median(steps, curve))
        low, high = bootstrap(
            grid.prompts,
            lambda counts: median(*survival(times, happened, counts[:, grid.prompt] * weights)),
        )
        end = grid.windows * grid.window
        reasons: dict[int | None, str] = {}
        if math.isinf(value):
            reasons[None] = f"> {end:g} s: more than half of the videos last to their end"
        return self.answer(
            min(value, end),
            grid.by_video(times),
            reasons=reasons,
            curves={"time": steps, "survival": curve},
            extras={
                "censored": float(math.isinf(value)),
                "low": min(low, end),
                "high": min(high, end),
                "high_censored": float(math.isinf(high)),
                "num_censored": float((~happened).sum()),
                "num_unidentified": float((~drift.identifiable).sum()),
                "seconds": end,
            },
        )
