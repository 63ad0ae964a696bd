"""A network that guidance leads away from something worse, as a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from typing_extensions import override

from cf.models.base import NOTHING, UNREAD, Backbone, Prepared
from cf.models.masks import Mask
from cf.models.wrapped import WrappedBackbone
from cf.types import Conditioning, Latents, Past, Prediction, Times

ALWAYS = (0.0, 1.0)
"""Guided at all times."""


def check_guidance_times(times: Sequence[float], name: str) -> tuple[float, float]:
    """Least and most time at which a network is guided.

    Args:
        times: as they are given.
        name: of the setting, for the message.

    Raises:
        ValueError: they are not two times that rise.
    """
    if len(times) != 2 or not 0 <= times[0] <= times[1] <= 1:
        raise ValueError(f"{name}={list(times)} must be [least, most] with 0 <= least <= most <= 1")
    return float(times[0]), float(times[1])


def led_away(
    own: Latents, other: Latents, scale: float, t: Times, times: Sequence[float] = ALWAYS
) -> Latents:
    """The velocity other + scale (own - other) at those times, and elsewhere the network's own.

    Args:
        own: velocity of the network that is guided.
        other: velocity that it is led away from.
        scale: 1 is the network's own.
        t: time of each frame.
        times: least and most time at which it is guided (https://arxiv.org/abs/2404.07724).
    """
    led = other + scale * (own - other)
    least, most = times
    if least <= 0 and most >= 1:
        return led
    guided = (t >= least) & (t <= most)
    return torch.where(guided[..., None, None, None], led, own)


class Guided(WrappedBackbone):
    """Led away from its own velocity under other texts, both out of one pass of twice the batch.

    Classifier-free guidance (https://arxiv.org/abs/2207.12598). Conditioning, and so what is
    remembered, has two samples for each of the latents: first all under their prompts, then all
    under what they should not show.

    Attributes:
        network: the network that is guided.
        scale: 1 is the network under its prompts alone.
        times: least and most time at which it is guided.
    """

    def __init__(self, network: Backbone, scale: float, times: Sequence[float] = ALWAYS) -> None:
        super().__init__(network)
        self.scale, self.times = scale, tuple(times)

    @property
    @override
    def writer(self) -> Backbone:
        writer = self.network.writer
        return self if writer is self.network else Guided(writer, self.scale, self.times)

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """See `Backbone.forward`; the conditioning has twice the batch of `x_t`."""
        prediction = self.network(torch.cat((x_t, x_t)), torch.cat((t, t)), cond, past, mask)
        positive, negative = prediction.velocity.chunk(2)
        if past.returns == "block":
            return Prediction(positive, prediction.block)
        return Prediction(led_away(positive, negative, self.scale, t, self.times), prediction.block)

    @override
    def fake_conditioning(self, batch: int, frames: int) -> Conditioning:
        return self.network.fake_conditioning(2 * batch, frames)


@dataclass(frozen=True)
class ReadBesideGuide(Prepared):
    """A read of the past by a network that another one guides.

    Attributes:
        alone: the guide's read, which is of no past; None: it would say what the network says.
        steps: whether each of the known times is guided; empty: times are not known beforehand.
    """

    alone: Prepared | None = None
    steps: tuple[bool, ...] = ()


class GuidedByNetwork(WrappedBackbone):
    """Led away from the velocity of a network that sees the frames at hand and no past.

    With a weaker network as its guide this is autoguidance (https://arxiv.org/abs/2406.02507),
    whose guide lacks the past as well; with itself, history guidance
    (https://arxiv.org/abs/2502.06764). What is remembered is the network's own, unguided.

    Attributes:
        network: the network that is guided.
        guide: what it is led away from, under the same conditioning; may be the network itself.
        scale: 1 is the network alone.
        times: least and most time at which it is guided.
    """

    def __init__(
        self, network: Backbone, guide: Backbone, scale: float, times: Sequence[float] = ALWAYS
    ) -> None:
        super().__init__(network)
        self.guide, self.scale, self.times = guide, scale, tuple(times)

    @property
    @override
    def writer(self) -> Backbone:
        writer = self.network.writer
        return self if writer is self.network else writer

    @override
    def prepare(
        self, past: Past, cond: Conditioning, times: Sequence[float] = ()
    ) -> ReadBesideGuide:
        prepared, alone = self.network.prepare(past, cond, times), None
        if self.guide is not self.network or past.layers or past.live is not None:
            alone = self.guide.prepare(Past(start=past.start), cond, times)
            alone = replace(alone, returns="velocity")
        least, most = self.times
        return ReadBesideGuide(
            **vars(prepared), alone=alone, steps=tuple(least <= time <= most for time in times)
        )

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """See `Backbone.forward`; there is no mask.

        The guide is asked neither where it would change nothing nor of what is committed, of which
        nobody reads the velocity.
        """
        assert mask is None, "what a guide sees of frames that a mask orders is not defined"
        own: Prediction = self.network(x_t, t, cond, past)
        read = past if isinstance(past, ReadBesideGuide) else ReadBesideGuide(alone=UNREAD)
        guided = not read.steps or read.steps[read.step]
        if self.scale == 1 or read.alone is None or past.returns == "block" or not guided:
            return own
        other = self.guide(x_t, t, cond, replace(read.alone, step=read.step)).velocity
        return Prediction(led_away(own.velocity, other, self.scale, t, self.times), own.block)
