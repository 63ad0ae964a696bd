"""How much of a drawn world the student recalls, while it is trained."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import lightning as L  # noqa: N812  (its usual name)
import torch
from lightning.fabric.utilities import move_data_to_device

from cf.bounds import check_least
from cf.data.world.known import known
from cf.data.world.module import WorldData
from cf.data.world.rooms import Rooms
from cf.metrics.recall.room_recall import RoomRecall

_WORLDS = 2**32 - 2
"""Seed of the worlds: neither of training nor of validation."""


class Recall(L.Callback):
    """Continues the same worlds every time and logs what the averaged weights remember of them.

    Logs `recall/...`: each number of `RoomRecall`, how much changes from frame to frame in units
    of the truth's (a still video recalls well), and frames generated per second.

    Attributes:
        every_steps: steps between measurements.
        worlds: how many videos are continued.
        given, frames: real frames they begin with, and frames in all.
        lags: edges of the bins of lag, in frames.
        cut: chance of a cut in these worlds, whatever the network is trained on.
    """

    def __init__(
        self,
        every_steps: int = 40,
        worlds: int = 16,
        given: int = 18,
        frames: int = 36,
        lags: Sequence[float] = (8, 16, 32),
        cut: float = 0.5,
    ) -> None:
        if not 0 < given < frames or worlds < 1:
            raise ValueError(
                f"recall needs worlds={worlds} >= 1 and 0 < given={given} < frames={frames}"
            )
        check_least(1, every_steps=every_steps)
        self.every_steps, self.worlds, self.given, self.frames = every_steps, worlds, given, frames
        self.lags, self.cut, self._last = lags, cut, -1

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        """Measure."""
        step = trainer.global_step
        if step and step % self.every_steps == 0 and step != self._last:
            self._last = step
            all_take_part = trainer.is_global_zero or module.sharded
            values = self._measure(trainer, module) if all_take_part else {}
            for logger in trainer.loggers:
                logger.log_metrics(values, step - 1)  # as the losses of that step

    @torch.no_grad()
    def _measure(self, trainer: L.Trainer, module: Any) -> dict[str, float]:
        data = cast(Any, trainer).datamodule
        if not isinstance(data, WorldData) or not isinstance(data.world, Rooms):
            raise ValueError("recall is measured on data=rooms; give callbacks.recall=null")
        world = replace(data.world, cut=self.cut, stay_blocks=None)
        drawn = world.draw(_WORLDS, range(self.worlds), self.frames)
        batch = move_data_to_device(drawn.batch(), module.device)
        latents, cond = module.encode(batch)
        rollout, student = module.rollout, module.student
        noise = rollout.noise(student, module.seed, range(self.worlds))
        began = time.perf_counter()
        extended = rollout.extend(student, latents[:, : self.given], noise, cond, self.frames)
        seconds = time.perf_counter() - began
        video = module.codec.decode(extended).cpu()
        counted = RoomRecall(world, self.lags, self.frames, data.fps)
        counted.update(video, [known(drawn, i, self.given) for i in range(self.worlds)])
        values = {f"recall/{name}": metric.value for name, metric in counted.pooled().items()}
        for i, (low, high) in enumerate(pairwise(self.lags)):
            edges = f"{low / data.fps:.3g}-{high / data.fps:.3g}s"
            values[f"recall/lag_{edges}"] = values.pop(f"recall/lag {i}")
        changes = [_change(pixels[:, self.given :]) for pixels in (video, batch["video"].cpu())]
        values["recall/change"] = changes[0] / changes[1]
        made_frames = self.worlds * (self.frames - self.given)
        values["recall/frames_per_second"] = made_frames / seconds
        return {name: value for name, value in values.items() if value == value}


def _change(videos: torch.Tensor) -> float:
    """How much a pixel changes from one frame to the next, on average."""
    return float(videos.diff(dim=1).abs().mean())
