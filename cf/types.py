"""The shared nouns: what flows between backbone, memory, rollout, objectives and metrics.

Axes: `b` batch, `f` latent frames, `c h w` latent channels, height, width, `t` pixel frames,
`n` tokens, `heads d` attention heads and their width, `s` text tokens, `k` control channels.
"""

if __name__ == "types":  # for `python cf/fit.py` Python looks here for its own module of this name
    raise SystemExit("cf: give a command as a module: python -m cf.fit, not python cf/fit.py")

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Latents = Float[Tensor, "b f c h w"]
"""Latents of a video; with the pixel codec these are pixels in [-1, 1]."""
Video = Float[Tensor, "b t 3 h w"]
"""Pixels in [0, 1]."""
Times = Float[Tensor, "b f"]
"""Flow time of each latent frame: 1 is noise, 0 is data."""


@dataclass(frozen=True)
class Conditioning:
    """What the video should show: text for all of it, control and camera for each latent frame.

    Attributes:
        text: states of a text encoder, zero-padded; None for an unconditional model.
        control: a signal per frame (camera pose, action, one-hot scene), None if there is none.
        origin: (row, column) in tokens of each frame's top-left corner in the world, which shifts
            the frame's positions; None leaves every frame at (0, 0).
        image: states of an image encoder, of a picture that is attended beside the text; None for
            models that do not.
        reference: channels beside the latents of each frame, by which image-to-video models are
            shown a picture; its last frame holds for all later ones. None for none.
    """

    text: Float[Tensor, "b s d"] | None = None
    control: Float[Tensor, "b f k"] | None = None
    origin: Float[Tensor, "b f 2"] | None = None
    image: Float[Tensor, "b p e"] | None = None
    reference: Float[Tensor, "b f r h w"] | None = None

    def frames(self, start: int, stop: int) -> "Conditioning":
        """The same conditioning for frames `start` to `stop`.

        Raises:
            ValueError: if a per-frame signal ends before `stop`.
        """
        self._refuse_beyond(stop)
        signals = self.per_frame()
        if not start and all(one.shape[1] == stop for one in signals.values()):
            signals = {}  # all of it
        cut = {name: signal[:, start:stop] for name, signal in signals.items()}
        if self.reference is not None:
            at = torch.arange(start, stop, device=self.reference.device)
            cut["reference"] = self.reference[:, at.clamp(max=self.reference.shape[1] - 1)]
        return replace(self, **cut) if cut else self

    def chosen(self, index: Sequence[int]) -> "Conditioning":
        """The same conditioning for these frames, in this order.

        Raises:
            ValueError: if a per-frame signal ends before the last of them.
        """
        self._refuse_beyond(max(index, default=-1) + 1)
        cut = {name: signal[:, list(index)] for name, signal in self.per_frame().items()}
        if self.reference is not None:
            last = self.reference.shape[1] - 1
            cut["reference"] = self.reference[:, [min(one, last) for one in index]]
        return replace(self, **cut) if cut else self

    def _refuse_beyond(self, stop: int) -> None:
        for name, signal in self.per_frame().items():
            if signal.shape[1] < stop:
                raise ValueError(
                    f"{name} covers {signal.shape[1]} latent frames but frame {stop - 1} is asked "
                    f"for; give a longer {name} or a shorter video"
                )

    def per_frame(self) -> dict[str, Tensor]:
        """The signals that there are for each latent frame, and end somewhere, by name."""
        named = {"control": self.control, "origin": self.origin}
        return {name: signal for name, signal in named.items() if signal is not None}

    def samples(self, index: Sequence[int]) -> "Conditioning":
        """The same conditioning for some samples of the batch."""
        chosen = list(index)
        return Conditioning(**{k: None if x is None else x[chosen] for k, x in vars(self).items()})


class LayerKV(NamedTuple):
    """One layer's keys, before RoPE, its values, and where each token sits.

    Attributes:
        ids: (frame, row, column) of each token.
        valid: False marks an empty slot, per sample; None if every token counts.
    """

    k: Float[Tensor, "b n heads d"]
    v: Float[Tensor, "b n heads d"]
    ids: Float[Tensor, "b n 3"]
    valid: Bool[Tensor, "b n"] | None = None


