"""Videos of a set by windows of time: mean features, and their cosines."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.metrics.scored import Scored, Segment


@dataclass(frozen=True)
class PromptPart:
    """The whole windows of a video under one prompt.

    Attributes:
        prompt: of the video's beginning; parts with equal ones are not told apart as unrelated.
        means: of the features of each window, of length 1 where all frames of it are alike.
        count: frames of each window.
        seconds: at which each window begins.
        shown: the prompt under which it lies; None if none was given.
    """

    video_id: int
    prompt: int
    means: Float[Tensor, "k d"]
    count: Int[Tensor, " k"]
    seconds: Float[Tensor, " k"]
    shown: int | None


def prompt_parts(one: Scored) -> list[PromptPart]:
    """The parts of a video between changes of its prompt.

    Windows that lie across a change are left out, and so are prompts that fill no window. The last
    window of a video counts if the video fills half of it; a video that is shorter has one window.

    Raises:
        ValueError: if no frame is looked at in some window, or no prompt fills one.
    """
    assert one.clock.window is not None
    row = {window: number for number, window in enumerate(one.window.tolist())}
    parts = []
    for segment in one.segments:
        begin, stop = _windows(segment, one)
        missing = [window for window in range(begin, stop) if window not in row]
        if missing:
            raise ValueError(
                f"no frame is looked at in window {missing[0]}; take longer windows or a higher "
                f"rate than these, {float(one.clock.window):g} s and "
                f"{float(one.clock.fps / one.clock.stride):g} per second"
            )
        rows = [row[window] for window in range(begin, stop)]
        count = one.count[rows]
        means = one.sums[rows].double() / count[:, None]
        if rows:
            parts.append(
                PromptPart(
                    one.video_id, one.prompt, means, count, one.seconds[rows], segment.prompt
                )
            )
    if not parts:
        raise ValueError(
            f"its prompt changes within every window of {float(one.clock.window):g} s; take "
            f"shorter ones"
        )
    return parts


def _windows(segment: Segment, video: Scored) -> tuple[int, int]:
    length = video.clock.fps * Fraction(video.clock.window or 1)
    begin = math.ceil(segment.first / length)
    if segment.stop < video.frames:
        return begin, math.floor(segment.stop / length)
    rounded = math.floor(segment.stop / length + Fraction(1, 2))
    return begin, max(rounded, begin + 1 if not segment.first else begin)


@dataclass(frozen=True)
class Grid:
    """Parts of equal duration.

    Attributes:
        videos: number of the video of each part.
        prompt: index of the prompt of each part.
        window: seconds.
    """

    videos: tuple[int, ...]
    prompt: Int[Tensor, " v"]
    means: Float[Tensor, "v k d"]
    count: Int[Tensor, "v k"]
    seconds: Float[Tensor, "v k"]
    window: float

    @staticmethod
    def of(parts: list[PromptPart], window: float) -> "Grid":
        """The grid of parts, each cut to whole windows."""
        prompts = sorted({part.prompt for part in parts})
        return Grid(
            tuple(part.video_id for part in parts),
            torch.tensor([prompts.index(part.prompt) for part in parts]),
            torch.stack([part.means for part in parts]),
            torch.stack([part.count for part in parts]),
            torch.stack([part.seconds for part in parts]),
            window,
        )

    @property
    def prompts(self) -> int:
        """How many there are."""
        return int(self.prompt.max()) + 1

    @property
    def windows(self) -> int:
        """How many there are in each part."""
        return self.means.shape[1]

    def within(self) -> Float[Tensor, "v k"]:
        """Mean likeness of two different frames of a window; NaN where it has one frame."""
        lengths = self.means.square().sum(-1)
        pairs = self.count * (self.count - 1)
        likeness = (self.count**2 * lengths - self.count) / pairs.clamp(min=1)
        return likeness.where(pairs > 0, math.nan)

    def lagged(self, lag: int) -> Float[Tensor, "v n"]:
        """Mean likeness of the frames of each window with those of the one `lag` windows later."""
        if not lag:
            return self.within()
        return (self.means[:, :-lag] * self.means[:, lag:]).sum(-1)

    def chance(self, lag: int) -> float:
        """What `lagged` gives for two videos of different prompts, on average."""
        by = self.by_prompt(self.means)
        early, late = by[:, : self.windows - lag], by[:, lag:]
        all_pairs = (early.sum(0) * late.sum(0)).sum(-1)
        own_pairs = (early * late).sum((0, -1))
        pairs = self.prompts * (self.prompts - 1)
        return float((all_pairs - own_pairs).mean() / pairs)

    def to_others(self, anchor: Float[Tensor, "v d"]) -> Float[Tensor, "v k"]:
        """Mean likeness of each part's anchor with every window of other prompts' videos."""
        by = self.by_prompt(self.means)
        others = by.sum(0) - by[self.prompt]
        return torch.einsum("vd,vkd->vk", anchor, others) / (self.prompts - 1)

    def with_others(self) -> Float[Tensor, "v k"]:
        """Mean likeness of each window with the same window of other prompts' videos."""
        by = self.by_prompt(self.means)
        others = by.sum(0) - by[self.prompt]
        return (self.means * others).sum(-1) / (self.prompts - 1)

    def across(self) -> float:
        """Mean likeness of parts of one video whose prompts follow each other; NaN without."""
        pairs = [n for n in range(1, len(self.videos)) if self.videos[n] == self.videos[n - 1]]
        means = self.means.mean(1)
        likeness = [float(means[n] @ means[n - 1]) for n in pairs]
        return math.fsum(likeness) / len(likeness) if likeness else math.nan

    def unrelated(self) -> Bool[Tensor, "v v"]:
        """Which parts are of different prompts."""
        return self.prompt[:, None] != self.prompt[None]

    def by_prompt(self, values: Float[Tensor, "v ..."]) -> Float[Tensor, "p ..."]:
        """Means over the parts of each prompt; parts with NaN are left out."""
        finite = ~values.isnan()
        shape = (self.prompts, *values.shape[1:])
        sums = values.new_zeros(shape).index_add_(0, self.prompt, values.nan_to_num(0.0))
        number = values.new_zeros(shape).index_add_(0, self.prompt, finite.to(values.dtype))
        return sums / number

    def mean(self, values: Float[Tensor, "v ..."]) -> Float[Tensor, "..."]:
        """Over parts, then over prompts: a prompt with more seeds has no more weight."""
        return self.by_prompt(values).nanmean(0)

    def by_video(self, values: Float[Tensor, " v"]) -> dict[int, float]:
        """Mean over the parts of each video; NaN if one of them has NaN."""
        return {
            video: float(torch.stack(parts).mean())
            for video, parts in _grouped(self.videos, values).items()
        }

    def over_time(
        self, values: Float[Tensor, "v k"]
    ) -> tuple[Mapping[int, Tensor], Mapping[int, Tensor]]:
        """Values of each video's windows, part after part, and the seconds where they begin."""
        curves = _grouped(self.videos, values)
        seconds = _grouped(self.videos, self.seconds)
        return (
            {video: torch.cat(parts) for video, parts in curves.items()},
            {video: torch.cat(parts) for video, parts in seconds.items()},
        )


def _grouped(videos: Iterable[int], values: Tensor) -> dict[int, list[Tensor]]:
    grouped: dict[int, list[Tensor]] = {}
    for video, value in zip(videos, values, strict=True):
        grouped.setdefault(video, []).append(value)
    return grouped
