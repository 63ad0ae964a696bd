"""What a training of one network has by one objective and one optimiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from cf.models.sharding import whole
from cf.modules.training import TrainingModule


class SingleModule(TrainingModule):
    """Takes guarded steps of one network; a subclass says by which loss."""

    _make_optimizer: Callable[[torch.nn.Module], Optimizer]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Never take a step that would spoil the weights."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        self.guard.check_gradient(norm, "network", self.global_step)
        self.log("train/gradient_norm", norm)
        self.log("train/lr", optimizer.param_groups[0]["lr"])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*args, **kwargs)
        self.average_weights()

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule over the trainer's steps."""
        optimizer = self._make_optimizer(self.network)
        schedule = self.scheduled(optimizer, self.cooldown)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
