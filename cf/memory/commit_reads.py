"""What the commit pass may read of any memory, and what single denoising steps and layers may."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cf.memory.base import Query, join, pick, validity
from cf.memory.wrapper import Wrapper
from cf.types import Context, LayerKV, Live, Past


class Limit(NamedTuple):
    """What may be read: the sink or not, and how many of the newest frames; None: everything."""

    sink: bool = True
    frames: int | None = None


class Limits(NamedTuple):
    """Of one pass: for layers inside `layers` (None: all of them), and for the others."""

    inside: Limit
    outside: Limit
    layers: tuple[int, int] | None

    def of(self, layer: int) -> Limit:
        """What this layer may read."""
        within = self.layers is None or self.layers[0] <= layer < self.layers[1]
        return self.inside if within else self.outside


ALL = Limit()


@dataclass(frozen=True)
class CommitReads(Wrapper):
    """Remembers as `memory` does, but shows some passes less of it; positions stay.

    Commit Forcing (October 2026): the pass that reads a finished block into the context imprints
    what it reads on the keys and values that it leaves; let it read little, while denoising reads
    all. By default it reads the last three frames besides its own block and no sink, as published;
    `commit_frames=0` leaves it its own block alone. Steps and layers may be limited as well:
    denoising reads everything at `far_steps` in `far_layers`, and elsewhere `near_frames`.

    Attributes:
        commit_frames: newest remembered frames that the commit pass reads; None: all there are.
        commit_sink: whether it reads the sink of the memory within.
        commit_layers: layers (first, stop) where this holds; None: all.
        near_frames: newest remembered frames that a limited denoising read sees; None: all.
        near_sink: whether it sees the sink.
        far_steps: denoising steps (first, stop), from 0, at which a read is not limited; None: all.
        far_layers: layers (first, stop) in which it is not, at these steps; None: all.
    """

    commit_frames: int | None = 3
    commit_sink: bool = False
    commit_layers: Sequence[int] | None = None
    near_frames: int | None = None
    near_sink: bool = True
    far_steps: Sequence[int] | None = None
    far_layers: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("commit_frames", "near_frames"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("commit_layers", "far_steps", "far_layers"):
            bounds = getattr(self, name)
            if bounds is None:
                continue
            if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1]:
                raise ValueError(f"{name} must be [first, stop], got {list(bounds)}")
            object.__setattr__(self, name, tuple(bounds))
        limited = self.near_frames is not None or not self.near_sink
        if limited and self.far_steps is None and self.far_layers is None:
            raise ValueError(
                f"near_frames={self.near_frames} and near_sink={self.near_sink} limit nothing: "
                f"say by far_steps or far_layers what is not limited (far_steps=[0, 0]: nothing)"
            )

    def read(self, context: Context, query: Query) -> Past:
        """What the memory within shows, less what this pass may not see."""
        past, limits = self.memory.read(context, query), self._limits(query)
        everything = limits.inside == ALL and (limits.layers is None or limits.outside == ALL)
        if everything or not context.layers:
            return past
        tokens = context.tokens_per_frame
        first = context.first + self.memory.sink_frames
        sink = sum(frame < first for frame in context.frames) * tokens
        if past.live is not None:
            return past._replace(live=_limited(past.live, limits, sink, tokens))
        if past.bias is not None:  # one for all layers, so that these must stay of one length
            hidden = [_hidden(x, limits.of(i), sink, tokens) for i, x in enumerate(past.layers)]
            return past._replace(layers=tuple(hidden))
        ids: dict[tuple[int, Limit], Tensor] = {}
        layers = []
        for i, layer in enumerate(past.layers):
            cut = _cut(layer, limits.of(i), sink, tokens)
            same = ids.setdefault((id(layer.ids), limits.of(i)), cut.ids)
            layers.append(cut._replace(ids=same))
        return past._replace(layers=tuple(layers) if any(x.k.shape[1] for x in layers) else ())

    def read_key(self, query: Query) -> Hashable:
        """Reads with equal limits are one."""
        return self.memory.read_key(query), self._limits(query)

    def _limits(self, query: Query) -> Limits:
        if query.phase == "commit":
            commit = Limit(self.commit_sink, self.commit_frames)
            return Limits(commit, ALL, _pair(self.commit_layers))
        near, steps = Limit(self.near_sink, self.near_frames), self.far_steps
        if steps is None or steps[0] <= query.step < steps[1]:
            return Limits(ALL, near, _pair(self.far_layers))
        return Limits(near, near, None)


def _pair(bounds: Sequence[int] | None) -> tuple[int, int] | None:
    return None if bounds is None else (bounds[0], bounds[1])


def _spans(n: int, limit: Limit, sink: int, tokens: int) -> list[slice]:
    """The tokens of a layer that may be read."""
    recent = n if limit.frames is None else limit.frames * tokens
    start = max(n - recent, min(sink, n))
    return [slice(min(sink, n) if limit.sink else 0), slice(start, None)]


def _cut(layer: LayerKV, limit: Limit, sink: int, tokens: int) -> LayerKV:
    if limit == ALL:
        return layer
    first, last = _spans(layer.k.shape[1], limit, sink, tokens)
    return join([pick(layer, first), pick(layer, last)]) if first.stop else pick(layer, last)


def _hidden(layer: LayerKV, limit: Limit, sink: int, tokens: int) -> LayerKV:
    if limit == ALL:
        return layer
    visible = torch.zeros_like(validity(layer))
    for part in _spans(layer.k.shape[1], limit, sink, tokens):
        visible[:, part] = True
    return layer._replace(valid=validity(layer) & visible)


def _limited(live: Live, limits: Limits, sink: int, tokens: int) -> Live:
    def read(i: int, *of_the_pass: Any) -> LayerKV:
        return _cut(live(i, *of_the_pass), limits.of(i), sink, tokens)

    return read
