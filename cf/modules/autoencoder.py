"""Training of a small video codec: pixels to latents and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from cf.bounds import check_least
from cf.models.autoencoder import VideoAutoencoder
from cf.models.codec import Pixels
from cf.modules.divergence_guard import Guard
from cf.modules.single import SingleModule
from cf.seeding import seeded

_CLIPS = 64  # whose patches the linear map begins from
_SCALES = 3  # halvings of the picture at which its detail is compared


class AutoencoderModule(SingleModule):
    """One codec, told by its own pixels.

    It begins from the principal components of patches. The loss is the mean absolute error of
    pixels, and `detail` times that of the differences between the picture and its blurred copies
    at three scales, by which edges and textures count as much as surfaces. Noise of `noise`
    standard deviations is added to latents before they are decoded: what a network makes later is
    never exact. `spread` times the square of each channel's mean, and of its standard deviation
    less the first one, over the batch and in units of the first one, keeps latents from growing
    until the noise is nothing to them.

    Attributes:
        network: the codec.
        detail: weight of the error of detail.
        noise: standard deviation of the noise on latents, whose mean square is 1.
        spread: weight of what holds each channel at its first mean and deviation.
        ema_decay: of the average of weights that is exported; 0 keeps no average.

    Further settings are those of `TrainingModule`.
    """

    network: VideoAutoencoder
    deviations: Tensor

    def __init__(
        self,
        network: VideoAutoencoder,
        optimizer: Callable[[torch.nn.Module], Optimizer],
        guard: Guard,
        detail: float = 1.0,
        noise: float = 0.1,
        spread: float = 0.01,
        ema_decay: float = 0.99,
        warmup_steps: int = 40,
        cooldown: float = 0.3,
        seed: int = 0,
    ) -> None:
        check_least(0, detail=detail, noise=noise, spread=spread)
        network = network.requires_grad_(True).train()
        super().__init__(network, guard, ema_decay, warmup_steps, cooldown, seed)
        self.register_buffer("deviations", torch.ones(network.channels))
        self.detail, self.noise, self.spread = detail, noise, spread
        self._make_optimizer = optimizer

    @property
    def student(self) -> VideoAutoencoder:
        """The codec to use and to export: the average, if one is kept."""
        student = super().student
        assert isinstance(student, VideoAutoencoder)
        return student

    def on_train_start(self) -> None:
        """A new run begins from the principal components of its first clips."""
        super().on_train_start()
        if self.global_step:
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        clips = islice(data.train_dataloader(), -(-_CLIPS // data.batch_size))
        video = torch.cat([batch["video"] for batch in clips]).to(self.device)
        video = self.trainer.strategy.broadcast(video)
        self.deviations = self.network.begin(video)
        if self.average is not None:
            self.student.load_state_dict(self.network.state_dict())

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The error of one batch."""
        video: Pixels = batch["video"]
        generator = seeded(self.seed, 0, self.data_rank, self.batches)
        latents = self.network.latents(video, [])
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        again = self.network.pixels(latents + self.noise * noise, [])
        pixels, detail = (again - video).abs().mean(), _detail(again - video)
        mean, deviation = latents.mean((0, 1, 3, 4)), latents.std((0, 1, 3, 4))
        least = self.deviations.clamp(min=0.01)  # what never varies is not held to a hair
        off = ((mean.square() + (deviation - self.deviations).square()) / least.square()).mean()
        loss = pixels + self.detail * detail + self.spread * off
        self.seen_frames += video.shape[0] * video.shape[1]
        self.log("train/loss", loss, prog_bar=True)
        self.log_dict({"train/pixels": pixels, "train/detail": detail, "train/off": off})
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Peak signal-to-noise ratio of fixed clips, in dB; latents as they are."""
        video: Pixels = batch["video"]
        again = self.student.decode(self.student.encode(video))
        error = (again - video).square().mean((1, 2, 3, 4)).clamp(min=1e-10)
        psnr = (-10 * error.log10()).mean()
        loss = (again - video).abs().mean()
        values = {"val/psnr": psnr, "val/loss": loss}
        self.log_dict(values, prog_bar=True, sync_dist=True, batch_size=len(video))


def _detail(error: Float[Tensor, "b t 3 h w"]) -> Tensor:
    """Mean absolute error of detail, over scales: what is left when blurred copies are taken off.

    Blur and differences are linear, so that they are taken of the error itself.
    """
    x = error.flatten(0, 1)
    scales = min(_SCALES, int(math.log2(min(x.shape[-2:]))))
    total = x.new_zeros(())
    for _ in range(scales):
        less = F.avg_pool2d(x, 2)
        wide = F.interpolate(less, scale_factor=2.0, mode="bilinear", align_corners=False)
        total = total + (x[..., : wide.shape[-2], : wide.shape[-1]] - wide).abs().mean()
        x = less
    return total
