"""Gradient of a rollout as it is made: through what earlier blocks wrote, or not."""

from dataclasses import dataclass

from cf.distillation.again import made_again
from cf.distillation.base import Gradient, Stretch
from cf.models.base import Backbone
from cf.rollout.state import Rolled


@dataclass(frozen=True)
class Live(Gradient):
    """Of the rollout itself, whose last network call per block carries gradient."""

    def __call__(self, student: Backbone, stretch: Stretch) -> Rolled:
        """Roll the student out, or make a draft again."""
        if stretch.draft is not None:
            return made_again(student, stretch, stretch.draft, self.through_past)
        return stretch.rollout(
            student,
            stretch.noise,
            stretch.cond.frames(0, stretch.stop),
            frames=stretch.frames,
            window_frames=stretch.trained,
            exit_step=stretch.exit_step,
            differentiable_past=self.through_past,
            state=stretch.state,
            goes_on=stretch.goes_on,
        )


class ThroughPast(Live):
    """Through frames and through the keys and values by which they were remembered.

    A student learns to write what it will read; memory grows with the frames of a window.
    """

    @property
    def counterpart(self) -> Gradient:
        """Without the past."""
        return Detached()


class Detached(Live):
    """No gradient from one block to another (Self Forcing, https://arxiv.org/abs/2506.08009)."""

    through_past = False

    @property
    def counterpart(self) -> Gradient:
        """With the past."""
        return ThroughPast()
