"""What a run is taken up from: its newest checkpoints, each there whole and after its log."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812  (its usual name)
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from cf.bounds import check_least
from cf.callbacks.table import MetricsTable
from cf.files.atomic import disk_is_full, remove, replacing
from cf.files.sharded import Shards
from cf.files.steps import checkpoint, checkpoints, outlived, steps_in
from cf.system.signals import Stop, Stopped
from cf.types import Diverged

_OF_ALL = (Diverged, Stopped)
"""What ends all processes at the same step, so that they can still write together."""


class Checkpoints(Checkpoint):
    """Keeps the newest checkpoints of a run, and writes one before the run is stopped.

    The state after a step is taken at its end, as Lightning wants it, and is written before the
    next one begins: what that step logs, validation too, is in `metrics.csv` by then. So a run that
    is killed at any moment has logged all that its newest checkpoint has seen.

    Attributes:
        dirpath: the run's folder of checkpoints.
        every_n_train_steps: optimiser steps between checkpoints.
        keep: how many are kept, the one before in case the newest is damaged; null: all. One that
            was written because the run was asked to end is left until the next.
        stop: asks the run to end.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int = 200, keep: int | None = 2) -> None:
        super().__init__()
        check_least(1, every_n_train_steps=every_n_train_steps, keep=keep)
        self.dirpath, self.every_n_train_steps, self.keep = Path(dirpath), every_n_train_steps, keep
        self.stop = Stop()
        self._files = _Files()
        self._seen = 0
        self._ends = False

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Every checkpoint of this trainer is written whole or not at all."""
        trainer.strategy.checkpoint_io = self._files

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """From here on the run ends between two steps only."""
        self._seen = trainer.global_step
        self.stop.waits = True
        self.stop.listen()  # Lightning's own handlers would end the run without a checkpoint

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Take the state, if it is due; gradients that are being gathered are in no checkpoint."""
        step = trainer.global_step
        if step == self._seen:
            return
        self._seen = step
        self._ends = bool(self.stop.asked)
        if trainer.world_size > 1:  # all end after the same step
            self._ends = trainer.strategy.reduce_boolean_decision(self._ends, all=False)
            if self._ends and not self.stop.asked:
                self.stop.asked = signal.SIGTERM  # another process was
        if self._ends or step % self.every_n_train_steps == 0:
            with self._files.held():
                trainer.save_checkpoint(checkpoint(self.dirpath, step))

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Write what was taken after the step before, and end if that was asked for."""
        self._write(trainer)
        if self._ends:
            self.stop.now()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write what was taken after the last step."""
        self._write(trainer)
        self.stop.waits = False

    def on_exception(
        self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException
    ) -> None:
        """The state after the last step is good if all that it logs was logged."""
        self.stop.waits = False
        alone = self._files.in_shards and not isinstance(exception, _OF_ALL)
        if not (trainer.validating or disk_is_full(exception) or alone):
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        if not self._files.pending:
            return
        for logger in trainer.loggers:
            if isinstance(logger, MetricsTable):
                logger.save()
        self._files.write()
        if self.keep is None or not trainer.is_global_zero:
            return
        # Later ones are of a run that was taken up before them, and not to be counted.
        saved = [path for path in checkpoints(self.dirpath) if steps_in(path) <= self._seen]
        for path in outlived(saved, self.every_n_train_steps, self.keep):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


class _Files(TorchCheckpointIO):
    """Checkpoints as files that are there whole or not at all, at once or when it is time.

    Attributes:
        pending: what is held back: the state, or this process's shards of it, and the path that it
            belongs to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: tuple[dict[str, Any] | Shards, Path] | None = None
        self._holds = False

    @property
    def in_shards(self) -> bool:
        """Whether what is held back is written by all processes together."""
        return self.pending is not None and isinstance(self.pending[0], Shards)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, what is to be saved is held back until `write`."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any] | Shards,
        path: str | Path,
        storage_options: Any = None,
    ) -> None:
        """Write a checkpoint, or hold it back.

        Raises:
            DiskFullError: no space is left; what stood there before still does.
        """
        self.pending = checkpoint, Path(path)
        if not self._holds:
            self.write()

    def write(self) -> None:
        """Write what was held back."""
        if self.pending is None:
            return
        (state, path), self.pending = self.pending, None
        if isinstance(state, Shards):
            state.write(path)
            return
        with replacing(path) as temporary:
            torch.save(state, temporary)
            if path.is_dir():  # of several processes, and damaged, or this one would be no news
                remove(path)
