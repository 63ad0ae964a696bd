"""Optimisers and learning-rate schedules of a backbone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from cf.bounds import pair_below_one


class MuonWithAdamW(Optimizer):
    """Muon on the matrices of transformer blocks, AdamW on all other parameters, as one optimiser.

    One optimiser, so that accumulation, clipping, schedules and checkpoints need not know.
    Muon: https://kellerjordan.github.io/posts/muon.

    Attributes:
        lr, momentum, weight_decay: Muon's.
        adamw_lr, betas, adamw_weight_decay: AdamW's.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        adamw_lr: float = 4e-3,
        betas: Sequence[float] = (0.9, 0.98),
        adamw_weight_decay: float = 0.0,
    ) -> None:
        matrices, others = _split(module)
        if not matrices:
            raise ValueError("Muon needs a module with matrices under `blocks.`; use AdamW alone")
        if not others:
            raise ValueError(
                "optimizer=muon is for whole networks, and a LoRA has nothing but factors; give "
                "optimizer=adamw (of a critic, critic_optimizer)"
            )
        muon = Muon(
            matrices,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            adjust_lr_fn="original",
        )
        first, second = pair_below_one(betas=betas)
        adamw = AdamW(others, lr=adamw_lr, betas=(first, second), weight_decay=adamw_weight_decay)
        self.parts: tuple[Optimizer, Optimizer] = (muon, adamw)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._link()

    def _link(self) -> None:
        """Let both parts work on this optimiser's own groups and state."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a saved state."""
        super().load_state_dict(state_dict)
        self._link()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both parts."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss


def adamw(module: nn.Module, lr: float, betas: Sequence[float], weight_decay: float) -> AdamW:
    """AdamW on every trainable parameter."""
    first, second = pair_below_one(betas=betas)
    parameters = [p for p in module.parameters() if p.requires_grad]
    return AdamW(parameters, lr=lr, betas=(first, second), weight_decay=weight_decay)


def warmup_cooldown(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, cooldown: float
) -> LambdaLR:
    """A rate that rises linearly, stays, and falls linearly over the last `cooldown` share."""
    falling = max(cooldown * total_steps, 1)

    def factor(step: int) -> float:
        rise = (step + 1) / max(warmup_steps, 1)
        fall = (total_steps - step) / falling if cooldown else 1.0
        return max(min(rise, fall, 1.0), 0.0)

    return LambdaLR(optimizer, factor)


def _split(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            inside = ".blocks." in f".{name}" and parameter.ndim == 2
            (matrices if inside else others).append(parameter)
    return matrices, others
