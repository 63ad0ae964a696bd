"""Bins of lag: the seconds for which something was out of view."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rising(edges: Sequence[float], name: str = "edges", unit: str = "seconds") -> tuple[float, ...]:
    """The edges of bins in seconds, checked: they rise.

    Raises:
        ValueError: if there are fewer than two, or they do not rise.
    """
    if list(edges) != sorted(set(edges)) or len(edges) < 2:
        raise ValueError(f"{name}={list(edges)} must be two or more rising numbers of {unit}")
    return tuple(float(edge) for edge in edges)


def span(edges: Sequence[float], usual: Sequence[float]) -> str:
    """What a metric's name says of its lags: nothing where they are the usual ones.

    >>> span((16, 32, 64), usual=(0, 96)), span((0, 96), usual=(0, 96))
    ('16 to 64 s', '')

    Args:
        edges: of the bins, in seconds, rising.
        usual: those of the metric under its plain name.
    """
    return "" if tuple(edges) == tuple(usual) else f"{edges[0]:g} to {edges[-1]:g} s"


def lag_bins(lag: Float[Tensor, "..."], edges: Sequence[float]) -> Int[Tensor, "..."]:
    """The bin of each lag in seconds; -1 outside all of them.

    >>> lag_bins(torch.tensor([-1.0, 0.5, 1.0, 9.0]), (0.0, 1.0, 2.0)).tolist()
    [-1, 0, 1, -1]
    """
    bounds = torch.tensor(edges, dtype=torch.float64)
    bins = torch.bucketize(lag.double().contiguous(), bounds, right=True) - 1
    return torch.where(bins < len(bounds) - 1, bins, -1)


def means_by_lag(
    found: Iterable[tuple[Int[Tensor, " n"], Float[Tensor, " n"]]], edges: Sequence[float]
) -> dict[str, Float[Tensor, " bins"]]:
    """Curves of a result: the mean of all frames in each bin, and how many they are.

    Args:
        found: of each video the bin and the value of each frame.
        edges: of the bins, in seconds.
    """
    total, count = torch.zeros(2, len(edges) - 1, dtype=torch.float64)
    for bins, values in found:
        total = total.index_add(0, bins, values)
        count = count.index_add(0, bins, torch.ones_like(values))
    by_lag = torch.where(count > 0, total / count.clamp(min=1), torch.nan)
    lags = torch.tensor(edges[:-1], dtype=torch.float64)
    return {"by_lag": by_lag, "frames_by_lag": count, "lags": lags}
