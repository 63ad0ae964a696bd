"""What every training of a video network has: the frozen parts around it, and its data."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import lightning as L  # noqa: N812  (its usual name)
import torch
from lightning.pytorch.strategies import ParallelStrategy

from cf.models.adapters import freeze, shared_networks, store_as_read
from cf.models.base import Backbone
from cf.models.codec import Codec
from cf.models.picture import ImageEncoder, picture_seen, takes_picture
from cf.models.sharding import is_sharded
from cf.models.text import FrozenEncoder, TextEncoder
from cf.models.transformer import VideoTransformer
from cf.modules.divergence_guard import Guard
from cf.modules.ema import WeightAverage
from cf.modules.fully_shard import FullyShard
from cf.modules.training import TrainingModule
from cf.rollout.blockwise import Rollout
from cf.types import Conditioning, Latents, Video

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What autocast reads weights in, by the trainer's precision."""


class VideoModule(TrainingModule):
    """A video network in training.

    Attributes:
        codec, text: frozen, outside the checkpoint.
        rollout: how samples are generated, while training and by default afterwards.
        ema_decay: of the average of weights that is sampled and exported; 0 keeps no average.
        frozen: further modules that go along to the device and into no checkpoint.

    Further settings are those of `TrainingModule`.
    """

    def __init__(
        self,
        network: Backbone,
        codec: Codec,
        text: TextEncoder,
        rollout: Rollout,
        guard: Guard,
        ema_decay: float,
        warmup_steps: int,
        cooldown: float,
        seed: int,
        frozen: Sequence[torch.nn.Module] = (),
    ) -> None:
        super().__init__(network, guard, ema_decay, warmup_steps, cooldown, seed)
        self.rollout = rollout
        self._parts_outside = (codec, text, *frozen)
        if isinstance(text, FrozenEncoder):
            text.cut = True  # no caption stops a training that has run for days; each is told

    @property
    def codec(self) -> Codec:
        """Between pixels and latents."""
        codec = self._parts_outside[0]
        assert isinstance(codec, Codec)
        return codec

    @property
    def text(self) -> TextEncoder:
        """From prompts to states."""
        text = self._parts_outside[1]
        assert isinstance(text, TextEncoder)
        return text

    @property
    def eyes(self) -> ImageEncoder | None:
        """From the picture of an image-to-video model to states; None: it is told of none."""
        return next((x for x in self._parts_outside if isinstance(x, ImageEncoder)), None)

    @property
    def trained(self) -> Backbone:
        """The network that takes the steps."""
        assert isinstance(self.network, Backbone)
        return self.network

    @property
    def student(self) -> Backbone:
        """The network to sample from and to export: the average, if one is kept."""
        student = super().student
        assert isinstance(student, Backbone)
        return student

    @property
    def outside(self) -> list[torch.nn.Module]:
        """What is frozen and in no checkpoint, with the networks that roles share, each once."""
        parts = [*self._parts_outside, *shared_networks([self, *self._parts_outside])]
        return list({id(part): part for part in parts}.values())

    @property
    def sharded(self) -> bool:
        """Whether every process has to take part in whatever the networks do."""
        return is_sharded(self)

    def shown(self) -> list[tuple[Backbone, Rollout]]:
        """What samples are made with, each network in its own way."""
        return [(self.student, self.rollout)]

    def check(self, trainer: L.Trainer) -> None:
        """Refuse what cannot work, before anything is written.

        Raises:
            ValueError: a setting of the trainer that does not fit this module, a network that
                clamps what the codec makes, or one without the image encoder that it takes.
        """
        super().check(trainer)
        limit, bound = getattr(self.trained, "x0_limit", None), self.codec.bound
        if limit is not None and limit < bound:
            raise ValueError(
                f"model.x0_limit={limit} clamps what the network predicts, and latents of "
                f"{type(self.codec).__name__} reach {bound:g}; give model.x0_limit=null"
            )
        _check_eyes(self.eyes, getattr(self.trained, "image_dim", None))
        half = str(trainer.precision).startswith("16")
        if isinstance(trainer.strategy, FullyShard) and half:
            raise ValueError("trainer=fsdp2 runs in 32-true or bf16-mixed; give trainer.precision")

    def configure_model(self) -> None:
        """Shard every network by itself, where the strategy says so; the frozen ones as well."""
        strategy = self.trainer.strategy
        if not isinstance(strategy, FullyShard) or self.sharded:
            return
        split = strategy.split()
        for module in (part for root in (self, *self.outside) for part in root.modules()):
            if isinstance(module, VideoTransformer) and split is not None:
                module.split = split
        strategy.precision_plugin.convert_module(self)
        read = _MIXED.get(str(self.trainer.precision))
        sharding = strategy.sharding(read)
        for network in self.children():
            for inner in [network.network] if isinstance(network, WeightAverage) else [network]:
                if isinstance(inner, Backbone):
                    sharding.shard(inner)
        for network in self.outside:
            if isinstance(network, Backbone):
                freeze(network, read)
                sharding.shard(network)

    def on_fit_start(self) -> None:
        """Move what is not ours to train beside what is; tell of videos without captions."""
        lacking = getattr(getattr(self.trainer, "datamodule", None), "uncaptioned", "")
        if lacking and self.text.dim is not None and self.trainer.is_global_zero:
            warnings.warn(lacking, stacklevel=2)
        for module in self.outside:
            freeze(module.to(self.device))
        read = _MIXED.get(str(self.trainer.precision))
        if read is not None and not self.sharded:
            for network in shared_networks([self]):
                store_as_read(network, read)

    @torch.no_grad()
    def encode(self, batch: dict[str, Any]) -> tuple[Latents, Conditioning]:
        """Latents and conditioning of a batch, whose video may be encoded already."""
        return self.latents(batch), self.conditioning(batch, batch["prompt"])

    def latents(self, batch: dict[str, Any]) -> Latents:
        """Latents of a batch of video, encoded now or before (`cf.data.latents`)."""
        latents = batch["latents"] if "latents" in batch else self.codec.encode(batch["video"])
        return cast(Latents, latents)

    def video_frames(self, batch: dict[str, Any]) -> int:
        """Pixel frames of a batch."""
        if "latents" not in batch:
            return int(batch["video"].shape[0] * batch["video"].shape[1])
        count, frames = batch["latents"].shape[:2]
        return int(count) * self.codec.video_frames(int(frames))

    @torch.no_grad()
    def conditioning(self, batch: dict[str, Any], prompts: list[str]) -> Conditioning:
        """What a batch should show; image-to-video models see how it begins.

        Raises:
            ValueError: such a model is given data that show no picture.
        """
        states = None if self.text.dim is None else self._states(batch, prompts)
        cond = Conditioning(states, batch.get("control"), batch.get("origin"))
        if not takes_picture(self.trained):
            return cond
        # The reference to its end, however short the clips are: rollouts go beyond them.
        picture = picture_seen(self.trained, self.codec, self.eyes, _first_picture(batch))
        return replace(cond, image=picture.image, reference=picture.reference)

    def syncing(self, now: bool) -> AbstractContextManager[None]:
        """Within, a backward pass reduces gradients over processes, or leaves that to a later."""
        strategy = self.trainer.strategy
        if now or not isinstance(strategy, ParallelStrategy):
            return nullcontext()
        return strategy.block_backward_sync()

    def _states(self, batch: dict[str, Any], prompts: list[str]) -> Any:
        """States of prompts; those of the batch's own may have been encoded before."""
        if "text" in batch and prompts == batch["prompt"]:
            return batch["text"].to(self.device)
        return self.text.encode(prompts)


def _first_picture(batch: dict[str, Any]) -> Video:
    """The picture with which each clip begins, whose latents may have been made before.

    Raises:
        ValueError: the data hold none.
    """
    if "video" in batch:
        return cast(Video, batch["video"][:, :1])
    if "picture" in batch:
        return cast(Video, batch["picture"][:, None].float() / 255)
    raise ValueError(
        "an image-to-video network is shown the picture with which each clip begins, and these "
        "data hold none: give data=videos, or data=latents of a folder that was prepared with "
        "pictures=true (cf.prepare)"
    )


def _check_eyes(eyes: ImageEncoder | None, wanted: int | None) -> None:
    """Raise a ValueError unless a network attends the states that an image encoder makes."""
    if eyes is None and wanted is not None:
        raise ValueError(
            f"this network attends a picture (model.image_dim={wanted}): give image_encoder=clip"
        )
    if eyes is not None and eyes.dim != wanted:
        raise ValueError(
            f"image_encoder makes states of {eyes.dim} numbers and the network has "
            f"model.image_dim={wanted}; "
            + ("leave image_encoder out" if wanted is None else "give the encoder that fits it")
        )
