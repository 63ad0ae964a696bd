"""Distillation: a student on its own rollouts, a frozen teacher, a critic trained along."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import lightning as L  # noqa: N812  (its usual name)
import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from cf.bounds import check_above, check_least
from cf.distillation.base import Batch, Gradient, TrainingRollout
from cf.distillation.conflict import conflict, held_gradients
from cf.distillation.fresh import Fresh
from cf.distillation.gradients import ThroughPast
from cf.distillation.plan import plan_of
from cf.distillation.rollout_length import Length
from cf.distillation.scoring import WeightedLosses, scored
from cf.distillation.windows import ScoredRollout, WindowNeeds, Windows
from cf.models.base import Backbone
from cf.models.codec import Codec
from cf.models.picture import ImageEncoder
from cf.models.sharding import whole
from cf.models.text import TextEncoder
from cf.modules.base import VideoModule
from cf.modules.divergence_guard import Guard
from cf.modules.per_process import gather_states, mine
from cf.modules.roles import WHOLE, RoleAdapters
from cf.modules.running_means import Notes
from cf.modules.turns import Turn, check_trainer, listed
from cf.objectives.base import Networks, Objective
from cf.objectives.forcing import PretrainLoss
from cf.objectives.plan import Part, Plan
from cf.objectives.score import ScoreNetwork, SharedMemory
from cf.objectives.teacher import check_teacher, guided_teacher
from cf.rollout.blockwise import Rollout
from cf.types import Diverged, Loss

Optim = Callable[[torch.nn.Module], Optimizer]


class DistillModule(VideoModule):
    """Trains a few-step student as Context Forcing does (https://arxiv.org/abs/2602.06028).

    A student step is one update of the student; while an objective wants a critic, `critic_steps`
    updates of it come before each, every update on a rollout of its own. The trainer's steps, and
    so checkpoints, logs, curricula and the end of the run, are student steps. All randomness is
    keyed by the number of a sample, so that ranks, batches and resumed runs agree.

    Attributes:
        teacher: frozen; in no checkpoint and no export.
        critic: makes the critic's network, which is built only if an objective wants it.
        objective: one that counts from the first step to the last, or a plan of several.
        score: how teacher and critic see the past; guidance is the teacher's alone.
        guide: a weaker network that guidance leads the teacher away from; None: text does.
        length: student step -> frames of a rollout, those given included.
        window_frames: last frames of a rollout that are scored; None: all that were made.
        prefix_blocks: least and most blocks of real video that a rollout starts from.
        real_share: of a batch's samples, how many are scored as they are, where an objective
            takes real video.
        training_rollout: makes what of a video the student makes in a step.
        gradient: how gradient flows to the student.
        conflict_every_steps: student steps between two measurements of the conflict within its
            gradient, each of which costs one more forward and backward pass; 0: none.
        accumulate: batches per update.
        clip: bound of a gradient's norm.
        adapters: of the roles; a critic with one shares the network that `critic` gives.

    Further settings are those of `VideoModule`.
    """

    _turns: Tensor

    def __init__(
        self,
        student: Backbone,
        teacher: Backbone,
        critic: Callable[[], Backbone],
        score: Callable[[Backbone], ScoreNetwork],
        objective: Objective | Plan | PretrainLoss,
        optimizer: Optim,
        critic_optimizer: Optim,
        codec: Codec,
        text: TextEncoder,
        rollout: Rollout,
        length: Length,
        guard: Guard,
        window_frames: int | None = None,
        prefix_blocks: Sequence[int] = (1, 6),
        real_share: float = 0.5,
        training_rollout: Callable[..., TrainingRollout] = Fresh,
        gradient: Gradient | None = None,
        conflict_every_steps: int = 25,
        critic_steps: int = 5,
        accumulate: int = 1,
        clip: float = 1.0,
        negative_prompt: str = "",
        ema_decay: float = 0.99,
        warmup_steps: int = 40,
        cooldown: float = 0.3,
        seed: int = 0,
        image_encoder: ImageEncoder | None = None,
        adapters: RoleAdapters | None = None,
        guide: ScoreNetwork | None = None,
    ) -> None:
        objective = plan_of(objective, rollout, real_share)
        check_teacher(student, teacher)
        check_least(1, critic_steps=critic_steps, accumulate=accumulate)
        check_least(0, conflict_every_steps=conflict_every_steps)
        check_above(0, clip=clip)
        gradient = ThroughPast() if gradient is None else gradient
        outside, pace = (codec, text, rollout, guard), (ema_decay, warmup_steps, cooldown, seed)
        roles = WHOLE if adapters is None else adapters
        student, teacher = roles.on(student, "student"), roles.on(teacher, "teacher")
        student = gradient.prepared(student)
        real = guided_teacher(score, teacher, guide, text.dim is not None)
        eyes = () if image_encoder is None else (image_encoder,)
        super().__init__(student, *outside, *pace, frozen=(*real.networks, *eyes))
        self.automatic_optimization = False
        self.objective = objective
        self.critic = None
        if objective.needs_critic:
            self.critic = objective.critic_network(roles.on(critic(), "critic"))
        rollouts = training_rollout(
            rollout=rollout,
            length=length,
            window_frames=window_frames,
            prefix_blocks=prefix_blocks,
            seed=seed,
        )
        self.windows = Windows(rollouts, gradient, codec, real_share)
        sizes: Any = {"memory": rollout.memory, "block_frames": rollout.block_frames}
        view = SharedMemory(student, **sizes, differentiable_past=gradient.through_past)
        fake = None if self.critic is None else real.unguided(self.critic)
        self.networks = Networks(view, real, fake, codec.decode)
        self._make_optimizers = (optimizer, critic_optimizer)
        self.critic_steps, self.accumulate, self.clip = critic_steps, accumulate, clip
        self.negative_prompt, self.conflict_every_steps = negative_prompt, conflict_every_steps
        self.register_buffer("_turns", torch.zeros((), dtype=torch.long))
        self._notes = Notes()

    def shown(self) -> list[tuple[Backbone, Rollout]]:
        """What samples are made with: the student, and a teacher that can stream."""
        real, pairs = self.networks.real, super().shown()
        if isinstance(real, SharedMemory):
            pairs.append((real.network, real.sampled(self.rollout.schedule)))
        return pairs

    @override
    def check(self, trainer: L.Trainer) -> None:
        super().check(trainer)
        self.objective.check(trainer.max_steps)
        check_trainer(trainer)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One batch for the critic or for the student, and perhaps an update."""
        step, turn = self.global_step, self._turn()
        parts = self.parts_at(step, turn.critic)
        needs = WindowNeeds.by([part.objective for part in parts], turn.critic)
        inputs = self._taken(batch, needs.real, guided=not turn.critic)
        output = self.windows.make(self.trained, inputs, step, *needs)
        ends = (self.codec.video_frames(n) for n in (output.length, output.stretch.seen))
        self.seen_frames += len(batch["prompt"]) * (next(ends) - next(ends))
        for name, frames in (("length", output.length), ("given", output.stretch.past.shape[1])):
            self._notes.add(f"train/{name}", output.remembered.new_tensor(frames))
        self._notes.add("memory/frames", output.remembered)
        loss = scored(parts, output.windows, self.networks, turn.critic, self.seed)
        self._note(loss, turn.critic)
        compares = turn.first and not turn.critic and self._compares(step)
        with self.syncing(turn.steps or compares):
            self.manual_backward(loss.value / self.accumulate)
        if compares:
            self._compare_gradients(parts, output)
        try:
            if turn.steps and turn.critic:
                self._step_critic()
            elif turn.steps:
                self._step_student()
        except Diverged:
            self._turns -= self._turns % self.accumulate  # gathered gradients are in no checkpoint
            self._report(self.global_step)
            raise
        if turn.critic or not turn.steps:
            self._turns += 1  # after the step, which may be refused
        self.windows.training_rollout.finish(output.stretch, output.rolled)

    def configure_optimizers(self) -> Any:
        """The student's optimiser and the critic's, each with its schedule."""
        optimizers = [self._make_optimizers[0](self.network)]
        if self.critic is not None:
            optimizers.append(self._make_optimizers[1](self.critic))
        falls = (self.cooldown, 0.0)
        return optimizers, [self.scheduled(*pair) for pair in zip(optimizers, falls, strict=False)]

    @torch.no_grad()
    def _taken(self, batch: dict[str, Any], real: bool, guided: bool) -> Batch:
        """A batch as networks take it, without what this turn does not ask for."""
        uses_video = self.windows.training_rollout.needs_video or real
        shown = uses_video and bool({"video", "latents"} & batch.keys())
        latents = self.latents(batch) if shown else None
        count = len(batch["prompt"])
        cond, uncond = self.conditioning(batch, batch["prompt"]), None
        if guided and self.networks.real.needs_uncond:
            uncond = replace(cond, text=self.text.encode([self.negative_prompt] * count))
        first = (self.batches * self.data_ranks + self.data_rank) * count
        return Batch(latents, cond, uncond, self.batches, tuple(range(first, first + count)))

    def _turn(self) -> Turn:
        """The critic's updates come first, then the student's."""
        turns = int(self._turns)
        wants = any(part.wants_critic(self.global_step) for part in self.objective.parts)
        lead = self.critic_steps * self.accumulate if wants else 0
        ends = (turns + 1) % self.accumulate == 0
        return Turn(turns < lead, turns % self.accumulate == 0, ends)

    def parts_at(self, step: int, critic: bool) -> list[Part]:
        """The objectives that count in a turn at a student step."""
        if not critic:
            return self.objective.at(step)
        return [part for part in self.objective.parts if part.wants_critic(step)]

    def _note(self, loss: WeightedLosses, critic: bool) -> None:
        for name, value in loss.logs():
            self._notes.add(name, value)
        for _, window_loss in loss.losses:
            self._watch_critic(window_loss)
        self._notes.add("train/critic_loss" if critic else "train/student_loss", loss.value)

    def _compares(self, step: int) -> bool:
        return self.conflict_every_steps > 0 and step % self.conflict_every_steps == 0

    def _compare_gradients(self, parts: list[Part], output: ScoredRollout) -> None:
        """Note the conflict within the gradient that has just been made of a batch."""
        gradient = held_gradients(self.trained, self.accumulate)
        networks = self.networks, self.trained
        cosine = conflict(gradient, self.windows, output, parts, *networks, self.seed, self._mean)
        if torch.isfinite(cosine):  # a first block has no past
            self._notes.add("train/conflict", cosine)

    def _mean(self, value: Tensor) -> Tensor:
        mean: Tensor = self.trainer.strategy.reduce(value, reduce_op="mean")
        return mean

    def _watch_critic(self, loss: Loss) -> None:
        """All ranks judge by the same numbers, so that all of them stop or none does."""
        if "fake_error" in loss.logs:
            errors = torch.stack([loss.logs["fake_error"], loss.logs["real_error"]])
            fake, real = self._mean(errors)
            self.guard.check_critic(fake, real, self.global_step)

    def _step_critic(self) -> None:
        assert self.critic is not None
        # Lightning counts the steps of optimisers that it wraps; the critic's are not to count.
        _, optimizer = listed(self.optimizers(use_pl_optimizer=False))
        self._clip(self.critic, "critic")
        optimizer.step()
        optimizer.zero_grad()
        listed(self.lr_schedulers())[1].step()

    def _step_student(self) -> None:
        optimizer = listed(self.optimizers())[0]
        self._clip(self.trained, "student")
        self._notes.add("train/lr", torch.tensor(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        optimizer.zero_grad()
        listed(self.lr_schedulers())[0].step()
        self.average_weights()
        self._turns.zero_()
        trainer: Any = self.trainer
        if self.global_step % trainer.log_every_n_steps == 0:
            self._report(self.global_step - 1)

    def _clip(self, network: Backbone, who: str) -> None:
        norm = whole(torch.nn.utils.clip_grad_norm_(network.parameters(), self.clip))
        self._notes.add(f"train/{who}_gradient_norm", norm)
        self.guard.check_gradient(norm, who, self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is to be reported later goes along, and rollouts that are to go on."""
        checkpoint["notes"] = self._notes.values
        states = self.windows.training_rollout.state_dict()
        checkpoint["rollout"] = gather_states(states, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Runs of old have none."""
        self._notes.values = checkpoint.get("notes", {})
        states = mine(checkpoint.get("rollout", []), self.trainer)
        self.windows.training_rollout.load_state_dict(states)

    def _report(self, step: int) -> None:
        """Log means under the student's step; Lightning's own would count the critic's batches."""
        values = self._notes.means(self._mean)
        shown = {name: value for name, value in values.items() if name.endswith("_loss")}
        self.log_dict(shown, prog_bar=True, logger=False)
        for logger in self.loggers:
            logger.log_metrics(values, step)
