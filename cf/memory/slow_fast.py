"""Sink, slow memory of novel key frames, fast memory of recent ones (Context Forcing)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cf.bounds import check_least, check_share
from cf.memory.base import (
    Memory,
    Query,
    arrivals,
    collect,
    ends,
    intact,
    join,
    pick,
    validity,
)
from cf.memory.layout import BlockPlan, Parts, close_up, take_apart, times_of
from cf.memory.novelty import Judge, likeness
from cf.memory.released import Released
from cf.memory.slots import padded_layer, pooled_by_two, with_entry
from cf.types import Block, Context, LayerKV, Past

_CHOICES = {
    "novelty": ("previous", "kept", "uniform"),
    "promote": ("novel", "alike"),
    "evict": ("oldest", "newest"),
    "descriptor": ("mean", "tokens"),
    "decide": ("commit", "overflow"),
    "store": ("first", "block", "pooled"),
}
_RELEASED = ("sink_frames", "slow_frames", "fast_frames", "threshold", "interval", "bounded")
"""What the released code lets one choose, besides novelty previous or uniform."""


@dataclass(frozen=True)
class SlowFast(Memory):
    """First frames, novel older ones and the most recent ones, at bounded positions.

    Context Forcing (https://arxiv.org/abs/2602.06028), equations 7 and 8. The context of a layer
    lies as [sink | slow | fast]. Slow memory fills from its end; samples decide for themselves,
    and what a sample has not filled is masked. Text, figure 3 and code differ: the text's rule is
    the default, since the results are reported for it; the figure's is promote "alike" and evict
    "newest"; the code's is `as_released`.

    Attributes:
        sink_frames, slow_frames, fast_frames: latent frames attended, the coming block among the
            fast ones.
        threshold: a candidate enters slow memory if its keys' cosine similarity stays below it.
        quantile: let the threshold be this quantile of the last `calibration` similarities of the
            layer and sample (0.25: about every fourth candidate enters), once there is one.
        novelty: compared with the "previous" block (the paper's rule) or with all "kept"
            frames, sink included, of which the most similar counts; or "uniform": all enter.
        promote: what is "novel", below the threshold; or "alike", above it, as the figure prints.
        evict: the entry that a full slow memory gives up: its "oldest", or its "newest", which
            the figure overwrites, so that the earliest history is kept for ever.
        descriptor: what is compared, the "mean" key or all "tokens" of the first frame.
        decide: at the "commit" of a block, so that for a while it stands in slow and fast memory,
            or on "overflow", when it leaves the fast memory.
        store: of a novel block the "first" frame, the whole "block", or the block "pooled" to
            half its rows and columns, which then takes a quarter of its time.
        interval: every how many blocks one is considered (paper: 2).
        per_layer: let every layer decide for itself, or all by their common similarity.
        bounded: place what is read within 0 ... max_frames - 1; else frames stay where they were.
        as_released: the released rule, see `Released`; takes the settings that the code has, where
            `interval` counts for uniform sampling only.
    """

    sink_frames: int = 3
    slow_frames: int = 12
    fast_frames: int = 6
    threshold: float = 0.95
    quantile: float | None = None
    calibration: int = 64
    novelty: Literal["previous", "kept", "uniform"] = "previous"
    promote: Literal["novel", "alike"] = "novel"
    evict: Literal["oldest", "newest"] = "oldest"
    descriptor: Literal["mean", "tokens"] = "mean"
    decide: Literal["commit", "overflow"] = "commit"
    store: Literal["first", "block", "pooled"] = "first"
    interval: int = 2
    per_layer: bool = True
    bounded: bool = True
    as_released: bool = False

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        check_least(0, sink_frames=self.sink_frames, slow_frames=self.slow_frames)
        check_least(1, interval=self.interval, calibration=self.calibration)
        check_share(quantile=self.quantile)
        if self.as_released:
            self._check_as_released()

    def _check_as_released(self) -> None:
        has = {name: getattr(self, name) for name in _RELEASED}
        plain = SlowFast(**has)
        for name in vars(self):
            if name not in (*_RELEASED, "as_released", "novelty") and (
                getattr(self, name) != getattr(plain, name)
            ):
                raise ValueError(f"the released code has no {name}={getattr(self, name)!r}")
        if self.novelty == "kept":
            raise ValueError("the released code compares with the previous pass only, not kept")

    @property
    def _released(self) -> Released:
        sizes = (self.sink_frames, self.slow_frames, self.fast_frames, self.threshold)
        interval = self.interval if self.novelty == "uniform" else None
        return Released(*sizes, interval, self.bounded)

    @property
    def max_frames(self) -> int:
        """Sink, slow and fast memory."""
        return self.sink_frames + self.slow_frames + self.fast_frames

    def check_block(self, block_frames: int) -> None:
        """Fast memory holds the coming block, slow memory at least one entry."""
        if self.fast_frames < block_frames:
            raise ValueError(
                f"fast_frames={self.fast_frames} is smaller than a block of {block_frames} frames"
            )
        if self.store == "block" and 0 < self.slow_frames < block_frames:
            raise ValueError(
                f"slow_frames={self.slow_frames} cannot hold a whole block of {block_frames} "
                f"frames; make it larger or store the first frame"
            )

    def update(self, context: Context, block: Block) -> Context:
        """Fill the sink, shift the fast memory, keep what is novel of the candidate."""
        if self.as_released:
            return self._released.update(context, block)
        plan = self._plan(intact(context), block)
        novel, state = self._judge(context, block, plan)
        layers = collect(
            self._fold(take_apart(past, new, block, plan), block, plan, novel[i] if novel else None)
            for i, (past, new) in enumerate(arrivals(context, block))
        )
        sink, stop = plan.old_sink + plan.new_sink, context.start + block.frames
        fast = (*context.frames[plan.old_sink :], *range(context.start + plan.new_sink, stop))
        frames = (*range(context.first, context.first + sink), *fast[plan.leave :])
        return Context(layers, stop, frames, block.grid, state, context.first)

    @property
    def remembers_noisy(self) -> bool:
        """As released, it does."""
        return self.as_released

    def noisy(self, context: Context, block: Block) -> Context:
        """As released, every pass may promote."""
        return self._released.noisy(context, block) if self.as_released else context

    def read(self, context: Context, query: Query) -> Past:
        """All of it, less the fast frames for which a longer block leaves no room."""
        if self.as_released:
            return self._released.read(context, query)
        if not intact(context).layers:
            return Past(start=0.0 if self.bounded else float(context.start))
        tokens = context.tokens_per_frame
        sink = context.sink(self.sink_frames)
        fast = len(context.frames) - sink
        slow = context.layers[0].k.shape[1] - len(context.frames) * tokens
        fast_from = sink * tokens + slow
        drop = min(max(fast + query.frames - self.fast_frames, 0), fast)
        layers: Sequence[LayerKV] = context.layers
        if drop:
            parts = (slice(fast_from), slice(fast_from + drop * tokens, None))
            layers = tuple(join([pick(layer, part) for part in parts]) for layer in layers)
        if not self.bounded:
            return Past(layers, float(context.start))
        times = times_of(context, (sink, slow, fast - drop), self._stored_tokens(context.grid))
        placed = tuple(close_up(layer, times, sink * tokens, fast_from, tokens) for layer in layers)
        return Past(placed, sink + slow / tokens + fast - drop)

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Sink and recent frames; slow memory is emptied."""
        sink = intact(context).sink(self.sink_frames)
        flushed = ends(context, sink, min(recent_frames, len(context.frames) - sink))
        layers = [layer._replace(valid=None) for layer in flushed.layers]
        state = () if self.as_released else flushed.state
        return replace(flushed, layers=collect(iter(layers)), state=state)

    def _plan(self, context: Context, block: Block) -> BlockPlan:
        """Room is made for a coming block as long as this one."""
        old_sink = context.sink(self.sink_frames)
        new_sink = max(min(block.frames, context.first + self.sink_frames - context.start), 0)
        recent, arrived = len(context.frames) - old_sink, block.frames - new_sink
        leave = max(recent + arrived - (self.fast_frames - block.frames), 0)
        candidate = slice(recent, recent + arrived) if self.decide == "commit" else slice(leave)
        stop = context.start + block.frames
        fast = (*context.frames[old_sink:], *range(context.start + new_sink, stop))
        first = fast[candidate][0] if fast[candidate] else None
        past = context.layers[0].k.shape[1] if context.layers else 0
        slow_tokens = past - len(context.frames) * block.tokens_per_frame
        fits = self.slow_frames * block.tokens_per_frame >= self._entry_tokens(block)
        considered = first is not None and first // block.frames % self.interval == 0 and fits
        return BlockPlan(old_sink, new_sink, slow_tokens, candidate, leave, considered)

    def _judge(
        self, context: Context, block: Block, plan: BlockPlan
    ) -> tuple[list[Bool[Tensor, " b"]] | None, tuple[Tensor, ...]]:
        """Whether the candidate is novel, per layer and sample, and the new state."""
        judge = self._judging
        first, count = block.layers[0].k, len(block.layers)
        similarities = context.state[-count:] if context.state else judge.empty(count, first)
        similarities = similarities if self.quantile is not None else ()
        if self.novelty == "uniform":
            every = torch.ones(first.shape[0], dtype=torch.bool, device=first.device)
            return [every] * count if plan.considered else None, ()
        if self.novelty == "kept" and not plan.considered:
            return None, similarities
        compared, described = [], []
        for i, new in enumerate(block.layers):
            past = context.layers[i] if context.layers else pick(new, slice(0))
            parts = take_apart(past, new, block, plan)
            if self.novelty == "kept":
                descriptor = self._describe(
                    self._entry(parts.candidate, block), self._stored_tokens(block.grid)
                )
                compared.append(likeness(descriptor, *self._kept(parts, block)))
                continue
            tokens = new if self.decide == "commit" else parts.candidate
            if tokens.k.shape[1] == 0:
                return None, context.state
            descriptor = self._describe(tokens, block.tokens_per_frame)
            before = context.state[i][:, None] if context.state else descriptor[:, None][:, :0]
            compared.append(likeness(descriptor, before, None))
            described.append(descriptor)
        if not plan.considered:
            return None, (*described, *similarities)
        novel, similarities = judge(compared, similarities)
        return novel, (*described, *similarities)

    @property
    def _judging(self) -> Judge:
        alike = self.promote == "alike"
        return Judge(self.threshold, self.quantile, self.calibration, alike, self.per_layer)

    def _fold(
        self, parts: Parts, block: Block, plan: BlockPlan, novel: Bool[Tensor, " b"] | None
    ) -> LayerKV:
        slow = parts.slow
        if novel is not None:
            entry = padded_layer(self._entry(parts.candidate, block), self._entry_tokens(block))
            capacity = self.slow_frames * block.tokens_per_frame
            slow = with_entry(slow, entry, novel, capacity, self.evict == "newest")
        return join(
            [parts.sink, slow, pick(parts.fast, slice(plan.leave * block.tokens_per_frame, None))]
        )

    def _entry(self, candidate: LayerKV, block: Block) -> LayerKV:
        """What slow memory would store of the candidate."""
        if self.store == "first":
            return pick(candidate, slice(block.tokens_per_frame))
        return pooled_by_two(candidate, block.grid) if self.store == "pooled" else candidate

    def _entry_tokens(self, block: Block) -> int:
        return (1 if self.store == "first" else block.frames) * self._stored_tokens(block.grid)

    def _stored_tokens(self, grid: tuple[int, int]) -> int:
        """Tokens of one stored frame."""
        rows, columns = grid
        return -(-rows // 2) * -(-columns // 2) if self.store == "pooled" else rows * columns

    def _describe(self, layer: LayerKV, frame_tokens: int) -> Float[Tensor, "b width"]:
        keys = layer.k.detach()
        if self.descriptor == "mean":
            return keys.mean(1).flatten(1)
        return keys[:, :frame_tokens].flatten(1)

    def _kept(
        self, parts: Parts, block: Block
    ) -> tuple[Float[Tensor, "b others width"], Bool[Tensor, "b others"]]:
        """Descriptors of the stored frames of sink and slow memory, and which of them count."""
        sink = pooled_by_two(parts.sink, block.grid) if self.store == "pooled" else parts.sink
        stored = join([sink, parts.slow])
        frame = (-1, self._stored_tokens(block.grid))
        keys = stored.k.detach().unflatten(1, frame)
        described = keys.mean(2) if self.descriptor == "mean" else keys.flatten(2, 3)
        return described.flatten(2), validity(stored).unflatten(1, frame)[..., 0]
