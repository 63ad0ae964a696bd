"""The losses of a step: every objective that counts, on every window that it scores."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from cf.objectives.base import Networks, Window
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
        seen = [one for one in windows if takes_real or not one.real]
        count = sum(len(one.samples) for one in seen)
        for window in seen:
            random = SampleRandom((seed, 1 + number), window.samples)
            if critic:
                assert networks.fake is not None
                loss = objective.critic_loss(window, networks.fake, random)
            else:
                loss = objective.student_loss(window, networks, random)
            total = total + part.weight * len(window.samples) / count * loss.value
            losses.append((window, loss))
    return WeightedLosses(total, losses)
