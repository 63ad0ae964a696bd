"""How long it takes until something happens, where some were not watched until it did."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def survival(
    times: Float[Tensor, " v"], happened: Bool[Tensor, " v"], weights: Float[Tensor, "*b v"]
) -> tuple[Float[Tensor, " j"], Float[Tensor, "*b j"]]:
    """The share in which an event has not happened yet, after each time of one (Kaplan and Meier).

    Args:
        times: of the event, or of the last look if it had not happened by then; any unit.
        happened: False where watching ended before the event (right-censored).
        weights: of each; several sets of weights give as many curves (scipy's has none).

    Returns:
        The times of events, rising, and the share that is left after each.
    """
    steps = times[happened].unique()
    watched = (times[:, None] >= steps).double()
    now = ((times[:, None] == steps) & happened[:, None]).double()
    at_risk = weights @ watched
    surviving = 1 - (weights @ now) / at_risk.clamp(min=1e-12)
    return steps, surviving.clamp(min=0).cumprod(-1)


def median(steps: Float[Tensor, " j"], curve: Float[Tensor, "*b j"]) -> Float[Tensor, "*b"]:
    """First time at which half is left or less; infinite if there is none."""
    if not len(steps):
        return curve.new_full(curve.shape[:-1], math.inf)
    below = curve <= 0.5 + 1e-9
    first = steps[below.int().argmax(-1)]
    return torch.where(below.any(-1), first, math.inf)
