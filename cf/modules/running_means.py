"""What a run notes between two of its reports."""

from collections.abc import Callable

import torch
from torch import Tensor


class Notes:
    """Values by name, averaged when they are reported.

    Attributes:
        values: since the last report.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Note one more value."""
        self.values.setdefault(name, []).append(value.detach().float())

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The means since the last call, over all processes by `reduce`."""
        names = sorted(self.values)
        values = reduce(torch.stack([self._mean(name) for name in names]))
        self.values = {}
        return dict(zip(names, values.tolist(), strict=True))

    def _mean(self, name: str) -> Tensor:
        noted = self.values[name]
        # A checkpoint brings them to the CPU.
        return torch.stack([value.to(noted[-1].device) for value in noted]).mean()
