"""A new prompt in mid-stream: what becomes of the context that the old one made."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch

from cf.bounds import check_least
from cf.memory.base import Memory, ends, fork, pieces
from cf.models.base import Backbone
from cf.rollout.blockwise import Rollout
from cf.rollout.reads import BlockReads
from cf.rollout.state import START, Noise, RolloutState
from cf.types import Conditioning, Context, Latents


@dataclass(frozen=True)
class PromptChange:
    """Where a stream stands when its prompt changes.

    Attributes:
        rollout, student, noise: as `Rollout.stream` takes them.
        cond: the new prompt.
        state: what the stream under the old prompt left.
    """

    rollout: Rollout
    student: Backbone
    noise: Noise
    cond: Conditioning
    state: RolloutState


class Switch(ABC):
    """From the state that the old prompt left to the one with which the new prompt goes on."""

    @abstractmethod
    def __call__(self, change: PromptChange) -> RolloutState:
        """The state with which the new prompt goes on; the one given stays usable."""

    def check(self, rollout: Rollout, changes: Sequence[int]) -> None:  # noqa: B027  (most do)
        """Raise a ValueError if it will not work where prompts change after so many frames."""


@dataclass(frozen=True)
class Keep(Switch):
    """Go on with all that is remembered; the text alone changes."""

    def __call__(self, change: PromptChange) -> RolloutState:
        """The same state."""
        return change.state.fork()


@dataclass(frozen=True)
class Flush(Switch):
    """Forget all but the sink and the last frames (Infinity-RoPE's KV flush).

    https://arxiv.org/abs/2511.20649; its code keeps 2 frames besides its sink.

    Attributes:
        as_released: the code, which moves the last frames up to the first one that is held,
            whatever the size of the sink is; the sink then is what stands in its slots. The same
            where the sink is one frame, as in its settings.
    """

    recent_frames: int = 2
    as_released: bool = False

    def __post_init__(self) -> None:
        check_least(0, recent_frames=self.recent_frames)

    def __call__(self, change: PromptChange) -> RolloutState:
        """The state with a smaller context."""
        state, memory = change.state, change.rollout.memory
        if not self.as_released:
            return flush(state, memory, self.recent_frames)
        context = state.context
        tokens = len(context.frames) * context.tokens_per_frame
        if any(layer.k.shape[1] != tokens for layer in context.layers):
            raise ValueError("Infinity-RoPE's flush is for memories of whole frames")
        recent = max(min(self.recent_frames, len(context.frames) - 1), 0)
        smaller = ends(fork(context), 1, recent)
        # Sinks count from here, so that they are the first slots, and the next frames go on there.
        first = context.start - recent - 1 if memory.sink_frames else context.first
        return replace(state, context=replace(smaller, first=first))


@dataclass(frozen=True)
class Cut(Switch):
    """Let the next block stand far away in RoPE time, as after a cut (Infinity-RoPE's RoPE cut).

    From the block after it on, all stands where the memory puts it.

    Attributes:
        at: where the block begins; the released code has 45, far beyond a window of 6 counted from
            0. With absolute positions choose a time of your own.
        first: what else happens to the context, before; None: nothing.
    """

    at: float = 45.0
    first: Switch | None = None

    def __call__(self, change: PromptChange) -> RolloutState:
        """The state whose next block stands elsewhere."""
        before = self.first or Keep()
        return cut(before(change), self.at)


@dataclass(frozen=True)
class Recache(Switch):
    """Compute the context anew from the last latents, under the new prompt (LongLive's recache).

    https://arxiv.org/abs/2509.22622.

    Attributes:
        sink: "keep" the sink's old keys and values, as LongLive does at inference; or "recompute"
            everything, so that the first of the recomputed frames are the sink from now on.
        frames: how many are recomputed, the kept sink counted as if they were among them; None:
            as many as the memory attends, or all that are held if it has no bound.
        as_released: in one pass in which the frames see one another both ways, as the released code
            does by mistake: its causal mask is ignored where there is a cache. By default block
            by block, as the frames were made.
    """

    sink: Literal["keep", "recompute"] = "keep"
    frames: int | None = None
    as_released: bool = False

    def __post_init__(self) -> None:
        if self.sink not in ("keep", "recompute"):
            raise ValueError(f"sink must be keep or recompute, got {self.sink!r}")
        check_least(1, frames=self.frames)

    def __call__(self, change: PromptChange) -> RolloutState:
        """The state with a context that the new prompt made."""
        rollout, state = change.rollout, change.state
        if state.context.start == 0:
            return state.fork()
        context, latents = self._from(rollout.memory, state)
        if latents.shape[1] == 0:
            return replace(state, context=context)
        if self.as_released:
            recached = _at_once(change, context, latents)
        else:
            begun = RolloutState(context)
            recached = rollout.remember(
                change.student, latents, change.noise, change.cond, begun
            ).context
        return replace(state, context=recached)

    def check(self, rollout: Rollout, changes: Sequence[int]) -> None:
        """States hold latents, and enough of them."""
        memory = rollout.memory
        if changes and not rollout.recent_held:
            raise ValueError(
                f"recaching needs latents, of which this rollout holds none; set its "
                f"recent_frames, which is {rollout.recent_frames}"
            )
        for at in changes:
            available = min(rollout.recent_held, at)
            self._count(memory, at, available, list(range(min(memory.sink_frames, at))))

    def _from(self, memory: Memory, state: RolloutState) -> tuple[Context, Latents]:
        """Where recomputing begins, and the latents from there on."""
        stop = state.context.start
        last = state.context.first + memory.sink_frames
        sink = [frame for frame in state.context.frames if frame < last]
        available = 0 if state.recent is None else state.recent.shape[1]
        count = self._count(memory, stop, available, sink)
        assert state.recent is not None
        latents = state.recent[:, available - count :]
        if self.sink == "recompute":
            return memory.restart(state.context, stop - count), latents
        return replace(memory.flush(fork(state.context), 0), start=stop - count), latents

    def _count(self, memory: Memory, stop: int, available: int, sink: Sequence[int]) -> int:
        """How many frames are recomputed after `stop` of them, of which latents are held."""
        count = min(self.frames or memory.max_frames or available, stop)
        if self.sink == "keep" and sink:
            count = min(max(count - len(sink), 0), stop - sink[-1] - 1)
        if count > available or not available:
            raise ValueError(
                f"recaching after {stop} latent frames needs the last {count or 1} of them, but "
                f"the rollout holds {available}; set recent_frames of the rollout to {count or 1} "
                "or more, or recache fewer frames"
            )
        return count


def flush(state: RolloutState, memory: Memory, recent_frames: int = 2) -> RolloutState:
    """Forget all but the sink and the last `recent_frames` frames that are held."""
    return replace(state, context=memory.flush(fork(state.context), recent_frames))


def cut(state: RolloutState, at: float = 45.0) -> RolloutState:
    """Let the next block begin at this RoPE time, and it alone."""
    return replace(state.fork(), begin=at)


def stream(
    rollout: Rollout,
    student: Backbone,
    noise: Noise,
    prompts: Sequence[tuple[int, Conditioning]],
    switch: Switch,
    state: RolloutState = START,
) -> Iterator[tuple[Latents, RolloutState]]:
    """A stream without end under prompts that take turns.

    `prompts` are pairs of a latent frame and a conditioning, which begins with the first block
    that starts there or later; the first one begins at once. A state in their midst goes on.
    """
    times = [at for at, _ in prompts]
    if not times or any(a >= b for a, b in pairwise(times)):
        raise ValueError(f"prompts must begin at rising frames, got {times}")
    start, block = state.context.start, rollout.block_frames
    switch.check(rollout, [at + (start - at) % block for at in times[1:] if at > start - block])
    for i, (_, cond) in enumerate(prompts):
        until = times[i + 1] if i + 1 < len(times) else None
        if until is not None and state.context.start >= until:
            continue
        if i > 0 and state.context.start - rollout.block_frames < times[i]:
            with torch.no_grad():
                state = switch(PromptChange(rollout, student, noise, cond, state))
        for x0, after in rollout.stream(student, noise, cond, state):
            state = after
            yield x0, after
            if until is not None and after.context.start >= until:
                break


def _at_once(change: PromptChange, context: Context, latents: Latents) -> Context:
    """The context after one pass over all latents, folded in block by block."""
    rollout, student, cond = change.rollout, change.student, change.cond
    start, frames = context.start, latents.shape[1]
    reads = BlockReads(student, rollout.memory, context, cond.frames(start, start + frames), frames)
    blocks, first = divmod(frames, rollout.block_frames)
    lengths = [first] * bool(first) + [rollout.block_frames] * blocks
    starts = [start + sum(lengths[:i]) for i in range(len(lengths))]
    with torch.no_grad():
        parts = zip(torch.split(latents, lengths, 1), starts, strict=True)
        read = [rollout.as_read(part, change.noise, at) for part, at in parts]
        x, t = (torch.cat(tensors, 1) for tensors in zip(*read, strict=True))
        block = student.writer(x, t, reads.cond, reads("commit", len(rollout.times))).block
        for part in pieces(block, lengths):
            context = rollout.memory.update(context, part)
    return context
