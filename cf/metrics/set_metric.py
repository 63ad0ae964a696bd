"""Metrics that compare the videos of a set with one another."""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any

from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.features import Features
from cf.metrics.grid import Grid, PromptPart, prompt_parts
from cf.metrics.measurement import digest
from cf.metrics.result import Result
from cf.metrics.scored import Scored


class SetMetric(VideoMetric):
    """A metric of likeness that needs videos of equal duration.

    A video whose prompt changes is cut there, and each part is scored as a video of its own. The
    prompts of the set are part of the provenance (`prompts`): scores of other sets are others.

    Attributes:
        seconds: of each part that are compared, from its beginning; None for all, which must then
            be of equal duration.
        least_prompts: fewer are refused.
        least_windows: shorter parts are refused.
        for_fewer: the metric that needs fewer prompts; empty if there is none.
    """

    least_prompts = 1
    least_windows = 1
    for_fewer = ""
    depends_on = ("seconds",)

    def __init__(
        self,
        extractor: Extractor,
        *,
        seconds: float | None = None,
        rate: float = 4.0,
        window: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(Features(extractor, rate), window, **kwargs)
        self.seconds = seconds
        self.step = window
        if seconds is not None and seconds < window:
            raise ValueError(f"seconds={seconds} must be at least one window of {window} s")

    @property
    def extractor(self) -> Extractor:
        """What makes the features."""
        assert isinstance(self.measurement, Features)
        return self.measurement.extractor

    @abstractmethod
    def compare(self, grid: Grid) -> Result:
        """Compute the result of videos of equal duration."""

    @override
    def score(self, videos: list[Scored]) -> Result:
        parts: list[PromptPart] = []
        short: dict[int | None, str] = {}
        for video in videos:
            try:
                cuts = self._cut(prompt_parts(video))
            except ValueError as problem:
                short[video.video_id] = str(problem)
            else:
                parts += cuts
        refusal = self._refusal(parts)
        if refusal:
            result = self.refused({part.video_id for part in parts}, refusal)
        else:
            result = self.compare(Grid.of(parts, self.step))
        described = {"prompts": digest({"prompts": sorted({part.prompt for part in parts})})}
        return replace(
            result,
            per_video={
                **result.per_video,
                **{number: math.nan for number in short if number is not None},
            },
            reasons={**result.reasons, **short},
            provenance={**result.provenance, **described},
        )

    def refused(self, videos: set[int], reason: str, **parts: Any) -> Result:
        """No number, for that reason."""
        reasons: dict[int | None, str] = {None: reason}
        for video in sorted(videos):
            reasons[video] = reason
        nothing = dict.fromkeys(sorted(videos), math.nan)
        return self.answer(math.nan, nothing, reasons=reasons, **parts)

    def _cut(self, parts: list[PromptPart]) -> list[PromptPart]:
        """The first `seconds` of each part."""
        if self.seconds is None:
            return parts
        windows = math.floor(self.seconds / self.step + 1e-9)
        for part in parts:
            if len(part.count) < windows:
                raise ValueError(
                    f"it has {len(part.count) * self.step:g} s under one prompt, seconds="
                    f"{self.seconds:g} are compared"
                )
        return [
            replace(
                part,
                means=part.means[:windows],
                count=part.count[:windows],
                seconds=part.seconds[:windows],
            )
            for part in parts
        ]

    def _refusal(self, parts: list[PromptPart]) -> str:
        if not parts:
            return "there is no video to score"
        prompts = len({part.prompt for part in parts})
        if prompts < self.least_prompts:
            instead = f"; for fewer use {self.for_fewer}" if self.for_fewer else ""
            return (
                f"{prompts} prompt{'s' * (prompts != 1)}, and chance likeness within the set needs "
                f"{self.least_prompts} or more{instead}"
            )
        durations = sorted({len(part.count) for part in parts})
        if len(durations) > 1:
            least, most = durations[0] * self.step, durations[-1] * self.step
            return (
                f"durations differ, {least:g} to {most:g} s; give seconds={least:g} or less to "
                f"compare the beginnings"
            )
        if durations[0] < self.least_windows:
            return (
                f"videos of {durations[0] * self.step:g} s are too short; "
                f"{self.least_windows * self.step:g} s are needed"
            )
        return ""


class AloneMetric(SetMetric):
    """A `SetMetric` that gives every video its number, whatever the others' duration."""

    @override
    def score(self, videos: list[Scored]) -> Result:
        result = super().score(videos)
        if not math.isnan(result.value):
            return result
        alone = {video.video_id: super(AloneMetric, self).score([video]) for video in videos}
        reasons: dict[int | None, str] = {
            number: single.reasons[number]
            for number, single in alone.items()
            if number in single.reasons
        }
        curves = {v: curve for single in alone.values() for v, curve in single.per_window.items()}
        seconds = {v: curve for single in alone.values() for v, curve in single.windows.items()}
        return replace(
            result,
            per_video={number: single.per_video[number] for number, single in alone.items()},
            reasons={None: result.reasons[None], **reasons},
            per_window=curves,
            windows=seconds,
        )


class AboveChance(AloneMetric):
    """An `AloneMetric` of likeness above a fixed chance.

    Attributes:
        kappa: chance likeness, the mean cosine of features of unrelated videos; the extractor's own
            if None.
    """

    depends_on = ("kappa",)

    def __init__(self, extractor: Extractor, *, kappa: float | None = None, **kwargs: Any) -> None:
        self.kappa = _chance_of(extractor, kappa)
        super().__init__(extractor, **kwargs)


def _chance_of(extractor: Extractor, kappa: float | None) -> float:
    """The cosine of unrelated frames: as given, or as shipped with the extractor.

    Raises:
        ValueError: if neither is known, or it is no likeness.
    """
    chance = getattr(extractor, "kappa", None) if kappa is None else kappa
    if chance is None:
        raise ValueError(
            f"{extractor.name} ships no chance likeness; give kappa=, the mean cosine of its "
            f"features of unrelated videos"
        )
    if not -1 <= chance < 1:
        raise ValueError(f"kappa={chance} must be a cosine below 1")
    return float(chance)
