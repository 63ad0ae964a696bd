"""Semantic drift: the share of a video's prompt-specific identity that is lost by its end."""

import math

from typing_extensions import override

from cf.metrics.consistency.anchor_drift import IDENTIFIABLE_ALONE, AnchorDrift
from cf.metrics.grid import Grid
from cf.metrics.result import Result
from cf.metrics.set_metric import AboveChance, SetMetric

_BELOW_START = -0.1


class SemanticDrift(SetMetric):
    r"""Share of what tells a video from other prompts' that is lost in its last quarter; down.

    .. math:: SD = 1 - \frac{\sum_v \text{mean}_{w \in \text{last quarter}}
        (s_{Aw} - \kappa_{Aw})}{\sum_v (s_{AA} - \kappa_{AA})}

    :math:`A` is the first window (1 s) under the prompt, :math:`s_{Aw}` the mean cosine of its
    frames with those of window :math:`w` (two different frames for :math:`s_{AA}`),
    :math:`\kappa_{Aw}` the same with the other prompts' videos; sums over prompts, of means over
    seeds. 0 is as at the start, 1 no closer to its own start than another prompt's video;
    unbounded, without unit. A definition of this project. With an extractor that is not semantic it
    is named AppearanceDrift.

    Where anchors are not told from one another (mean denominator below .15, or its interval over
    prompts reaching 0), the value is NaN, which ranks as complete drift. Needs 4 prompts of equal
    duration. `per_window` is D(w) of videos whose own denominator is .2 or more; `extras` has the
    interval (`low`, `high`), `denominator`, `D_max` (of medians of three windows), `AUC`, Theil and
    Sen's slope per 10 s, and `num_flagged`, the videos with a D below -.1 (loop, or collapse into
    the anchor); `curves` has D of the set.

    Blind spots: 0 for a frozen video; blind to resets to the start and, with global features, to
    another identity of a small object; legitimate camera motion costs something, so compare models.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = SemanticDrift(MeanColour())
    >>> for number in range(4):
    ...     video = torch.full((32, 3, 8, 8), 0.1)
    ...     video[:24, number % 3] = 1
    ...     metric.update(video, video_id=number, fps=8)
    >>> metric.name, round(float(metric.compute()), 4)
    ('AppearanceDrift[colour]', 1.0)
    """

    higher_is_better = False
    least_prompts = 4
    for_fewer = "SemanticDriftAbsolute"
    least_windows = 2

    @property
    def name(self) -> str:
        """See `VideoMetric`; it tells whether the features tell what is shown or how it looks."""
        title = type(self).__name__
        if not self.extractor.semantic:
            title = title.replace("Semantic", "Appearance")
        return f"{title}[{self.extractor.name}]"

    @override
    def compare(self, grid: Grid) -> Result:
        return _drift(self, AnchorDrift.of(grid))


class SemanticDriftAbsolute(AboveChance, SemanticDrift):
    r"""`SemanticDrift` above a fixed chance, for one video or few prompts; down.

    .. math:: 1 - \frac{\sum_v \text{mean}_{w \in \text{last quarter}} (s_{Aw} - \kappa)}
        {\sum_v (s_{AA} - \kappa)}

    0 is as at the start, 1 no closer to it than unrelated videos are; unbounded. A definition of
    this project. Blind spots: those of `SemanticDrift`; besides, not monotone in degradations that
    make frames alike (over-exposure, grey), for chance is fixed. Never compare across extractors.

    Attributes:
        kappa: chance likeness, the mean cosine of features of unrelated videos; the extractor's own
            if None.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = SemanticDriftAbsolute(MeanColour(), kappa=0.5)
    >>> metric.update(torch.full((32, 3, 8, 8), 0.5), video_id=0, fps=8)
    >>> metric.name, abs(round(float(metric.compute()), 4))
    ('AppearanceDriftAbsolute[colour]', 0.0)
    """

    least_prompts = 1

    @override
    def compare(self, grid: Grid) -> Result:
        return _drift(self, AnchorDrift.of(grid, self.kappa))


def _drift(metric: SetMetric, drift: AnchorDrift) -> Result:
    """Drift of a set whose likeness to the anchor is known."""
    grid = drift.grid
    extras = {"denominator": float(grid.mean(drift.own)), "num_prompts": float(grid.prompts)}
    refusal = drift.refusal()
    if refusal:
        return metric.refused(set(grid.videos), refusal, extras=extras)
    lost = drift.lost()
    value, (low, high) = drift.at_the_end()
    per_video = grid.by_video(lost[:, -drift.last :].mean(1))
    per_window, windows = grid.over_time(lost)
    start = grid.by_video(drift.own)
    reasons: dict[int | None, str] = {
        video: f"anchor not identifiable: its first window is {start[video]:.3g} above chance, and "
        f"{IDENTIFIABLE_ALONE} is needed for one video"
        for video, loss in per_video.items()
        if math.isnan(loss)
    }
    flagged = (lost < _BELOW_START).any(1)
    extras |= {
        "low": low,
        "high": high,
        "D_max": float(grid.mean(drift.most())),
        "AUC": float(grid.mean(lost[:, 1:].mean(1))),
        "slope_per_10s": float(grid.mean(drift.slope())),
        "num_flagged": float(len({v for v, bad in zip(grid.videos, flagged, strict=True) if bad})),
    }
    return metric.answer(
        value,
        per_video,
        reasons=reasons,
        per_window=per_window,
        windows=windows,
        curves={"D": drift.lost_by_all()},
        extras=extras,
    )
