"""What a rollout carries from block to block, and what it makes for training."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from cf.memory.base import fork
from cf.types import Context, Latents

Noise = Callable[[int, int], Latents]
"""(index of a block's first frame, denoising step) -> that block's noise, float32 on the CPU."""


@dataclass(frozen=True)
class RolloutState:
    """All that a stream needs to go on, besides its noise and conditioning.

    Attributes:
        recent: the last latent frames, clean, from which a context can be computed anew.
        begin: RoPE time at which the next block stands, if not where the memory would put it.
        window, passes: unfinished frames that come next, for a rollout that denoises several
            blocks at once, and how many passes the first of these has had.
    """

    context: Context = field(default_factory=Context)
    recent: Float[Tensor, "b recent c h w"] | None = None
    begin: float | None = None
    window: Float[Tensor, "b coming c h w"] | None = None
    passes: int = 0

    def fork(self) -> "RolloutState":
        """A state that survives when streaming on from this one consumes it; costs nothing."""
        return replace(self, context=fork(self.context))


START = RolloutState()


class Rolled(NamedTuple):
    """A rollout for training.

    Attributes:
        past: clean, detached frames before the window; may be empty.
        window: the frames that are scored; they carry gradient.
        exit_t: the time at which the window's frames left the denoising.
    """

    past: Latents
    window: Latents
    exit_t: Float[Tensor, ""]
    state: RolloutState
