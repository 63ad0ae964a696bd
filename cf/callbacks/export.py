"""The network that a run makes, as one file that others can use."""

from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812  (its usual name)

from cf.bounds import check_least
from cf.models.adapter_files import save_adapter
from cf.models.adapters import AdaptedBackbone
from cf.models.checkpoints import save_export
from cf.models.sharding import is_sharded, whole_state
from cf.models.writer import exported_weights


class Export(L.Callback):
    """Writes the (averaged) network and how to build it, with every checkpoint and at the end.

    A role on a shared network is written merged, and as a LoRA in PEFT's form in `adapter`.

    Attributes:
        config: model, codec, text encoder, rollout and frame rate that belong to the weights.
        every_steps: optimiser steps between exports.
    """

    def __init__(self, config: dict[str, Any], every_steps: int = 200) -> None:
        check_least(1, every_steps=every_steps)
        self.config, self.every_steps = config, every_steps
        self._last = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        """Keep the file up to date."""
        step = trainer.global_step
        if step != self._last and step % self.every_steps == 0:
            self._write(trainer, module)

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Leave the final weights, also of a run that has no step left when it is taken up."""
        if not trainer.interrupted:
            self._write(trainer, module)

    def _write(self, trainer: L.Trainer, module: Any) -> None:
        self._last = trainer.global_step
        student, first = module.student, trainer.is_global_zero
        sharded, adapted = is_sharded(student), isinstance(student, AdaptedBackbone)
        if not (sharded or first):
            return
        state = whole_state(student, first) if sharded or adapted else None
        shared = whole_state(student.network, first) if adapted else {}
        if not first:
            return
        folder = Path(trainer.default_root_dir)
        if adapted:
            assert state is not None
            save_adapter(folder / "adapter", student, state)
            state = student.merged(shared, state)
        config = {**self.config, "step": trainer.global_step}
        save_export(folder / "network.safetensors", exported_weights(student, state), config)
