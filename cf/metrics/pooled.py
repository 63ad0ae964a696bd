"""A value of sums over videos, such as a ratio of counts, with its interval."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cf.metrics.bootstrap import resample_counts
from cf.stats.resampling import Interval

Of = Callable[[Float[Tensor, "n ..."]], Float[Tensor, " n"]]


@dataclass(frozen=True)
class PooledResult:
    """A value of sums over videos.

    Attributes:
        sums: what is summed, of each video.
        of: the value of such sums, a row each.
    """

    sums: Float[Tensor, "videos ..."]
    of: Of

    @property
    def value(self) -> float:
        """The value of the sums over all videos."""
        return float(self.of(self.sums.sum(0, keepdim=True)))

    def interval(self, resamples: int = 2000, seed: int = 0) -> Interval:
        """The middle 95 % of the value over resamples of the videos; NaN where there is none.

        One video tells nothing of how others would be: its value has no bounds.

        A collapsed or constant value has an interval of no width: the bootstrap cannot tell how
        far 64 successes out of 64 may be from the truth.
        """
        videos, value, nothing = len(self.sums), self.value, float("nan")
        valued = int((~torch.isnan(self.of(self.sums))).sum())
        if valued == 1:
            return Interval(value, nothing, nothing, 0.95, "percentile", 1)
        weights = torch.from_numpy(resample_counts(videos, resamples, seed)).double()
        values = self.of(torch.einsum("rb,b...->r...", weights, self.sums))
        values = values[torch.isfinite(values)]
        if not len(values) or not torch.isfinite(torch.tensor(value)):
            return Interval(value, nothing, nothing, 0.95, "percentile", videos)
        low, high = (float(values.quantile(q)) for q in (0.025, 0.975))
        return Interval(value, low, high, 0.95, "percentile", videos)


def ratio(sums: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """The first sum per unit of the second; NaN where that is 0.

    >>> ratio(torch.tensor([[1.0, 4.0], [0.0, 0.0]])).tolist()
    [0.25, nan]
    """
    return sums[:, 0] / sums[:, 1]


def decibels(sums: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """PSNR in dB of squared errors and their number, at most 80; NaN where there is none."""
    return -10 * ratio(sums).clamp(min=1e-8).log10()
