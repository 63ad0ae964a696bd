"""The losses of a step: every objective that counts, on every window that it scores."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cf.objectives.base import Networks, Objective, Window
from cf.objectives.plan import Part
from cf.seeding import SampleRandom
from cf.types import Loss


class WeightedLosses(NamedTuple):
    """The weighted sum of all losses, and each of them with the window that it scores."""

    value: Tensor
    losses: list[tuple[Window, Loss]]

    def logs(self) -> Iterator[tuple[str, Tensor]]:
        """What the losses log, by the name under which a run shows it."""
        for window, loss in self.losses:
            for name, value in loss.logs.items():
                yield f"train/{name}{'_real' * window.real}", value


def scored(
    parts: Sequence[Part], windows: Sequence[Window], networks: Networks, critic: bool, seed: int
) -> WeightedLosses:
    """The losses of the critic or the student, averaged over the samples that each scores.

    Random numbers are keyed by seed, part and sample: the same windows are scored at the same
    times and with the same noise, whoever asks.
    """
    total, losses = windows[0].frames.new_zeros(()), []
    for number, part in enumerate(parts):
        objective = part.objective
        takes_real = objective.critic_takes_real if critic else objective.takes_real
        scorable = [window for window in windows if takes_real or not window.real]
        count = sum(len(window.samples) for window in scorable)
        for window in scorable:
            random = SampleRandom((seed, 1 + number), window.samples)
            if critic:
                loss = objective.critic_loss(window, networks.fake, random)
            else:
                loss = objective.student_loss(window, networks, random)
            _check(loss, objective, critic)
            total = total + part.weight * len(window.samples) / count * loss.value
            losses.append((window, loss))
    return WeightedLosses(total, losses)


def _check(loss: Loss, objective: Objective, critic: bool) -> None:
    who = f"{type(objective).__name__}.{'critic' if critic else 'student'}_loss"
    if not isinstance(loss, Loss):
        raise ValueError(
            f"{who} must return a Loss(value, logs), got {_told(loss)}; wrap it: Loss(value)"
        )
    if not isinstance(loss.value, Tensor) or loss.value.ndim:
        raise ValueError(
            f"the value of {who} must be a tensor without axes, got {_told(loss.value)}; take its "
            f"mean"
        )
    for name, value in loss.logs.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(
                f"{who} must log tensors of one number, got {_told(value)} as {name!r}; log "
                f"value.mean().detach()"
            )
    # Every objective's value leads to what is trained; without a gradient nothing would learn.
    if torch.is_grad_enabled() and not loss.value.requires_grad:
        raise ValueError(
            f"the value of {who} has no gradient; compute it from what "
            f"{'the critic' if critic else 'networks.student'} predicts, outside torch.no_grad()"
        )


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return type(value).__name__
