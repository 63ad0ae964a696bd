"""How fast a run is."""

import math
import time
from typing import Any, cast

import lightning as L  # noqa: N812  (its usual name)
import torch

from cf.bounds import check_least


class Throughput(L.Callback):
    """Logs seconds per step, frames of clips or rollouts trained on per second, peak GPU memory.

    `speed/data_share` is the part of the time in which the step waits for its batch: more workers
    (`data.num_workers`) lower it.

    Attributes:
        every_steps: optimiser steps over which is averaged.
    """

    def __init__(self, every_steps: int = 20) -> None:
        check_least(1, every_steps=every_steps)
        self.every_steps = every_steps
        self._since = 0.0
        self._step = self._frames = 0
        self._waited = 0.0

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        """Start the clock."""
        self._since, self._step = time.perf_counter(), trainer.global_step
        self._frames = module.seen_frames
        self._waited = _waited(trainer)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log once every so many steps."""
        steps = trainer.global_step - self._step
        if not steps or trainer.global_step % self.every_steps:  # a resumed run logs where any does
            return
        seconds = time.perf_counter() - self._since
        values = {
            "speed/seconds_per_step": seconds / steps,
            "speed/frames_per_second": (module.seen_frames - self._frames)
            * module.data_ranks
            / seconds,
            "speed/data_share": (_waited(trainer) - self._waited) / seconds,
        }
        if module.device.type == "cuda":
            values["speed/peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        for logger in trainer.loggers:
            logger.log_metrics(values, trainer.global_step - 1)
        self.on_train_start(trainer, module)


def _waited(trainer: L.Trainer) -> float:
    """Seconds for which training has waited for batches so far; NaN if its data do not tell."""
    return float(getattr(cast(Any, trainer).datamodule, "waited", math.nan))