Compress = Callable[[int, LayerKV, tuple[int, int]], LayerKV]
"""(layer, tokens of whole frames, their grid) -> one token for every 2 x 2 of a frame."""
Rotate = Callable[[Float[Tensor, "b n heads d"], Float[Tensor, "b n 3"]], Tensor]
"""(keys or queries, where they stand) -> the same after the RoPE of the network they came from."""


@dataclass(frozen=True)
class Block:
    """What one pass over some frames would add to a context.

    Attributes:
        layers: one LayerKV per layer, tokens ordered by (frame, row, column).
        frames: number of latent frames.
        grid: rows and columns of tokens in a frame.
        queries: each layer's queries, before RoPE; empty unless the memory needs them.
        control: the control signal of these frames, by which a memory may find them again.
        compress: how the network that made it makes fewer tokens of some; None: it has no say.
        rotate: how the network turns keys and queries; comes with queries alone.
    """

    layers: tuple[LayerKV, ...]
    frames: int
    grid: tuple[int, int]
    queries: tuple[Float[Tensor, "b n heads d"], ...] = ()
    control: Float[Tensor, "b f k"] | None = None
    compress: Compress | None = None
    rotate: Rotate | None = None

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of one latent frame."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Context:
    """The remembered past, as a memory left it.

    Attributes:
        layers: what is remembered, one LayerKV per layer; empty before the first block.
        start: true index of the next frame; never a RoPE time.
        frames: true indices of the whole frames that every layer and sample holds, in the order
            in which they lie; a memory that chooses per sample lists only the common ones.
        grid: rows and columns of tokens in a frame.
        state: what a policy needs besides (a running mean, the last key); detached.
        first: true index of the frame with which remembering began, from which sinks are counted;
            above 0 after the past was recomputed from there on.
    """

    layers: Sequence[LayerKV] = ()
    start: int = 0
    frames: tuple[int, ...] = ()
    grid: tuple[int, int] = (0, 0)
    state: tuple[Tensor, ...] = ()
    first: int = 0

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of one latent frame, as it was generated."""
        return self.grid[0] * self.grid[1]

    def sink(self, frames: int) -> int:
        """How many of its frames are among the first `frames` that were ever remembered."""
        return sum(frame < self.first + frames for frame in self.frames)


Live = Callable[[int, LayerKV, Float[Tensor, "b n heads d"]], LayerKV]
"""(layer, own tokens of the block in this pass, own queries) -> what the layer reads."""


class Past(NamedTuple):
    """What attention reads of a context: layers placed in RoPE time.

    Attributes:
        start: RoPE time at which the coming block begins.
        bias: additive attention logit of each remembered token; None for none.
        query_start: where the block's queries begin, if not where its keys do: a quirk of peers.
        room: tokens of free storage behind each layer's values, where a call may put the block's
            own, so that it need not copy the past.
        live: replaces `layers` where what is read depends on the keys of the pass that reads it;
            costs a rotation per pass, and nothing but ports of peers' code needs it.
        turned: storage of each layer's keys after RoPE, of which the first `turned_tokens` are
            there already; the reader adds the others. Empty: they are not kept.
    """

    layers: Sequence[LayerKV] = ()
    start: float = 0.0
    bias: Float[Tensor, "b n"] | None = None
    query_start: float | None = None
    live: Live | None = None
    room: int = 0
    turned: Sequence[Tensor | None] = ()
    turned_tokens: int = 0


class Prediction(NamedTuple):
    """A backbone's answer: `velocity` is eps - x0, `block` what these frames would add."""

    velocity: Latents
    block: Block


@dataclass(frozen=True)
class Loss:
    """A value to minimise and what to log beside it."""

    value: Float[Tensor, ""]
    logs: dict[str, Tensor] = field(default_factory=dict)


def later(ids: Float[Tensor, "b n 3"], by: float) -> Float[Tensor, "b n 3"]:
    """Positions that are later in time; no number is sent to the device."""
    return torch.cat((ids[..., :1] + by, ids[..., 1:]), -1)


def wide(values: Tensor) -> Tensor:
    """In float32, or in float64 where they are: for losses, under any precision of training."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class Diverged(ArithmeticError):  # noqa: N818  (it names what happened)
    """Training has left the numbers that make sense; the weights are still those before."""
