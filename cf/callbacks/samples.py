"""Moving pictures of a run: continuations of fixed clips, beside the truth."""

from pathlib import Path
from typing import Any, cast

import lightning as L  # noqa: N812  (its usual name)
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from cf.bounds import check_least
from cf.models.codec import Codec
from cf.video.captions import with_row_names
from cf.video.sheet import contact_sheet, gif_bytes


class Samples(L.Callback):
    """Continues clips with the averaged weights, always the same clips and noise.

    The clips are of validation, or of training where nothing is held out. Each picture has the
    truth above, the student's continuation below and, where there is a teacher that can stream, its
    own at the bottom; names of the rows stand beside them, and all begin with the same real frames.
    Where data are prompts alone, videos are made from nothing, and there is no truth. Writes
    `samples/step_N.png` and `.gif` and logs them to TensorBoard.

    Attributes:
        every_steps: optimiser steps between pictures.
        count: clips that are continued.
        prefix_frames: real latent frames that a continuation starts from.
        fps: pixel frames per second of the moving picture.
        frames: latent frames of a video where data are prompts alone; whole blocks of them.
    """

    def __init__(
        self,
        every_steps: int = 200,
        count: int = 4,
        prefix_frames: int = 6,
        fps: float = 8.0,
        frames: int = 21,
    ) -> None:
        check_least(1, every_steps=every_steps, count=count, frames=frames)
        check_least(0, prefix_frames=prefix_frames)
        self.every_steps, self.count, self.prefix_frames = every_steps, count, prefix_frames
        self.fps, self.frames = fps, frames
        self._clips: dict[str, Any] | None = None
        self._last = -1

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        """Show how far it has come."""
        step = trainer.global_step
        if step and step % self.every_steps == 0 and step != self._last:
            self._last = step
            self._show(trainer, module, step)

    @torch.no_grad()
    def _show(self, trainer: L.Trainer, module: Any, step: int) -> None:
        if not (trainer.is_global_zero or module.sharded):
            return
        continued = self._continued(trainer, module)
        if not trainer.is_global_zero:
            return
        video = with_row_names(*continued)
        folder = Path(trainer.default_root_dir) / "samples"
        folder.mkdir(exist_ok=True)
        name = folder / f"step_{step:08d}"
        sheet = contact_sheet(video, f"{name}.png", fps=self.fps, count=12, columns=4)
        gif = gif_bytes(video, self.fps)
        Path(f"{name}.gif").write_bytes(gif)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                board = logger.experiment
                board.add_image("samples/sheet", np.asarray(sheet), step, dataformats="HWC")
                board._get_file_writer().add_summary(_moving(gif, video), step)

    def _continued(self, trainer: L.Trainer, module: Any) -> tuple[Tensor, list[str]]:
        """Truth over continuations, the clips side by side; the names of these rows."""
        clips = self._fixed_clips(trainer, module)
        codec: Codec = module.codec
        if not {"video", "latents"} & clips.keys():
            return self._from_nothing(module, clips)
        truth, cond = module.encode(clips)
        rows = []
        for network, rollout in module.shown():
            frames = truth.shape[1] // rollout.block_frames * rollout.block_frames
            prefix = min(self.prefix_frames, frames - rollout.block_frames)
            noise = rollout.noise(network, module.seed, range(len(truth)))
            latents = rollout.extend(network, truth[:, :prefix], noise, cond, frames)
            rows.append(codec.decode(latents))
        videos = torch.cat((codec.decode(truth[:, :frames]), *rows), -2)
        names = ["truth", "student", "teacher"][: 1 + len(rows)]
        return torch.cat(list(enlarged(videos)), -1).cpu(), names

    def _from_nothing(self, module: Any, clips: dict[str, Any]) -> tuple[Tensor, list[str]]:
        """Videos of prompts, side by side, each network's in a row of its own; the rows' names."""
        cond, rows = module.conditioning(clips, clips["prompt"]), []
        for network, rollout in module.shown():
            frames = max(self.frames // rollout.block_frames, 1) * rollout.block_frames
            count = len(clips["prompt"])
            noise = rollout.noise(network, module.seed, range(count))
            nothing = torch.zeros(count, 0, *network.latent_shape, device=module.device)
            rows.append(module.codec.decode(rollout.extend(network, nothing, noise, cond, frames)))
        names = ["student", "teacher"][: len(rows)]
        return torch.cat(list(enlarged(torch.cat(rows, -2))), -1).cpu(), names

    def _fixed_clips(self, trainer: L.Trainer, module: Any) -> dict[str, Any]:
        if self._clips is None:
            data = cast(Any, trainer).datamodule
            drawn = next(iter(data.val_dataloader() or data.train_dataloader()))
            batch = data.on_after_batch_transfer(drawn, 0)
            sliced = {k: v for k, v in batch.items() if isinstance(v, Tensor | list)}
            self._clips = {key: value[: self.count] for key, value in sliced.items()}
        moved: dict[str, Any] = move_data_to_device(self._clips, module.device)
        return moved


def _moving(gif: bytes, video: Tensor) -> Any:
    """An animated picture as TensorBoard shows it; its own video summary writes nothing."""
    height, width = video.shape[-2:]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    return Summary(value=[Summary.Value(tag="samples/moving", image=image)])


def enlarged(video: Tensor) -> Tensor:
    """Pixels repeated until a person can see them."""
    factor = max(96 // video.shape[-1], 1)
    return video.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
