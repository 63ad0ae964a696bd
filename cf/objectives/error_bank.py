"""Error recycling: a network is trained on inputs that carry its own past errors (SVI, ERFT)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor

from cf.bounds import check_least
from cf.models.base import Backbone
from cf.schedule import FlowSchedule
from cf.types import Latents, Loss, Times, wide

Errors = Float[Tensor, "2 f c h w"]
"""What one guess of a clip was off by: in its clean frames, and in its noise."""


class ErrorBank:
    """Errors of one-step guesses, by the time at which they were made; travels in the checkpoint.

    Where a time's place is full, a new error takes that of the one most like it (least squared
    distance). Held on the CPU in half precision.

    Attributes:
        grids: intervals of time, of equal length.
        entries: most errors in each.
        most_bytes: of all errors together; fewer entries are kept where they would take more.
        steps: how often it has been added to.
    """

    def __init__(self, grids: int = 50, entries: int = 500, most_bytes: int = 2**28) -> None:
        check_least(1, grids=grids, entries=entries, most_bytes=most_bytes)
        self.grids, self.entries, self.most_bytes = grids, entries, most_bytes
        self.errors: list[list[Tensor]] = [[] for _ in range(grids)]
        self.steps = 0

    def grid(self, t: float) -> int:
        """The interval of a time in [0, 1]."""
        return min(int(t * self.grids), self.grids - 1)

    def room(self, error: Errors) -> int:
        """Errors of this size that an interval may hold.

        Raises:
            ValueError: if not one.
        """
        size = 2 * error.numel()
        room = min(self.entries, self.most_bytes // (self.grids * size))
        if room < 1:
            raise ValueError(
                f"an error bank of most_bytes={self.most_bytes} does not hold an error of {size} "
                f"bytes for each of {self.grids} grids; raise most_bytes or lower grids"
            )
        return room

    def add(self, error: Errors, t: float) -> None:
        """Keep one error that was made at time `t`."""
        cell, entry = self.errors[self.grid(t)], error.detach().to("cpu", torch.float16)
        if len(cell) < self.room(error):
            cell.append(entry)
            return
        far = torch.stack([(old.float() - entry.float()).square().sum() for old in cell])
        cell[int(far.argmin())] = entry

    def draw(self, t: float | None, generator: torch.Generator) -> Errors | None:
        """An error made at about `t`, or at any time; None if there is none."""
        candidates = list(chain(*self.errors)) if t is None else self.errors[self.grid(t)]
        if not candidates:
            return None
        return candidates[int(torch.randint(len(candidates), (), generator=generator))].float()

    def state_dict(self) -> dict[str, Any]:
        """All that it holds."""
        tensors = {str(i): torch.stack(cell) for i, cell in enumerate(self.errors) if cell}
        return {"errors": tensors, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what another held."""
        errors = state.get("errors", {})
        self.errors = [list(errors.get(str(i), ())) for i in range(self.grids)]
        self.steps = int(state.get("steps", 0))


Predict = Callable[[Backbone, Latents, Latents, Times], Latents]
"""(network, clean frames of past and target, noisy target, times) -> velocity of the target."""


