"""How sure a number is: resampling of prompts, the unit over which videos are independent."""

import torch
from jaxtyping import Float
from torch import Tensor

TIMES = 10_000


def resampled(units: int) -> Float[Tensor, "b n"]:
    """How often each unit is drawn in each of many resamples; always the same ones."""
    random = torch.Generator().manual_seed(0)
    drawn = torch.randint(units, (TIMES, units), generator=random)
    counts = torch.zeros(TIMES, units, dtype=torch.double)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.double))


def interval(values: Float[Tensor, " b"]) -> tuple[float, float]:
    """The middle 95 %; its ends are among the values, so that infinite ones do no harm."""
    ordered = values.sort().values
    low = ordered[int(0.025 * len(ordered))]
    high = ordered[min(int(0.975 * len(ordered)), len(ordered) - 1)]
    return float(low), float(high)
