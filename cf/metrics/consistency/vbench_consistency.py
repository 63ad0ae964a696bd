"""Subject and background consistency as VBench defines them, and VBench-Long's between clips."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.features import FrameFeatures
from cf.metrics.readings import over_prompts
from cf.metrics.result import Result
from cf.metrics.scored import Scored


class SubjectConsistencyVBench(VideoMetric):
    r"""VBench's subject consistency: likeness to the previous and the first frame; up, in [0, 1].

    .. math:: s_i = \tfrac{1}{2} \left( \max(0, \langle f_i, f_{i-1} \rangle)
        + \max(0, \langle f_i, f_0 \rangle) \right), \quad i \ge 1

    Mean over all frames of all videos (micro, as VBench gives it in one process; in several it
    gives the mean over videos, `extras["macro"]`), of unit features of every frame. VBench's
    extractor is dino-vitb16 (Huang et al. 2024, arXiv 2311.17982). `per_video` is the mean over a
    video's frames, `per_window` each frame's, `extras["min_cos"]` the lowest cosine of all: the
    clamps did nothing where it is not negative. Memory is one float32 row per frame, for frames may
    come in any order.

    Blind spots: 1 for a frozen video; nearly blind to jitter and stutter; half of it is likeness at
    a lag of one frame, so it depends on the frame rate; it rewards resets to the first frame.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = SubjectConsistencyVBench(MeanColour())
    >>> video = torch.zeros(3, 3, 8, 8)
    >>> video[:2, 0] = 1
    >>> video[2, 1] = 1
    >>> metric.update(video, video_id=0, fps=8)
    >>> metric.name, float(metric.compute())
    ('vbench_subject_consistency[colour]', 0.5)
    """

    higher_is_better = True
    title = "vbench_subject_consistency"

    def __init__(self, extractor: Extractor, *, rate: float | None = None, **kwargs: Any) -> None:
        super().__init__(FrameFeatures(extractor, rate), None, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        per_video: dict[int, float] = {}
        reasons: dict[int | None, str] = {}
        curves, seconds, lowest = {}, {}, []
        for video in videos:
            previous, first = _cosines(video.sums.double())
            curves[video.video_id] = (previous.clamp(min=0) + first.clamp(min=0)) / 2
            seconds[video.video_id] = video.seconds[1:]
            lowest += [min(float(previous.min()), float(first.min()))] if len(first) else []
            per_video[video.video_id] = float(curves[video.video_id].mean())
            if not len(first):
                reasons[video.video_id] = "a video of one frame has no other to compare it with"
        every = torch.cat([*curves.values(), torch.zeros(0, dtype=torch.double)])
        return self.answer(
            float(every.mean()),
            per_video,
            reasons=reasons,
            per_window=curves,
            windows=seconds,
            extras={
                "macro": over_prompts(per_video, videos),
                "min_cos": min(lowest, default=math.nan),
                "num_frames": float(len(every)),
            },
        )


class BackgroundConsistencyVBench(SubjectConsistencyVBench):
    r"""VBench's background consistency: the formula of its subject consistency; up, in [0, 1].

    .. math:: \tfrac{1}{2} \left( \max(0, \langle f_i, f_{i-1} \rangle)
        + \max(0, \langle f_i, f_0 \rangle) \right)

    VBench's extractor is clip-vit-b32 (Huang et al. 2024, arXiv 2311.17982). Blind spots: those of
    `SubjectConsistencyVBench`; nothing in it is of the background only.

    >>> BackgroundConsistencyVBench.title
    'vbench_background_consistency'
    """

    title = "vbench_background_consistency"


class ClipToClipRaw(SubjectConsistencyVBench):
    r"""VBench-Long's consistency between clips, not mapped: of the clips' first frames; up, [0, 1].

    .. math:: \tfrac{1}{2} \left( \max(0, \langle f_i, f_{i-1} \rangle)
        + \max(0, \langle f_i, f_0 \rangle) \right), \quad f_i \text{ of clip } i

    VBench-Long cuts a video into clips of 2 s, scores the video of their first frames as VBench's
    subject or background consistency, maps the score through a table in which it saturates and
    mixes it with the scores within clips; this is the score itself, of frames as they were
    generated (nothing is encoded again). A last clip of any length counts. Blind spots: 1 for a
    frozen video, blind to all between the first frames of clips.

    Attributes:
        clip: seconds.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = ClipToClipRaw(MeanColour())
    >>> metric.update(torch.full((40, 3, 8, 8), 0.5), video_id=0, fps=8)
    >>> round(float(metric.compute()), 6), int(metric.result().extras["num_frames"])
    (1.0, 2)
    """

    title = "c2c_raw"

    def __init__(self, extractor: Extractor, *, clip: float = 2.0, **kwargs: Any) -> None:
        if not clip > 0:
            raise ValueError(f"clip={clip} must be a positive number of seconds")
        super().__init__(extractor, rate=1 / clip, **kwargs)


def _cosines(features: Float[Tensor, "t d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Of each frame but the first with the previous one and with the first."""
    later = features[1:]
    return (later * features[:-1]).sum(-1), later @ features[0]