@dataclass(frozen=True)
class ErrorRecycling:
    """Error-recycling fine-tuning of a target after a clean past.

    Stable Video Infinity (https://arxiv.org/abs/2510.09212), with the numbers of Context Forcing's
    released teacher (https://arxiv.org/abs/2602.06028). Errors of noise and frames are drawn at the
    target's own time and added to them before they are mixed; an error of any time is added to the
    frames just before the target. The velocity that is wanted leads from the mixture to the clean
    target. Each process of several adds what all of them made, so that their banks stay equal.

    Attributes:
        noise, latent, context: probability of each kind of error in a sample that gets errors.
        clean: probability that a sample gets none.
        learn_clean: probability that the errors of such a sample are kept; others' always are.
        warmup: first batches, of which no sample gets errors and all are kept.
        least_time: below it, the wanted velocity is told as if at it.
    """

    schedule: FlowSchedule = field(default_factory=FlowSchedule)
    bank: ErrorBank = field(default_factory=ErrorBank)
    noise: float = 0.01
    latent: float = 0.9
    context: float = 0.9
    clean: float = 0.5
    learn_clean: float = 0.1
    warmup: int = 50
    least_time: float = 0.05

    def __post_init__(self) -> None:
        for name in ("noise", "latent", "context", "clean", "learn_clean"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"recycling.{name}={getattr(self, name)} must lie in [0, 1]")
        if not 0 < self.least_time < 1 or self.warmup < 0:
            raise ValueError(
                f"recycling.least_time={self.least_time} must lie in (0, 1) and "
                f"warmup={self.warmup} not be negative"
            )

    def loss(
        self,
        predict: Predict,
        network: Backbone,
        clean: Latents,
        recent: int,
        eps: Latents,
        t: Times,
        generator: torch.Generator,
    ) -> Loss:
        """The squared error of velocity on inputs with errors, and the bank is added to.

        Args:
            predict: how the network tells the target's velocity.
            network: in training.
            clean: past and target.
            recent: frames just before the target that get errors of context.
            eps: noise of the target.
            t: a time for each sample, the same for all its frames.
            generator: of all draws, on the CPU.
        """
        start = clean.shape[1] - eps.shape[1]
        x0 = clean[:, start:]
        read, noise, frames, to_keep = clean.clone(), eps.clone(), x0.clone(), []
        for i in range(len(clean)):
            warm = self.bank.steps < self.warmup
            spoilt = not warm and not self._chance(self.clean, generator)
            to_keep.append(warm or spoilt or self._chance(self.learn_clean, generator))
            if spoilt:
                self._spoil(read[i], noise[i], frames[i], start, recent, float(t[i, 0]), generator)
        x_t = self.schedule.add_noise(frames, noise, t)
        velocity = predict(network, torch.cat((read[:, :start], x0), 1), x_t, t)
        at = t[..., None, None, None]
        wanted = (x_t - (1 - at) * x0) / at.clamp(min=self.least_time)  # noise that x0 would need
        value = F.mse_loss(wide(velocity), wide(network.target(x0, wanted, t)))
        x0_told = self.schedule.to_x0(velocity.detach(), x_t, t)
        eps_told = self.schedule.to_eps(velocity.detach(), x_t, t)
        self._learn(torch.stack((x0_told - x0, eps_told - eps), 1), t[:, 0], to_keep)
        spread = (x0_told - x0).square().mean().sqrt()
        return Loss(value, {"guess_error": spread, "bank_errors": value.new_tensor(self._held())})

    def _spoil(
        self,
        read: Tensor,
        noise: Tensor,
        frames: Tensor,
        start: int,
        recent: int,
        t: float,
        generator: torch.Generator,
    ) -> None:
        """Add errors to one sample's past, noise and frames, in place."""
        for into, which, chance in ((noise, 1, self.noise), (frames, 0, self.latent)):
            drawn = self._chance(chance, generator)
            if drawn and (error := self.bank.draw(t, generator)) is not None:
                into += error[which].to(into)
        drawn = self._chance(self.context, generator) and recent > 0
        if drawn and (error := self.bank.draw(None, generator)) is not None:
            length = min(recent, error.shape[1])
            spare = error.shape[1] - length + 1
            begin = int(torch.randint(spare, (), generator=generator))
            read[start - length : start] += error[0, begin : begin + length].to(read)

    def _learn(self, errors: Float[Tensor, "b 2 f c h w"], t: Tensor, to_keep: list[bool]) -> None:
        """Keep the errors of all processes, in the order of their ranks."""
        which, times = torch.tensor(to_keep, device=t.device), t.clone()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            errors, times, which = (_gathered(x) for x in (errors, times, which))
        for error, at, keep in zip(errors, times.tolist(), which.tolist(), strict=True):
            if keep:
                self.bank.add(error, at)
        self.bank.steps += 1

    def _held(self) -> float:
        return float(sum(map(len, self.bank.errors)))

    @staticmethod
    def _chance(probability: float, generator: torch.Generator) -> bool:
        return float(torch.rand((), generator=generator)) < probability


def _gathered(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)
