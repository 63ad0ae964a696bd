"""What a backbone is to everybody else: a pure function that reads a past and returns a block."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cf.models.attention import Remembered
from cf.models.masks import Mask
from cf.types import Conditioning, Latents, Live, Past, Prediction, Times

Returns = Literal["both", "velocity", "block"]
"""Parts of a prediction."""


@dataclass(frozen=True)
class Prepared:
    """A read of the past, made ready once and used by every call of a block.

    Attributes:
        layers: what each layer attends to besides the block; empty without a past.
        start: RoPE time at which the block begins.
        text: each layer's keys and values of the text, and of a picture where one is attended;
            None: the forward projects them itself.
        query_start, live: see `Past`.
        queries: return the block's queries too, for a memory that needs them.
        times: what the network makes of each time at which the block will be called, if they are
            known beforehand; `step` is the index of this call's, -1 that of the commit.
        held: what the first call leaves for those that follow; None: nothing is left.
        returns: what the caller reads of the answer. Without "block" its layers are empty, whose
            keys and values would be held for all layers at once; without "velocity" that is of no
            frame, and the last layer stops at its keys and values.
    """

    layers: tuple[Remembered, ...] = ()
    start: float = 0.0
    text: tuple[tuple[Tensor, ...], ...] | None = None
    query_start: float | None = None
    live: Live | None = None
    queries: bool = False
    times: tuple[Any, ...] = ()
    step: int = 0
    held: dict[Any, Any] | None = field(default=None, compare=False, repr=False)
    returns: Returns = "both"


NOTHING = Prepared()
UNREAD = Prepared(returns="velocity")
"""No past, and nobody who reads what the call would add to one: a score network's own read."""
WRITTEN = Prepared(returns="block")
"""No past, and nobody who reads the velocity: of frames that begin one."""


def ahead(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on its way to a device, which nobody waits for."""
    if device.type != "cuda" or x.is_cuda:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def recomputes(network: nn.Module) -> bool:
    """Whether a backward pass runs some of the network's blocks again."""
    return any(getattr(part, "activation_checkpointing", False) for part in network.modules())


class Backbone(nn.Module, ABC):
    """A network from noisy latents to velocity that also returns its own keys and values.

    Attributes:
        latent_shape: channels, height, width of a latent frame that it was configured for.
        patch_size: rows and columns of latents in a token.
        prediction: what the network is trained to say; the forward returns velocity either way.
        control_dim: numbers of the control signal that each frame needs; None: none is taken.
        image_dim: width of a picture's states that are attended; None: none are.
        reference_channels: by which a picture is shown beside the latents; 0: none is.
    """

    latent_shape: tuple[int, int, int]
    patch_size: tuple[int, int]
    prediction: str
    control_dim: int | None = None
    image_dim: int | None = None
    reference_channels: int = 0

    @abstractmethod
    def prepare(self, past: Past, cond: Conditioning, times: Sequence[float] = ()) -> Prepared:
        """Rotate remembered keys and project the text, once per distinct read of a block.

        `times` are those at which the block will be called, one for all its frames and samples,
        where they are known; then a call takes the one of its `step`.
        """

    @abstractmethod
    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """Velocity of the frames in `x_t`; without a mask they all see one another.

        Never writes to a context, and may leave out what `past.returns` does not name. With a mask,
        `x_t` and `t` are its rows, and per-frame conditioning is looked up by the frame that stands
        at each row.
        """

    def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
        """The velocity that this network should return; regressing on it trains `prediction`."""
        return eps - x0

    def rotate(self, x: Tensor, ids: Tensor) -> Tensor:
        """Keys or queries that stand at `ids`, after RoPE; memories that score ask for it."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it turns keys")

    @property
    def writer(self) -> "Backbone":
        """What reads finished blocks into the context: itself, unless another was trained to."""
        return self

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The type of its parameters."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where its parameters are."""

    def fake_inputs(self, batch: int = 1, frames: int = 3) -> tuple[Latents, Times, Conditioning]:
        """Random inputs that `forward` accepts, for tests and warm-up."""
        x_t = torch.randn(batch, frames, *self.latent_shape, device=self.device)
        t = torch.rand(batch, frames, device=self.device)
        return x_t, t, self.fake_conditioning(batch, frames)

    @abstractmethod
    def fake_conditioning(self, batch: int, frames: int) -> Conditioning:
        """Random conditioning of the kinds that this backbone was built for."""
