"""Sink, slow memory of novel key frames, fast memory of recent ones (Context Forcing)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Bool, Float
from torch import Tensor

from cf.memory.base import Memory, Query, arrivals, at_times, collect, intact, join, pick, validity
from cf.memory.likeness import cosine, likeness, summed
from cf.types import Block, Context, LayerKV, Past

_CHOICES = {
    "novelty": ("previous", "kept"),
    "descriptor": ("mean", "tokens"),
    "decide": ("commit", "overflow"),
    "store": ("first", "block", "pooled"),
}


class _Plan(NamedTuple):
    """What a block does to every layer alike; frames of the sink, then of the fast memory."""

    old_sink: int
    new_sink: int
    slow_tokens: int
    candidate: slice
    leave: int
    considered: bool


class _Parts(NamedTuple):
    """A layer taken apart: fast memory with the new frames, and the candidate among these."""

    sink: LayerKV
    slow: LayerKV
    fast: LayerKV
    candidate: LayerKV


@dataclass(frozen=True)
class SlowFast(Memory):
    """First frames, novel older ones and the most recent ones, at bounded positions.

    Context Forcing (https://arxiv.org/abs/2602.06028), equations 7 and 8. The context of a layer
    lies as [sink | slow | fast]. Slow memory fills from its end and gives up its oldest entry;
    samples decide for themselves, and what a sample has not filled is masked.

    Attributes:
        sink_frames, slow_frames, fast_frames: latent frames attended, the coming block among the
            fast ones.
        threshold: a candidate enters slow memory if its keys' cosine similarity stays below it.
        novelty: compared with the "previous" block (the paper's rule) or with all "kept"
            frames, sink included, of which the most similar counts.
        descriptor: what is compared, the "mean" key or all "tokens" of the first frame.
        decide: at the "commit" of a block, so that for a while it stands in slow and fast memory,
            or on "overflow", when it leaves the fast memory.
        store: of a novel block the "first" frame, the whole "block", or the block "pooled" to
            half its rows and columns, which then takes a quarter of its time.
        interval: every how many blocks one is considered (paper: 2).
        per_layer: let every layer decide for itself, or all by their common similarity.
        bounded: place what is read within 0 ... max_frames - 1; else frames stay where they were.
    """

    sink_frames: int = 3
    slow_frames: int = 12
    fast_frames: int = 6
    threshold: float = 0.95
    novelty: Literal["previous", "kept"] = "previous"
    descriptor: Literal["mean", "tokens"] = "mean"
    decide: Literal["commit", "overflow"] = "commit"
    store: Literal["first", "block", "pooled"] = "first"
    interval: int = 2
    per_layer: bool = True
    bounded: bool = True

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.sink_frames < 0 or self.slow_frames < 0 or self.interval < 1:
            raise ValueError(
                f"sink_frames={self.sink_frames} and slow_frames={self.slow_frames} must not be "
                f"negative, interval={self.interval} must be at least 1"
            )

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
        plan = self._plan(intact(context), block)
        novel, state = self._judge(context, block, plan)
        layers = collect(
            self._fold(
                self._parts(past, new, block, plan), block, plan, novel[i] if novel else None
            )
            for i, (past, new) in enumerate(arrivals(context, block))
        )
        sink, stop = plan.old_sink + plan.new_sink, context.start + block.frames
        fast = (*context.frames[plan.old_sink :], *range(context.start + plan.new_sink, stop))
        frames = (*range(sink), *fast[plan.leave :])
        return Context(layers, stop, frames, block.grid, state)

    def read(self, context: Context, query: Query) -> Past:
        """All of it, less the fast frames for which a longer block leaves no room."""
        if not context.layers:
            return Past()
        tokens = context.tokens_per_frame
        sink = min(context.start, self.sink_frames)
        fast = len(context.frames) - sink
        slow = context.layers[0].k.shape[1] - len(context.frames) * tokens
        fast_from = sink * tokens + slow
        drop = max(fast + query.frames - self.fast_frames, 0)
        layers: Sequence[LayerKV] = context.layers
        if drop:
            kept = (slice(fast_from), slice(fast_from + drop * tokens, None))
            layers = tuple(join([pick(layer, part) for part in kept]) for layer in layers)
        if not self.bounded:
            return Past(layers, float(context.start))
        times = self._times(context, sink, slow, fast - drop)
        placed = tuple(
            _close_up(layer, times, sink * tokens, fast_from, tokens) for layer in layers
        )
        return Past(placed, sink + slow / tokens + fast - drop)

    def _plan(self, context: Context, block: Block) -> _Plan:
        """Room is made for a coming block as long as this one."""
        old_sink = min(context.start, self.sink_frames)
        new_sink = min(block.frames, self.sink_frames - old_sink)
        held, arrived = len(context.frames) - old_sink, block.frames - new_sink
        leave = max(held + arrived - (self.fast_frames - block.frames), 0)
        candidate = slice(held, held + arrived) if self.decide == "commit" else slice(leave)
        stop = context.start + block.frames
        fast = (*context.frames[old_sink:], *range(context.start + new_sink, stop))
        first = fast[candidate][0] if fast[candidate] else None
        past = context.layers[0].k.shape[1] if context.layers else 0
        slow_tokens = past - len(context.frames) * block.tokens_per_frame
        fits = self.slow_frames * block.tokens_per_frame >= self._entry_tokens(block)
        considered = first is not None and first // block.frames % self.interval == 0 and fits
        return _Plan(old_sink, new_sink, slow_tokens, candidate, leave, considered)

    def _parts(self, past: LayerKV, new: LayerKV, block: Block, plan: _Plan) -> _Parts:
        tokens = block.tokens_per_frame
        sink, new_sink = plan.old_sink * tokens, plan.new_sink * tokens
        slow = pick(past, slice(sink, sink + plan.slow_tokens))
        fast_from = sink + plan.slow_tokens
        fast = join([pick(past, slice(fast_from, None)), pick(new, slice(new_sink, None))])
        candidate = slice(
            *(i * tokens for i in plan.candidate.indices(fast.k.shape[1] // tokens)[:2])
        )
        kept_sink = join([pick(past, slice(sink)), pick(new, slice(new_sink))])
        return _Parts(kept_sink, slow, fast, pick(fast, candidate))

    def _judge(
        self, context: Context, block: Block, plan: _Plan
    ) -> tuple[list[Bool[Tensor, " b"]] | None, tuple[Tensor, ...]]:
        """Whether the candidate is novel, per layer and sample, and the new state."""
        if self.novelty == "kept" and not plan.considered:
            return None, ()
        compared, described = [], []
        for i, new in enumerate(block.layers):
            past = context.layers[i] if context.layers else pick(new, slice(0))
            parts = self._parts(past, new, block, plan)
            if self.novelty == "kept":
                mine = self._describe(
                    self._entry(parts.candidate, block), self._stored_tokens(block.grid)
                )
                compared.append(likeness(mine, *self._kept(parts, block)))
                continue
            whole = new if self.decide == "commit" else parts.candidate
            if whole.k.shape[1] == 0:
                return None, context.state
            mine = self._describe(whole, block.tokens_per_frame)
            before = context.state[i][:, None] if context.state else mine[:, None][:, :0]
            compared.append(likeness(mine, before, None))
            described.append(mine)
        if not plan.considered:
            return None, tuple(described)
        if not self.per_layer:
            compared = [summed(compared)] * len(compared)
        return [cosine(one) < self.threshold for one in compared], tuple(described)

    def _fold(
        self, parts: _Parts, block: Block, plan: _Plan, novel: Bool[Tensor, " b"] | None
    ) -> LayerKV:
        slow = parts.slow
        if novel is not None:
            size = self._entry_tokens(block)
            entry = _padded(self._entry(parts.candidate, block), size)
            full = slow.k.shape[1] + size > self.slow_frames * block.tokens_per_frame
            waiting = slow if full else _padded(slow, slow.k.shape[1] + size)
            slow = _where(novel, join([pick(waiting, slice(size, None)), entry]), waiting)
        return join(
            [parts.sink, slow, pick(parts.fast, slice(plan.leave * block.tokens_per_frame, None))]
        )

    def _entry(self, candidate: LayerKV, block: Block) -> LayerKV:
        """What slow memory would store of the candidate."""
        if self.store == "first":
            return pick(candidate, slice(block.tokens_per_frame))
        return _pooled(candidate, block.grid) if self.store == "pooled" else candidate

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
        self, parts: _Parts, block: Block
    ) -> tuple[Float[Tensor, "b others width"], Bool[Tensor, "b others"]]:
        """Descriptors of the stored frames of sink and slow memory, and which of them count."""
        sink = _pooled(parts.sink, block.grid) if self.store == "pooled" else parts.sink
        kept = join([sink, parts.slow])
        frame = (-1, self._stored_tokens(block.grid))
        keys = kept.k.detach().unflatten(1, frame)
        described = keys.mean(2) if self.descriptor == "mean" else keys.flatten(2, 3)
        return described.flatten(2), validity(kept).unflatten(1, frame)[..., 0]

    def _times(self, context: Context, sink: int, slow: int, fast: int) -> Float[Tensor, "1 n"]:
        """Times of a context whose slow memory is full; a stored frame takes its share of time."""
        tokens, stored = context.tokens_per_frame, self._stored_tokens(context.grid)
        device = context.layers[0].k.device
        sink_at, slow_at, fast_at = (
            (torch.arange(length, device=device) // each) * (each / tokens)
            for length, each in ((sink * tokens, tokens), (slow, stored), (fast * tokens, tokens))
        )
        return torch.cat((sink_at, slow_at + sink, fast_at + sink + slow / tokens))[None]


def _close_up(layer: LayerKV, times: Tensor, sink: int, fast_from: int, tokens: int) -> LayerKV:
    """Place a layer, each sample's sink moved up to what its slow memory really holds."""
    if layer.valid is not None:
        empty = (~layer.valid[:, sink:fast_from]).sum(1, keepdim=True) / tokens
        times = times + F.pad(empty.expand(-1, sink), (0, times.shape[1] - sink))
    return at_times(layer, times)


def _padded(layer: LayerKV, tokens: int) -> LayerKV:
    """The layer with empty tokens before it, `tokens` in all."""
    missing = tokens - layer.k.shape[1]
    k, v, ids = (F.pad(x, (0, 0) * (x.ndim - 2) + (missing, 0)) for x in layer[:3])
    return LayerKV(k, v, ids, F.pad(validity(layer), (missing, 0), value=False))


def _where(chosen: Bool[Tensor, " b"], yes: LayerKV, no: LayerKV) -> LayerKV:
    """Per sample one layer or the other."""
    pairs = zip(yes[:3], no[:3], strict=True)
    k, v, ids = (torch.where(chosen.view(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in pairs)
    return LayerKV(k, v, ids, torch.where(chosen[:, None], validity(yes), validity(no)))


def _pooled(layer: LayerKV, grid: tuple[int, int]) -> LayerKV:
    """Frames at half the rows and columns: mean keys, values and positions."""

    def pool(x: Tensor) -> Tensor:
        flat = x.flatten(2).unflatten(1, (-1, *grid)).permute(0, 1, 4, 2, 3)
        small: Tensor = F.avg_pool2d(flat.flatten(0, 1), 2, ceil_mode=True)
        small = small.unflatten(0, flat.shape[:2]).permute(0, 1, 3, 4, 2)
        pooled: Tensor = small.flatten(1, 3).unflatten(-1, x.shape[2:])
        return pooled

    return LayerKV(pool(layer.k), pool(layer.v), pool(layer.ids))
