"""Bootstrap intervals of metrics; the unit is the prompt, as videos of one depend on another."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.stats.resampling import percentiles

TIMES = 10_000
_AT_ONCE = 2**22  # counts in memory at a time: 32 MB, and twice that while they are drawn


def resampled(units: int) -> Iterator[Float[Tensor, "b n"]]:
    """Counts of each unit in each resample, in pieces of bounded size; always the same."""
    random = torch.Generator().manual_seed(0)
    most = max(_AT_ONCE // max(units, 1), 1)
    for start in range(0, TIMES, most):
        drawn = torch.randint(units, (min(most, TIMES - start), units), generator=random)
        counts = torch.zeros(drawn.shape, dtype=torch.double)
        yield counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.double))


def bootstrap(
    units: int, statistic: Callable[[Float[Tensor, "b n"]], Float[Tensor, " b"]]
) -> tuple[float, float]:
    """The middle 95 % of a statistic over resamples of so many units."""
    values = torch.cat([statistic(counts) for counts in resampled(units)])
    return percentiles(values.numpy(), 0.95)


def resample_counts(units: int, resamples: int, seed: int = 0) -> Int[np.ndarray, "b n"]:
    """How often each unit is drawn in each resample: for sums, which are weighted by it."""
    random = np.random.default_rng(seed)
    return random.multinomial(units, np.full(units, 1 / units), resamples)
