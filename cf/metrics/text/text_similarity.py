"""Likeness of frames to the text of their prompt, over time: CLIP-T, and how it drifts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics import at_times as moments
from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.features import Features, FrameFeatures
from cf.metrics.grid import prompt_parts
from cf.metrics.readings import over_prompts
from cf.metrics.repetition.cross_prompt_collapse import ends_of
from cf.metrics.result import Result
from cf.metrics.scored import Scored
from cf.metrics.text.texts import Texts


class TextSimilarity(VideoMetric):
    r"""Mean cosine of a prompt's text with the frames around a time, times 100; up, at most 100.

    .. math:: 100 \cdot \text{mean}_{k:\, |k/\text{fps} - t| \le 0.5} \langle e_{text}, f_k \rangle

    CLIP-T of the Context Forcing protocol (arXiv 2602.06028), at 10, 20, ... 60 s; where the prompt
    changes in mid-video, each frame is read next to the text it was made for. The value is that at
    the last of `times` (mean over seeds, then prompts); `extras` has `at_<t>` for all, `per_window`
    the curve at every half second. Only extractors with a text tower can give it; values of
    different towers are on different scales. Blind spots: those of CLIP (counts, relations, time);
    a frozen video scores well.

    Attributes:
        texts: prompt_id -> text; null in settings takes the videos' own prompts.
        times: seconds.
        rate: frames per second that are looked at; None for all, as the protocol has it.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = TextSimilarity(MeanColour(), {7: "a red wall"}, times=(2,))
    >>> wall = torch.zeros(24, 3, 8, 8)
    >>> wall[:, 0] = 1
    >>> metric.update(wall, video_id=0, fps=8, prompt_id=7)
    >>> round(float(metric.compute()), 1)
    100.0
    """

    higher_is_better = True

    def __init__(
        self,
        extractor: Extractor,
        texts: Mapping[int, str] | None,
        *,
        times: Sequence[float] = moments.TIMES,
        rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(FrameFeatures(extractor, rate), None, **kwargs)
        self.texts = Texts.of(extractor, texts)
        self.times = moments.checked_times(times)

    @override
    def score(self, videos: list[Scored]) -> Result:
        readings: dict[int, dict[float, float]] = {}
        curves, windows = {}, {}
        reasons: dict[int | None, str] = {}
        for video in videos:
            try:
                likeness = self._likeness(video)
            except ValueError as problem:
                reasons[video.video_id] = str(problem)
                readings[video.video_id] = dict.fromkeys(self.times, math.nan)
                continue
            windows[video.video_id] = moments.grid(video)
            curves[video.video_id] = moments.at(windows[video.video_id], video.seconds, likeness)
            readings[video.video_id] = moments.values_at(self.times, video, likeness)
            if math.isnan(readings[video.video_id][self.times[-1]]):
                reasons[video.video_id] = moments.unread(video, self.times[-1])
        per_video = {number: reading[self.times[-1]] for number, reading in readings.items()}
        means = moments.by_time(self.times, readings, videos)
        return self.answer(
            over_prompts(per_video, videos),
            per_video,
            reasons=reasons,
            per_window=curves,
            windows=windows,
            extras={f"at_{time:g}": value for time, value in means.items()},
        )

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), **self.texts.provenance(), "times": list(self.times)}

    def _likeness(self, video: Scored) -> Float[Tensor, " n"]:
        frames = video.window * video.clock.stride
        pieces = []
        for segment in video.segments:
            rows = video.sums[(frames >= segment.first) & (frames < segment.stop)]
            pieces.append(self.texts.likeness(segment.prompt, rows.double()))
        return torch.cat(pieces)


class PromptDrift(VideoMetric):
    r"""Fall of the likeness to the prompt's text from the first to the last 5 s; down, 0 for none.

    .. math:: 100 \cdot \left( \text{mean}_{\text{first 5 s}} \langle e_{text}, f \rangle
        - \text{mean}_{\text{last 5 s}} \langle e_{text}, f \rangle \right)

    Signed: below 0 the video came closer to its text. Videos of less than 10 s are halved. Where
    the prompt changes, each window is read next to the text it was made for, and windows across a
    change are left out. Mean over seeds, then prompts; a definition of this project. `extras` has
    `first` and `last`. Blind spots: a dip that recovers; 0 for a frozen video and for one that
    never showed its prompt, so read it next to `TextSimilarity`.

    Attributes:
        texts: prompt_id -> text; null in settings takes the videos' own prompts.
        rate: frames per second that are looked at.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = PromptDrift(MeanColour(), {7: "a red wall"})
    >>> wall = torch.zeros(32, 3, 8, 8)
    >>> wall[:16, 0] = wall[16:, 2] = 1  # turns blue
    >>> metric.update(wall, video_id=0, fps=8, prompt_id=7)
    >>> metric.compute()
    tensor(100., dtype=torch.float64)
    """

    higher_is_better = False
    curve_shows = "likeness to the text, whose ends are compared"

    def __init__(
        self,
        extractor: Extractor,
        texts: Mapping[int, str] | None,
        *,
        rate: float = 4.0,
        window: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(Features(extractor, rate), window, **kwargs)
        self.texts = Texts.of(extractor, texts)
        self.step = window

    @override
    def score(self, videos: list[Scored]) -> Result:
        firsts: dict[int, float] = {}
        lasts: dict[int, float] = {}
        curves, windows = {}, {}
        reasons: dict[int | None, str] = {}
        for video in videos:
            firsts[video.video_id] = lasts[video.video_id] = math.nan
            try:
                likeness, seconds = self._over_time(video)
            except ValueError as problem:
                reasons[video.video_id] = str(problem)
                continue
            curves[video.video_id], windows[video.video_id] = likeness, seconds
            span = ends_of(len(likeness), self.step)
            if span:
                firsts[video.video_id] = float(likeness[:span].mean())
                lasts[video.video_id] = float(likeness[-span:].mean())
            else:
                reasons[video.video_id] = (
                    f"it has {len(likeness)} window of time, and two are needed"
                )
        per_video = {number: first - lasts[number] for number, first in firsts.items()}
        return self.answer(
            over_prompts(per_video, videos),
            per_video,
            reasons=reasons,
            per_window=curves,
            windows=windows,
            extras={"first": over_prompts(firsts, videos), "last": over_prompts(lasts, videos)},
        )

    @override
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), **self.texts.provenance()}

    def _over_time(self, video: Scored) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        parts = prompt_parts(video)
        likeness = [self.texts.likeness(part.shown, part.means) for part in parts]
        nothing = torch.zeros(0, dtype=torch.double)
        return torch.cat([nothing, *likeness]), torch.cat([nothing, *(p.seconds for p in parts)])
