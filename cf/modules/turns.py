"""Whose turn it is where student and critic are trained by one loop of Lightning's."""

from typing import Any, NamedTuple


class Turn(NamedTuple):
    """Who is trained on this batch, and whether the batch completes an update."""

    critic: bool
    steps: bool


def listed(one_or_many: Any) -> list[Any]:
    """Lightning gives a single optimiser or schedule bare."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]
