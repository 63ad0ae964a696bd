"""What every training has: a network, its average, guarded steps and a learning rate in time."""

from typing import Any

import lightning as L  # noqa: N812  (its usual name)
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from cf.bounds import check_least, check_share
from cf.modules.divergence_guard import Guard
from cf.modules.ema import WeightAverage
from cf.modules.fully_shard import FullyShard
from cf.modules.optim import warmup_cooldown
from cf.modules.optim_8bit import check_torchao, is_8bit, makers_of


class TrainingModule(L.LightningModule):
    """A network in training.

    Attributes:
        network: takes the steps.
        average: of its weights, which is exported; None: none is kept.
        guard: stops the run before a step that would spoil the weights.
        warmup_steps: steps over which the learning rate rises.
        cooldown: last share of the steps over which it falls to 0.
        seed: of all randomness.
        seen_frames: pixel frames that this process has trained on since it started.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        guard: Guard,
        ema_decay: float,
        warmup_steps: int,
        cooldown: float,
        seed: int,
    ) -> None:
        super().__init__()
        check_least(0, warmup_steps=warmup_steps)
        check_share(cooldown=cooldown)
        self.network, self.guard = network, guard
        self.average = WeightAverage(network, ema_decay) if ema_decay else None
        self.warmup_steps, self.cooldown, self.seed = warmup_steps, cooldown, seed
        self._rates: list[list[float]] = []
        self.seen_frames = 0

    @property
    def student(self) -> torch.nn.Module:
        """The network to use and to export: the average, if one is kept."""
        return self.network if self.average is None else self.average.network

    @property
    def data_rank(self) -> int:
        """Which of the batches at once this process has."""
        return int(_sampling(self.trainer).get("rank", 0))

    @property
    def data_ranks(self) -> int:
        """Batches at once, over all processes."""
        return int(_sampling(self.trainer).get("num_replicas", 1))

    @property
    def batches(self) -> int:
        """Batches that training has finished with, over all resumed parts of the run."""
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress
        return int(progress.total.processed)

    def check(self, trainer: L.Trainer) -> None:
        """Refuse what cannot work, before anything is written.

        Raises:
            ValueError: a setting of the trainer that does not fit this module.
        """
        if trainer.max_steps < 1:
            raise ValueError(f"trainer.max_steps must be at least 1, got {trainer.max_steps}")
        unsharded = type(self).configure_model is L.LightningModule.configure_model
        if unsharded and isinstance(trainer.strategy, FullyShard):
            raise ValueError(
                f"trainer=fsdp2 spreads the blocks of a transformer, and {type(self).__name__} "
                "trains a network that has none; give trainer=ddp, or trainer=gpu for one card"
            )
        if any(map(is_8bit, makers_of(self))):
            check_torchao()

    def scheduled(self, optimizer: Optimizer, cooldown: float) -> LambdaLR:
        """The schedule of an optimiser over the run; its rates are those of the settings."""
        self._rates.append([group["lr"] for group in optimizer.param_groups])
        return warmup_cooldown(optimizer, self.trainer.max_steps, self.warmup_steps, cooldown)

    def on_train_start(self) -> None:
        """Learning rates are those of the settings, also where a checkpoint brought others."""
        for config, rates in zip(self.trainer.lr_scheduler_configs, self._rates, strict=True):
            schedule: Any = config.scheduler
            schedule.base_lrs = rates
            for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
                group["initial_lr"] = rate
                group["lr"] = rate * schedule.lr_lambdas[0](schedule.last_epoch)

    def average_weights(self) -> None:
        """Move the average, once a step has been taken."""
        if self.average is not None:
            self.average.update(self.network)


def _sampling(trainer: L.Trainer) -> dict[str, Any]:
    kwargs: dict[str, Any] = getattr(trainer.strategy, "distributed_sampler_kwargs", {})
    return kwargs
