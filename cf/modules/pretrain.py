"""Training of one network on real video, by flow matching."""

from collections.abc import Callable
from typing import Any

import lightning as L  # noqa: N812  (its usual name)
import torch
from torch import Tensor
from torch.optim import Optimizer

from cf.models.base import Backbone
from cf.models.codec import Codec
from cf.models.text import TextEncoder
from cf.modules.average import WeightAverage
from cf.modules.guard import Guard
from cf.modules.optim import warmup_cooldown
from cf.objectives.forcing import ForcingLoss
from cf.objectives.plan import Plan
from cf.rollout import Rollout
from cf.seeding import seeded
from cf.types import Conditioning, Latents

Batch = dict[str, Any]


class PretrainModule(L.LightningModule):
    """One network, one objective, one optimiser.

    All randomness is keyed by (seed, rank, batch), so that a resumed run draws what the
    uninterrupted one would have drawn.

    Attributes:
        codec, text: frozen, outside the checkpoint.
        rollout: how samples are generated, while training and by default afterwards.
        ema_decay: of the average of weights that is sampled and exported; 0 keeps no average.
        warmup_steps: optimiser steps over which the learning rate rises.
        cooldown: last share of the steps over which it falls to 0.
    """

    def __init__(
        self,
        network: Backbone,
        objective: ForcingLoss | Plan,
        optimizer: Callable[[torch.nn.Module], Optimizer],
        codec: Codec,
        text: TextEncoder,
        rollout: Rollout,
        guard: Guard,
        ema_decay: float = 0.99,
        warmup_steps: int = 40,
        cooldown: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(objective, ForcingLoss):
            raise ValueError(
                f"a network cannot be pre-trained by {type(objective).__name__}; give "
                f"objective=teacher_forcing or diffusion_forcing, or module=distill"
            )
        self.network, self.objective, self.rollout = network, objective, rollout
        self.average = WeightAverage(network, ema_decay) if ema_decay else None
        self.guard = guard
        self.seed, self.warmup_steps, self.cooldown = seed, warmup_steps, cooldown
        self._make_optimizer = optimizer
        self._frozen = (codec, text)

    @property
    def codec(self) -> Codec:
        """Between pixels and latents."""
        return self._frozen[0]

    @property
    def student(self) -> Backbone:
        """The network to sample from and to export: the average, if one is kept."""
        network = self.network if self.average is None else self.average.network
        assert isinstance(network, Backbone)
        return network

    def shown(self) -> list[tuple[Backbone, Rollout]]:
        """What samples are made with."""
        return [(self.student, self.rollout)]

    def on_fit_start(self) -> None:
        """Move what is not ours to train beside what is."""
        for module in self._frozen:
            module.to(self.device).requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, batch: Batch) -> tuple[Latents, Conditioning]:
        """Latents and conditioning of a batch of data."""
        codec, text = self._frozen
        latents = codec.encode(batch["video"])
        states = None if text.dim is None else text.encode(batch["prompt"])
        return latents, Conditioning(states, batch.get("control"), batch.get("origin"))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective on one batch."""
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress
        generator = seeded(self.seed, 0, self.global_rank, progress.total.processed)
        loss = self.objective(self.network, *self.encode(batch), generator)
        self.log("train/loss", loss.value, prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in loss.logs.items()})
        return loss.value

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The objective on fixed clips with fixed noise."""
        generator = seeded(self.seed, 1, self.global_rank, batch_idx)
        loss = self.objective(self.student, *self.encode(batch), generator)
        size = len(batch["video"])
        self.log("val/loss", loss.value, prog_bar=True, sync_dist=True, batch_size=size)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Never take a step that would spoil the weights."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.guard.check_gradient(norm, "network", self.global_step)
        self.log("train/gradient_norm", norm)
        self.log("train/lr", optimizer.param_groups[0]["lr"])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.network)

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule over the trainer's steps."""
        total = self.trainer.max_steps
        if total < 1:
            raise ValueError(f"trainer.max_steps must be at least 1, got {total}")
        optimizer = self._make_optimizer(self.network)
        schedule = warmup_cooldown(optimizer, total, self.warmup_steps, self.cooldown)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
