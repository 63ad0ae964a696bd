"""Mean over prompts of means over seeds: a prompt with more videos has no more weight."""

from collections.abc import Mapping, Sequence

from cf.metrics.result import mean
from cf.metrics.scored import Scored


def macro(values: Mapping[int, float], videos: Sequence[Scored]) -> float:
    """Over the videos that have a number; NaN if none has."""
    prompts: dict[int, list[float]] = {}
    for one in videos:
        prompts.setdefault(one.prompt, []).append(values[one.video])
    return mean(mean(mine) for _, mine in sorted(prompts.items()))
