"""The training of a student before its own rollouts, from a teacher."""

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from cf.data.stream import EndlessData
from cf.distillation.start import RealClips, Roles, Start
from cf.models.base import Backbone
from cf.models.codec import Codec
from cf.models.picture import ImageEncoder
from cf.models.sharding import whole
from cf.models.text import TextEncoder
from cf.modules.base import VideoModule
from cf.modules.divergence_guard import Guard
from cf.modules.single import SingleModule
from cf.objectives.score import ScoreNetwork, SharedMemory
from cf.objectives.teacher import check_teacher, guided_teacher
from cf.rollout.blockwise import Rollout
from cf.seeding import SampleRandom


class StartModule(SingleModule, VideoModule):
    """One student, a frozen teacher, and a way to start (`cf.distillation.start.Start`).

    Random numbers are keyed by the number of a sample, so that ranks, batches and resumed runs
    agree.

    Attributes:
        by: makes the way to start, given the rollout; None: a student is a plain copy.
        score: how the teacher sees the past, and its guidance.
        guide: a weaker network that guidance leads the teacher away from; None: text does.
        roles: student, its average and teacher, as they see the past.

    Further settings are those of `VideoModule`.
    """

    def __init__(
        self,
        student: Backbone,
        teacher: Backbone,
        by: Callable[..., Start] | None,
        score: Callable[[Backbone], ScoreNetwork],
        optimizer: Callable[[torch.nn.Module], Optimizer],
        codec: Codec,
        text: TextEncoder,
        rollout: Rollout,
        guard: Guard,
        negative_prompt: str = "",
        ema_decay: float = 0.99,
        warmup_steps: int = 40,
        cooldown: float = 0.3,
        seed: int = 0,
        image_encoder: ImageEncoder | None = None,
        guide: ScoreNetwork | None = None,
    ) -> None:
        if by is None:
            raise ValueError(
                "start=plain trains nothing: a student begins as it is. Give start=consistency or "
                "start=ode, or go on to module=distill"
            )
        outside, pace = (codec, text, rollout, guard), (ema_decay, warmup_steps, cooldown, seed)
        check_teacher(student, teacher)
        real = guided_teacher(score, teacher, guide, text.dim is not None)
        eyes = () if image_encoder is None else (image_encoder,)
        super().__init__(student, *outside, *pace, frozen=(*real.networks, *eyes))
        self.by, self.negative_prompt = by(rollout=rollout), negative_prompt
        self.by.check_view(real)
        # Before a checkpoint is read: a run that goes on began with these weights too.
        self._begun = _digest(student) if self.by.keeps_rollouts else ""
        self._make_optimizer = optimizer
        sizes: Any = {"memory": rollout.memory, "block_frames": rollout.block_frames}
        trained, average = (SharedMemory(net, **sizes) for net in (self.trained, self.student))
        self.roles = Roles(trained, average, real)

    def on_fit_start(self) -> None:
        """What is kept of the teacher belongs to it and to these data."""
        super().on_fit_start()
        trainer: Any = self.trainer
        data = trainer.datamodule
        identity = data.identity() if isinstance(data, EndlessData) else type(data).__name__
        teacher = self.roles.teacher
        settings = (identity, self.seed, teacher.guidance, self.negative_prompt)
        parts = [settings, _view(teacher), _digest(teacher.network)]
        if teacher.guide is not None:
            parts += [_view(teacher.guide), _digest(teacher.guide.network)]
        if self._begun:
            parts.append(self._begun)
        self.by.prepare(hashlib.sha256(repr(tuple(parts)).encode()).hexdigest())

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The start's loss on one batch."""
        loss = self.by.loss(self._clips(batch), self.roles)
        self.seen_frames += self.video_frames(batch)
        self.log("train/loss", loss.value, prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in loss.logs.items()})
        return loss.value

    @torch.no_grad()
    def _clips(self, batch: dict[str, Any]) -> RealClips:
        if not {"video", "latents"} & batch.keys():
            raise ValueError(
                f"the data hold prompts alone, and start={type(self.by).__name__.lower()} trains "
                "on video; give data.folder"
            )
        latents, cond = self.encode(batch)
        uncond, count = None, len(batch["prompt"])
        if self.roles.teacher.needs_uncond:
            uncond = self.conditioning(batch, [self.negative_prompt] * count)
        first = (self.batches * self.data_ranks + self.data_rank) * count
        samples = tuple(range(first, first + count))
        random = SampleRandom((self.seed, 1), samples)
        return RealClips(latents, cond, uncond, samples, random, self.batches)


def _view(score: ScoreNetwork) -> dict[str, str]:
    """How a score network sees the past, its network and its guide aside."""
    left_out = ["network", "guide"]
    if score.guidance_times == (0.0, 1.0):  # as trajectories of old were made, which did not say so
        left_out.append("guidance_times")
    return {name: repr(value) for name, value in vars(score).items() if name not in left_out}


def _digest(network: torch.nn.Module) -> str:
    """Of all weights, on whichever device."""
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        numbers = whole(weight.detach()).cpu().contiguous().flatten()
        digest.update(numbers.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
