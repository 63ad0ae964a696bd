"""What a run notes between two of its reports."""

from collections.abc import Callable

import torch
from torch import Tensor


class Notes:
    """Values by name, averaged when they are reported."""

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Note one more value."""
        self._values.setdefault(name, []).append(value.detach().float())

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The means since the last call, over all processes by `reduce`."""
        names = sorted(self._values)
        values = reduce(torch.stack([torch.stack(self._values[name]).mean() for name in names]))
        self._values = {}
        return dict(zip(names, values.tolist(), strict=True))
