"""Gates: bounds that real clips keep, and that stills, loops, blur and noise do not."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """A metric whose value must lie within bounds for a video to be ranked; None: no bound.

    Attributes:
        truth: a contestant's name; bounds then are of the difference from its value of the prompt,
            for a world may stand still, return and be cut by itself.
    """

    metric: str
    low: float | None
    high: float | None
    truth: str | None = None

    def holds(self, value: float) -> bool | None:
        """Whether a value passes; None if it was not measured: neither."""
        if math.isnan(value):
            return None
        above = self.low is None or value >= self.low
        return above and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low:g} ≤ "
        high = "" if self.high is None else f" ≤ {self.high:g}"
        beyond = "" if self.truth is None else f" - {self.truth}'s"
        return f"{low}{self.metric}{beyond}{high}"


def check_bounds(bounds: Mapping[str, Sequence[float | None] | None]) -> None:
    """Refuse bounds between which nothing lies.

    Raises:
        ValueError: the least is above the most.
    """
    for name, pair in bounds.items():
        low, high = pair or (None, None)
        if low is not None and high is not None and low > high:
            raise ValueError(f"gates.{name}={pair} lets nothing through; give [least, most]")


def gates_of(
    bounds: Mapping[str, Sequence[float | None] | None],
    names: Mapping[str, str],
    truth: str | None = None,
) -> tuple[list[Gate], list[str]]:
    """The gates, and the keys of those whose metrics are not measured.

    Args:
        bounds: least and most, by the metric's key in the settings; None: no such gate.
        names: key -> name of each metric that is measured.
        truth: from whose values differences are bounded.
    """
    limits = {key: limit for key, limit in bounds.items() if limit is not None}
    gates = [Gate(names[k], low, high, truth) for k, (low, high) in limits.items() if k in names]
    return gates, [key for key in limits if key not in names]


@dataclass(frozen=True)
class Failing:
    """Prompts of a contestant that fail a gate.

    Attributes:
        prompts: of the contestant.
        failing: that fail any gate.
        unjudged: of which no gate was measured.
        by_gate: that fail each, where there are any.
    """

    prompts: int
    failing: int
    unjudged: int
    by_gate: Mapping[str, int]

    @staticmethod
    def of(gates: Sequence[Gate], values: Mapping[str, Mapping[Hashable, float]]) -> Failing:
        """Judge the prompts of a contestant, of whom metric -> prompt -> value is known."""
        prompts = {prompt for of in values.values() for prompt in of}
        failing = {
            str(gate): {
                prompt
                for prompt, value in values[gate.metric].items()
                if gate.holds(value) is False
            }
            for gate in gates
        }
        judged = {
            prompt
            for gate in gates
            for prompt, value in values[gate.metric].items()
            if gate.holds(value) is not None
        }
        return Failing(
            len(prompts),
            len(set().union(*failing.values())),
            len(prompts - judged),
            {gate: len(those) for gate, those in failing.items() if those},
        )

    def __str__(self) -> str:
        counts = "; ".join(f"{gate}: {count}" for gate, count in self.by_gate.items())
        unjudged = f", {self.unjudged} not judged" * bool(self.unjudged)
        return f"{self.failing} of {self.prompts}{unjudged}" + f" ({counts})" * bool(counts)
