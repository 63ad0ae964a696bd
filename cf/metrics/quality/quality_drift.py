"""The change of a measure over a video, with its sign."""

from typing_extensions import override

from cf.metrics.quality.drift import CurveDrift


class QualityDrift(CurveDrift):
    r"""A measure's mean over the first 5 seconds less that over the last 5; signed, 0 is none.

    .. math:: M(0 .. 5 s) - M(T - 5 s .. T)

    in the unit of M, for any metric that gives a curve; positive if M falls. Videos under 10
    seconds are halved instead; one of a single window has no drift. The mean over prompts.
    Extras: `vde_raw` and `vde_normalised` (LV-Bench), of which only the latter compares between
    durations.

    Source: Forcing-KV's drift script. Blind spots: a dip that recovers is not seen, nor does it
    tell decay of quality from a change of scene.

    >>> import torch
    >>> fade = torch.linspace(1, 0.5, 16).view(16, 1, 1, 1).expand(16, 3, 16, 16)
    >>> metric = QualityDrift("brightness")
    >>> metric.update(fade, video_id=0, fps=8)
    >>> metric.name, round(float(metric.compute()), 2)
    ('QualityDrift[brightness]', 0.27)
    """

    @override
    def length(self, duration: float) -> float:
        return min(5.0, duration / 2)

    @override
    def difference(self, first: float, last: float) -> float:
        return first - last
