"""The frame between two frames, by interpolators that are chosen by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.motion.flow import Dis
from cf.metrics.motion.warp import followed, planes


class Interpolator(ABC):
    """Makes the frame in the middle; a frozen, picklable value.

    Attributes:
        name: by which it is chosen and printed.
    """

    name: str

    @abstractmethod
    def __call__(
        self, one: Float[Tensor, "3 h w"], other: Float[Tensor, "3 h w"]
    ) -> Float[Tensor, "3 h w"]:
        """The frame between two frames in [0, 1]; a function of its inputs alone."""

    def provenance(self) -> dict[str, Any]:
        """All that the frame depends on besides the two."""
        return {"interpolator": self.name}


@dataclass(frozen=True)
class Linear(Interpolator):
    """The mean of both frames: a fade, without motion."""

    name = "linear"

    @override
    def __call__(
        self, one: Float[Tensor, "3 h w"], other: Float[Tensor, "3 h w"]
    ) -> Float[Tensor, "3 h w"]:
        return (one + other) / 2


@dataclass(frozen=True)
class DisInterpolator(Interpolator):
    """The mean of both frames, each moved half way along its DIS flow to the other."""

    name = "dis"

    @override
    def __call__(
        self, one: Float[Tensor, "3 h w"], other: Float[Tensor, "3 h w"]
    ) -> Float[Tensor, "3 h w"]:
        flow = Dis()
        levels = [
            np.ascontiguousarray((frame * 255).round().byte().permute(1, 2, 0).numpy())
            for frame in (one, other)
        ]
        if min(levels[0].shape[:2]) < flow.smallest:
            raise ValueError(
                f"frames of {levels[0].shape[0]} x {levels[0].shape[1]} pixels are too small for "
                f"interpolator='dis'; enlarge them to at least {flow.smallest} or take 'linear'"
            )
        forth, back = (planes(flow(*pair)) for pair in (levels, levels[::-1]))
        # Seen from the middle, each frame lies half of the flow that leads away from it back.
        return (followed(one, -forth / 2) + followed(other, -back / 2)) / 2

    @override
    def provenance(self) -> dict[str, Any]:
        return {"interpolator": self.name, **Dis().provenance()}


@dataclass(frozen=True)
class Supplied(Interpolator):
    """An interpolator of yours, such as AMT-S with its weights.

    Attributes:
        name: under which the metric prints: `amt-s`.
        network: two frames (3, h, w) in [0, 1] to the one between.
        described: what tells it apart: the hash of its weights, versions.
    """

    name: str
    network: Callable[[Tensor, Tensor], Tensor] = field(compare=False)
    described: str

    @override
    def __call__(
        self, one: Float[Tensor, "3 h w"], other: Float[Tensor, "3 h w"]
    ) -> Float[Tensor, "3 h w"]:
        with torch.no_grad():
            frame = self.network(one, other)
        if frame.shape != one.shape:
            raise ValueError(
                f"interpolator {self.name!r} made a frame of shape {tuple(frame.shape)} from "
                f"frames of {tuple(one.shape)}; it must keep the shape"
            )
        return frame.float().cpu()

    @override
    def provenance(self) -> dict[str, Any]:
        return {"interpolator": self.name, "described": self.described}


def interpolator_named(name: str) -> Interpolator:
    """The interpolator of that name: `linear` or `dis`."""
    if name == "amt-s":
        raise ValueError(
            "interpolator='amt-s' is not shipped, since its weights (amt-s.pth) are for "
            "non-commercial use only: load the network yourself and give "
            "interpolator=Supplied('amt-s', network, described='sha256 of the weights')"
        )
    interpolators: dict[str, Interpolator] = {"linear": Linear(), "dis": DisInterpolator()}
    if name not in interpolators:
        raise ValueError(f"interpolator={name!r} is not known; choose linear, dis or a Supplied")
    return interpolators[name]
