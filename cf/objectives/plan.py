"""Objectives alone, mixed or one after the other, by student step."""

from collections.abc import Sequence
from dataclasses import dataclass

from cf.models.base import Backbone
from cf.objectives.base import Objective


@dataclass(frozen=True)
class Part:
    """An objective and the student steps during which it counts.

    Attributes:
        until: the step at which it ends; None: never.
        critic_from: the step from which its critic is trained; None: with the objective.
    """

    objective: Objective
    weight: float = 1.0
    start: int = 0
    until: int | None = None
    critic_from: int | None = None

    def counts(self, step: int) -> bool:
        """Whether the student is trained by it at this step."""
        return self.start <= step and (self.until is None or step < self.until)

    def wants_critic(self, step: int) -> bool:
        """Whether its critic is trained at this step."""
        begin = self.start if self.critic_from is None else self.critic_from
        ended = self.until is not None and step >= self.until
        return self.objective.needs_critic and begin <= step and not ended


@dataclass(frozen=True)
class Plan:
    """What trains the student when; parts that overlap are added."""

    parts: Sequence[Part]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("an objective must be given: parts=[] trains nothing")

    @property
    def needs_critic(self) -> bool:
        """Whether any part ever trains a critic."""
        return any(part.objective.needs_critic for part in self.parts)

    def critic_network(self, network: Backbone) -> Backbone:
        """The critic to train, with what each part puts on its backbone."""
        for part in self.parts:
            network = part.objective.critic_network(network)
        return network

    def check(self, steps: int) -> None:
        """Raise a ValueError if a run of so many steps leaves a gap, or a part out."""
        late = [part for part in self.parts if part.start >= steps]
        if late:
            raise ValueError(
                f"a part of the objective starts at step {late[0].start}, but the run ends after "
                f"trainer.max_steps={steps}; let it go on for longer, or start the part earlier"
            )
        for step in {0, *(p.until for p in self.parts if p.until is not None and p.until < steps)}:
            self.at(step)

    def at(self, step: int) -> list[Part]:
        """The parts that train the student at this step.

        Raises:
            ValueError: if there are none.
        """
        active = [part for part in self.parts if part.counts(step)]
        if not active:
            raise ValueError(f"no objective counts at student step {step}; extend a part's until")
        return active
