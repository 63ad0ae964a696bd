"""Linear layers that several roles share, each of which adds a low-rank difference of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn

_MARKS = (".lora_A.", ".lora_B.")


class ActiveRole:
    """Whose difference the layers of a network add at present.

    Attributes:
        name: of the role; None: nobody's, the network is as it was.
    """

    def __init__(self) -> None:
        self.name: str | None = None

    @contextmanager
    def of(self, name: str | None) -> Iterator[None]:
        """Within, a role's difference is added."""
        before, self.name = self.name, name
        try:
            yield
        finally:
            self.name = before

    def kept(self, block: nn.Module) -> Callable[..., Any]:
        """The block as the role that is active now, whenever it is called.

        A backward pass recomputes a block long after another role had its turn; it would add that
        role's difference, and nothing would tell.
        """
        name = self.name

        def run(*args: Any) -> Any:
            with self.of(name):
                return block(*args)

        return run


class RoleLinear(nn.Linear):
    """A linear layer, plus scale * B A of the active role, under PEFT's names of A and B.

    It takes the weight and the bias of a layer as they are: the same tensors, under the same names.

    Attributes:
        lora_A, lora_B: factors by role.
        scales: by role.
        active: whose difference is added; all layers of a network ask the same.
    """

    def __init__(self, linear: nn.Linear, active: ActiveRole) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.lora_A, self.lora_B = nn.ModuleDict(), nn.ModuleDict()
        self.scales: dict[str, float] = {}
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """What the layer makes, and the active role's difference."""
        output, role = F.linear(x, *self._read(x)), self.active.name
        if role is None or role not in self.scales:
            return output
        difference: Tensor = self.lora_B[role](self.lora_A[role](x))
        return output + self.scales[role] * difference

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias for a product with x; autocast reads any, nothing else does."""
        if x.dtype == self.weight.dtype or torch.is_autocast_enabled(x.device.type):
            return self.weight, self.bias
        return self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype)

    def add(self, role: str, rank: int, scale: float) -> nn.ModuleDict:
        """Factors of one more role, whose product is 0, as PEFT begins with."""
        like = {"device": self.weight.device, "dtype": self.weight.dtype}
        a = nn.Linear(self.in_features, rank, bias=False, **like)
        b = nn.Linear(rank, self.out_features, bias=False, **like)
        nn.init.zeros_(b.weight)  # A begins as nn.Linear's own weights do
        self.lora_A[role], self.lora_B[role], self.scales[role] = a, b, scale
        return nn.ModuleDict({"lora_A": a, "lora_B": b})


def is_factor(name: str) -> bool:
    """Whether a parameter of a shared network is a role's, and not the network's own.

    >>> is_factor("blocks.0.self_attn.q.lora_A.student.weight")
    True
    """
    return any(mark in name for mark in _MARKS)
