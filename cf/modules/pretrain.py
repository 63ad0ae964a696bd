"""Training of one network on real video, by flow matching."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from cf.models.base import Backbone
from cf.models.codec import Codec
from cf.models.picture import ImageEncoder
from cf.models.text import TextEncoder
from cf.modules.base import VideoModule
from cf.modules.divergence_guard import Guard
from cf.modules.roles import WHOLE, RoleAdapters
from cf.modules.single import SingleModule
from cf.objectives.base import Objective
from cf.objectives.forcing import PretrainLoss
from cf.objectives.plan import Plan
from cf.rollout.blockwise import Rollout
from cf.seeding import seeded

Batch = dict[str, Any]


class PretrainModule(SingleModule, VideoModule):
    """One network, one objective, one optimiser.

    All randomness is keyed by (seed, rank, batch), so that a resumed run draws what the
    uninterrupted one would have drawn. Further settings are those of `VideoModule`.
    """

    def __init__(
        self,
        network: Backbone,
        objective: PretrainLoss | Objective | Plan,
        optimizer: Callable[[torch.nn.Module], Optimizer],
        codec: Codec,
        text: TextEncoder,
        rollout: Rollout,
        guard: Guard,
        ema_decay: float = 0.99,
        warmup_steps: int = 40,
        cooldown: float = 0.3,
        seed: int = 0,
        image_encoder: ImageEncoder | None = None,
        adapters: RoleAdapters | None = None,
    ) -> None:
        if not isinstance(objective, PretrainLoss):
            raise ValueError(
                f"a network cannot be pre-trained by {type(objective).__name__}; give "
                f"objective=teacher_forcing or diffusion_forcing, or module=distill"
            )
        roles = WHOLE if adapters is None else adapters
        roles.check_alone()
        network = roles.on(network, "student")
        outside = (codec, text, rollout, guard)
        eyes = () if image_encoder is None else (image_encoder,)
        super().__init__(network, *outside, ema_decay, warmup_steps, cooldown, seed, eyes)
        self.objective = objective
        self._make_optimizer = optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective on one batch."""
        generator = seeded(self.seed, 0, self.data_rank, self.batches)
        loss = self.objective(self.trained, *self.encode(batch), generator)
        self.seen_frames += self.video_frames(batch)
        self.log("train/loss", loss.value, prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in loss.logs.items()})
        return loss.value

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The objective on fixed clips with fixed noise."""
        generator = seeded(self.seed, 1, self.data_rank, batch_idx)
        loss = self.objective.measured(self.student, *self.encode(batch), generator)
        size = len(batch["prompt"])
        self.log("val/loss", loss.value, prog_bar=True, sync_dist=True, batch_size=size)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What the objective has gathered goes along."""
        if state := self.objective.state_dict():
            checkpoint["objective"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what the objective had gathered."""
        self.objective.load_state_dict(checkpoint.get("objective", {}))
