"""The drift of FramePack."""

from typing_extensions import override

from cf.metrics.quality.drift import CurveDrift


class FramePackDrift(CurveDrift):
    r"""Distance of a measure's means over the first and the last 15 % of a video; down, from 0 up.

    .. math:: |M(\text{first}\ 15\%) - M(\text{last}\ 15\%)|

    in the unit of M, for any metric that gives a curve, windows weighing by their share in either
    end; the mean over prompts (Zhang and Agrawala 2025, FramePack, arXiv 2504.12626). Extras:
    `vde_raw` and `vde_normalised`.

    Blind spots: getting better counts as drift; a dip that recovers does not. For comparison with
    published numbers; `QualityDrift` keeps the sign.

    >>> import torch
    >>> metric = FramePackDrift("brightness")
    >>> metric.update(torch.full((16, 3, 16, 16), 0.5), video_id=0, fps=8)
    >>> metric.name, float(metric.compute())
    ('FramePackDrift[brightness]', 0.0)
    """

    higher_is_better = False

    @override
    def length(self, duration: float) -> float:
        return 0.15 * duration

    @override
    def difference(self, first: float, last: float) -> float:
        return abs(first - last)
