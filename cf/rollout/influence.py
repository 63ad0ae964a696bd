"""How far back a network's next block can be influenced: history older than a lag is cut away."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from cf.memory.base import ends, fork, intact
from cf.models.base import Backbone
from cf.rollout.blockwise import Rollout
from cf.rollout.state import Noise, RolloutState
from cf.types import Conditioning, Context, Latents

Distance = Callable[[Latents, Latents], Float[Tensor, " b"]]
"""(block, block with its history cut) -> how much each sample has changed."""


def mean_change(one: Latents, other: Latents) -> Float[Tensor, " b"]:
    """Root mean square of the difference of latents, relative to the first's own."""
    error, power = ((x.double() ** 2).flatten(1).mean(1) for x in (one - other, one))
    return (error / power.clamp(min=1e-24)).sqrt()


@dataclass(frozen=True)
class Influence:
    """What remains when history is cut.

    Attributes:
        lags: latent frames of history that were left, rising.
        change: mean change of the next block at each.
        floor: mean change from one run to another with nothing cut.
        frames: the shortest history, in latent frames, with which the block changes by no more
            than twice the floor: anything older has no influence. None: even the longest lag
            tried changes it by more.
        seconds: the same in seconds.
    """

    lags: tuple[int, ...]
    change: tuple[float, ...]
    floor: float
    frames: int | None
    seconds: float | None


@dataclass(frozen=True)
class InfluenceHorizon:
    """The longest history that a network's next block makes use of; up, in seconds.

    The next block is generated again from one state and one noise with all history older than a
    lag cut out of the context, and compared with the uncut one. The horizon is the shortest lag
    from which on the mean change stays at or below twice the change from run to run, which is 0
    where arithmetic is deterministic: then the horizon ends exactly where the memory does. White
    box: it tells what a network can use, not that it does so to any purpose (`RecallHorizon`),
    and what a cut frame left in the keys of younger ones stays. Definition: this project's.

    Attributes:
        rollout, network: what generates.
        seconds_per_frame: of a latent frame.
        distance: how a changed block is judged.
        repeats: runs by which the floor is told.
        least: change that is not told from none, if the floor is below it.
    """

    rollout: Rollout
    network: Backbone
    seconds_per_frame: float
    distance: Distance = mean_change
    repeats: int = 2
    least: float = 0.0

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise ValueError(f"repeats={self.repeats}: the floor is told by 2 runs or more")
        if not self.seconds_per_frame > 0:
            raise ValueError(f"seconds_per_frame={self.seconds_per_frame} must be positive")

    def __call__(
        self, state: RolloutState, noise: Noise, cond: Conditioning, lags: Sequence[int]
    ) -> Influence:
        """Of the block that follows `state`, which is left as it was.

        Args:
            state: all blocks before.
            noise: of the block.
            cond: what the block is made under.
            lags: latent frames of history to try.

        Raises:
            ValueError: if the memory does not hold whole frames, so that none can be cut.
        """
        tried = tuple(sorted(set(lags)))
        if not tried or tried[0] < 0:
            raise ValueError(f"lags={list(lags)} must be latent frames, 0 or more")
        references = [self._next(state, noise, cond) for _ in range(self.repeats)]
        again = [self.distance(references[0], repeat) for repeat in references[1:]]
        floor = float(torch.stack(again).mean())
        change = []
        for lag in tried:
            after = self._next(older_cut(state, lag), noise, cond)
            change.append(float(self.distance(references[0], after).mean()))
        enough = 2 * max(floor, self.least)
        above = [i for i, value in enumerate(change) if not value <= enough]
        first = above[-1] + 1 if above else 0
        frames = tried[first] if first < len(tried) else None
        seconds = None if frames is None else frames * self.seconds_per_frame
        return Influence(tried, tuple(change), floor, frames, seconds)

    def _next(self, state: RolloutState, noise: Noise, cond: Conditioning) -> Latents:
        """The next block; the state survives."""
        running = self.rollout.stream(self.network, noise, cond, state.fork())
        block, _ = next(islice(running, 1))
        return block


def older_cut(state: RolloutState, lag: int) -> RolloutState:
    """The state without anything in its context that is older than the last `lag` frames."""
    context = _cut(intact(state.context), lag)
    recent = state.recent
    if recent is not None:
        recent = recent[:, max(recent.shape[1] - lag, 0) :]
    return replace(state, context=context, recent=recent)


def _cut(context: Context, lag: int) -> Context:
    if not context.layers:
        return context
    if any(
        layer.k.shape[1] != len(context.frames) * context.tokens_per_frame
        for layer in context.layers
    ):
        raise ValueError(
            "the memory does not hold whole frames, so that none can be cut; measure the network "
            "under one that does"
        )
    oldest = context.start - lag
    count = sum(frame >= oldest for frame in context.frames)
    if list(context.frames) != sorted(context.frames):
        raise ValueError(f"frames {list(context.frames)} do not lie in the order of time")
    return fork(ends(context, 0, count))
