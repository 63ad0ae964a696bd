"""Likeness to each text of a video whose prompt switches, and whether switches are followed."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
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
from cf.metrics.scored import Scored, Segment
from cf.metrics.text.texts import Texts


class _BySegment(VideoMetric):
    """A number for each of a video's segments; what the video gets is the mean of them."""

    def __init__(
        self,
        extractor: Extractor,
        texts: Mapping[int, str] | None,
        *,
        rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(FrameFeatures(extractor, rate), None, **kwargs)
        self.texts = Texts.of(extractor, texts)

    @abstractmethod
    def read(self, one: Scored) -> dict[int, float]:
        """By number of the segment, from 0; those without a meaning for it are left out.

        Raises:
            ValueError: why the video has none at all.
        """

    @override
    def score(self, videos: list[Scored]) -> Result:
        per_video: dict[int, float] = {}
        by_segment: dict[int, dict[int, float]] = {}
        curves, windows = {}, {}
        reasons: dict[int | None, str] = {}
        for video in videos:
            per_video[video.video_id] = math.nan
            try:
                scores = self.read(video)
            except ValueError as problem:
                reasons[video.video_id] = str(problem)
                continue
            per_video[video.video_id] = math.fsum(scores.values()) / len(scores)
            curves[video.video_id] = torch.tensor(list(scores.values()), dtype=torch.double)
            begins = [float(video.segments[number].first / video.clock.fps) for number in scores]
            windows[video.video_id] = torch.tensor(begins, dtype=torch.double)
            for number, value in scores.items():
                by_segment.setdefault(number, {})[video.video_id] = value
        nobody = dict.fromkeys(per_video, math.nan)
        return self.answer(
            over_prompts(per_video, videos),
            per_video,
            reasons=reasons,
            per_window=curves,
            windows=windows,
            extras={
                f"segment_{number + 1}": over_prompts({**nobody, **values}, videos)
                for number, values in sorted(by_segment.items())
            },
        )

    def likeness(self, one: Scored, segment: Segment, prompt: int | None) -> Float[Tensor, " n"]:
        """Of the frames of a segment to the text of a prompt, times 100.

        Raises:
            ValueError: if there is no text for it, or no frame of the segment is looked at.
        """
        frames = one.window * one.clock.stride
        rows = one.sums[(frames >= segment.first) & (frames < segment.stop)]
        if not len(rows):
            raise ValueError(
                f"no frame from {segment.first} to {segment.stop - 1}, which lie under one "
                f"prompt, is looked at; give a higher rate="
            )
        return self.texts.likeness(prompt, rows.double())

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), **self.texts.provenance()}


class SegmentTextSimilarity(_BySegment):
    r"""Mean cosine of frames with the text they were made for, by segment, times 100; up.

    .. math:: \text{mean}_s \, 100 \cdot \text{mean}_{k \in s} \langle e_{text(s)}, f_k \rangle

    A segment is what lies under one prompt; each has the same weight, and a prompt that never
    switches is one segment. CLIP score by segment is what interactive long video reports (LongLive,
    arXiv 2509.22622; MemFlow, arXiv 2512.14699). The value is a mean over segments, then seeds,
    then prompts; `extras` has `segment_1`, `segment_2`, ... (over the videos that have them), and
    `per_window` each video's segments by the second at which they begin. Frames just behind a
    switch belong to the new text, though a generator may take it up with its next block. Blind
    spots: those of `TextSimilarity`; whether a switch changed anything, for which there is
    `SwitchResponse`.

    Attributes:
        texts: prompt_id -> text; null in settings takes the videos' own prompts.
        rate: frames per second that are looked at; None for all.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = SegmentTextSimilarity(MeanColour(), {7: "a red wall", 8: "a blue wall"})
    >>> wall = torch.zeros(8, 3, 8, 8)
    >>> wall[:, 0] = 1
    >>> metric.update(wall, video_id=0, fps=8, prompt_id=7)
    >>> metric.update(wall, video_id=0, start_frame=8, fps=8, prompt_id=8)  # stays red
    >>> float(metric.compute()), metric.result().extras
    (50.0, {'segment_1': 100.0, 'segment_2': 0.0})
    """

    higher_is_better = True

    @override
    def read(self, one: Scored) -> dict[int, float]:
        return {
            number: float(self.likeness(one, segment, segment.prompt).mean())
            for number, segment in enumerate(one.segments)
        }


class SwitchResponse(_BySegment):
    r"""How much more frames behind a switch are like the new text than like the old; up.

    .. math:: \text{mean}_{s > 1} \, 100 \cdot \text{mean}_{k \in s}
        \langle e_{text(s)} - e_{text(s-1)}, f_k \rangle

    Below 0 the video stays with its old prompt. The mean is over switches, then seeds, then
    prompts; `extras` has `segment_2`, ... . A definition of this project: the likeness to the new
    text alone (`SegmentTextSimilarity`) is high without any change where the two texts are alike.
    Videos whose prompt never switches have no value. Blind spots: a jump to the new text looks as
    good as a transition, and whether what should stay does stay is not asked.

    Attributes:
        texts: prompt_id -> text; null in settings takes the videos' own prompts.
        rate: frames per second that are looked at; None for all.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = SwitchResponse(MeanColour(), {7: "a red wall", 8: "a blue wall"})
    >>> wall = torch.zeros(8, 3, 8, 8)
    >>> wall[:, 0] = 1
    >>> metric.update(wall, video_id=0, fps=8, prompt_id=7)
    >>> metric.update(wall, video_id=0, start_frame=8, fps=8, prompt_id=8)  # stays red
    >>> float(metric.compute())
    -100.0
    """

    higher_is_better = True

    @override
    def read(self, one: Scored) -> dict[int, float]:
        if len(one.segments) < 2:
            raise ValueError("its prompt never switches")
        return {
            number: float(
                self.likeness(one, after, after.prompt).mean()
                - self.likeness(one, after, before.prompt).mean()
            )
            for number, (before, after) in enumerate(pairwise(one.segments), 1)
        }
