"""Gradient of a second pass over frames that were rolled out without (Self Gradient Forcing)."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from typing_extensions import override

from cf.distillation.again import made_again
from cf.distillation.base import Draft, Gradient, Stretch
from cf.distillation.gradients import Detached
from cf.models.adapters import AdaptedBackbone
from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.masks import Mask
from cf.models.wrapped import WrappedBackbone
from cf.models.writer import WithWriter
from cf.rollout.blockwise import Rollout
from cf.rollout.state import Rolled
from cf.types import Conditioning, Latents, Prediction, Times


@dataclass(frozen=True)
class Replay(Gradient):
    """Self Gradient Forcing (https://arxiv.org/abs/2607.20368).

    A first pass rolls out without gradient and keeps the noisy frames of each block's last call. A
    second pass makes these calls again, all in one masked forward where nothing comes before and
    the memory is a mask, and writes the finished frames anew. Gradient flows through the keys and
    values that it writes; the frames themselves are constants, so none flows from block to block
    through what was denoised.
    """

    def check(self, rollout: Rollout) -> None:
        """It calls each block once, as a rollout block by block does.

        Raises:
            ValueError: if the rollout is of another kind.
        """
        if type(rollout) is not Rollout:
            raise ValueError(
                f"gradient={type(self).__name__.lower()} makes each block again in one call, which "
                f"rollout={type(rollout).__name__.lower()} does not; give gradient=through_past"
            )

    @property
    def counterpart(self) -> Gradient:
        """Without the past."""
        return Detached()

    def __call__(self, student: Backbone, stretch: Stretch) -> Rolled:
        """Both passes; a draft needs the second alone."""
        if stretch.draft is not None:
            return made_again(student, stretch, stretch.draft, True)
        if not torch.is_grad_enabled():
            return Detached()(student, stretch)
        with torch.no_grad():
            past, trained, draft = drafted(student, stretch)
        rolled = made_again(student, trained, draft, True)
        return rolled._replace(past=torch.cat((past, rolled.past), 1))


class Writer(Replay):
    """Self Gradient Forcing Plus (https://arxiv.org/abs/2610.10429): two networks.

    The calls that write are a second network's, which begins as a copy of the student. So each of
    the two ways of gradient has parameters of its own; `train/conflict` compares them by name.
    """

    def prepared(self, student: Backbone) -> Backbone:
        """With a writer, unless it was loaded with one."""
        if isinstance(student, WithWriter):
            return student
        if isinstance(student, AdaptedBackbone):
            raise ValueError(
                "gradient=writer trains two whole networks; give gradient=replay, or an option of "
                "adapters=... without the student"
            )
        return WithWriter(student, copy.deepcopy(student))

    def alias(self, name: str) -> str:
        """A writer's parameter stands for the denoiser's."""
        return name.replace("context_writer.", "network.", 1)


def drafted(student: Backbone, stretch: Stretch) -> tuple[Latents, Stretch, Draft]:
    """Roll out without gradient: frames before those to be trained, those, and their draft."""
    rollout, cond = stretch.rollout, stretch.cond.frames(0, stretch.stop)
    before, state = stretch.frames - stretch.trained, stretch.state
    past = stretch.past[:, :0]
    if before:
        led = rollout(student, stretch.noise, cond, frames=before, state=state)
        past, state = led.past, led.state
    recorder = _Seen(student)
    rolled = rollout(
        recorder,
        stretch.noise,
        cond,
        frames=stretch.trained,
        window_frames=stretch.trained,
        exit_step=stretch.exit_step,
        state=state,
        goes_on=stretch.goes_on,
    )
    everything = torch.cat((stretch.past, past), 1)
    sizes: Any = {"frames": stretch.trained, "scored": stretch.trained, "trained": stretch.trained}
    trained = replace(stretch, past=everything, state=state, **sizes)
    block, start = rollout.block_frames, state.context.start
    parts = [
        rollout.as_read(x0, stretch.noise, start + i * block)
        for i, x0 in enumerate(torch.split(rolled.window, block, 1))
    ]
    written, times = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    return past, trained, Draft(*recorder.last_calls(), written, times, rolled.state)


class _Seen(WrappedBackbone):
    """A network that remembers the noisy frames of the last denoising call of each block."""

    def __init__(self, network: Backbone) -> None:
        super().__init__(network)
        self.calls: list[tuple[Latents, Times]] = []

    @property
    @override
    def writer(self) -> Backbone:
        return self.network.writer

    def last_calls(self) -> tuple[Latents, Times]:
        """Of all blocks together."""
        noisy, times = zip(*self.calls, strict=True)
        return torch.cat(noisy, 1), torch.cat(times, 1)

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """The network's own."""
        if past.step:
            self.calls.pop()
        self.calls.append((x_t, t))
        prediction: Prediction = self.network(x_t, t, cond, past, mask)
        return prediction
