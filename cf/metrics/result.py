"""The result of a metric: its value with all that it depends on."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from cf.metrics.measurement import digest
from cf.metrics.pooled import PooledResult

_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Result:
    """A metric's answer over a set of videos.

    Attributes:
        name: the metric with its extractor or backend: "SemanticDrift[handcrafted-v2]".
        value: the headline; NaN where it cannot be given.
        higher_is_better: None where neither direction is.
        per_video: value of each video; NaN where it cannot be given.
        reasons: why a video's value is NaN, or that of the whole set under the key None.
        per_window: a curve over time per video, one number per window.
        windows: seconds at which each window of the curves begins.
        curve_shows: what these curves show; empty: the value, in each window.
        curves: further curves over the whole set, by name.
        extras: further numbers over the whole set, by name.
        pooled: values of sums over videos, by name, which tell how sure they are.
        provenance: all that the number depends on.
    """

    name: str
    value: float
    higher_is_better: bool | None
    per_video: Mapping[int, float]
    reasons: Mapping[int | None, str] = field(default_factory=dict)
    per_window: Mapping[int, Tensor] = field(default_factory=dict)
    windows: Mapping[int, Tensor] = field(default_factory=dict)
    curves: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, float] = field(default_factory=dict)
    pooled: Mapping[str, PooledResult] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    curve_shows: str = ""

    @property
    def curve_title(self) -> tuple[str, bool | None]:
        """What a picture of the curves is called, and which way is better: only the value has one.

        >>> Result("SinkReset", 0.0, False, {}, curve_shows="bits of a step").curve_title
        ('SinkReset: bits of a step', None)
        """
        if self.curve_shows:
            return f"{self.name}: {self.curve_shows}", None
        return self.name, self.higher_is_better

    def digest(self) -> str:
        """Eight hex digits of the provenance; only results of equal ones are compared."""
        return digest(dict(self.provenance))

    def why(self) -> str:
        """Why the headline is NaN: of the whole set, or of most of its videos; empty if it is not.

        >>> Result("a", math.nan, None, {0: math.nan, 1: math.nan}, {0: "short", 1: "short"}).why()
        'short (2 of 2 videos)'
        """
        if not math.isnan(self.value):
            return ""
        if None in self.reasons:
            return self.reasons[None]
        for reason, count in reason_kinds(self.reasons.values())[:1]:
            return f"{reason} ({count} of {len(self.per_video)} videos)"
        return ""


def reason_kinds(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """The first of the reasons that differ in numbers only, and how many they are, most first.

    >>> reason_kinds(["it lasts 3 s", "it is flat", "it lasts 0.25 s"])
    [('it lasts 3 s', 2), ('it is flat', 1)]
    """
    kinds: dict[str, list[str]] = {}
    for reason in reasons:
        kinds.setdefault(_NUMBER.sub("0", reason), []).append(reason)
    return sorted(((some[0], len(some)) for some in kinds.values()), key=lambda kind: -kind[1])


def without_value(
    per_video: Mapping[int, float], why: str, value: float = 0.0
) -> dict[int | None, str]:
    """One reason for every video without a value, and for the whole set if it has none either.

    Args:
        per_video: value of each video.
        why: they have none.
        value: of the whole set.
    """
    reasons: dict[int | None, str] = {v: why for v, x in per_video.items() if math.isnan(x)}
    return {**reasons, None: why} if per_video and math.isnan(value) else reasons


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are numbers; NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else float("nan")
