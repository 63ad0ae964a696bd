"""What a memory is: a frozen value that folds finished blocks into a context and reads it back."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.memory.checks import check_forgetting, kept_again, kept_frames
from cf.memory.pieces import cut_tokens, join_tokens
from cf.memory.room import Owned, can_shift, joined, shifted, token_stretches
from cf.types import Block, Conditioning, Context, LayerKV, Past, Rotate, later


class Query(NamedTuple):
    """Who reads: the coming block.

    Attributes:
        frames: its latent frames.
        phase: whether it is being denoised, or read once more, finished, into the context.
        step: the denoising step; the number of steps in the commit phase.
        rotate: how the reader turns keys and queries, for a memory that scores as it attends.
    """

    frames: int
    cond: Conditioning
    phase: Literal["denoise", "commit"] = "denoise"
    step: int = 0
    rotate: Rotate | None = None


class Memory(ABC):
    """What to remember. Holds hyper-parameters only; every tensor lives in the context.

    Under autograd nothing is changed in place. A context that was made in inference mode is
    consumed by `update`, so that old and new never exist at once; `fork` it to keep it.

    Attributes:
        needs_queries: blocks must come with their queries.
        sink_frames: first frames that are kept for ever.
    """

    needs_queries: ClassVar[bool] = False
    sink_frames: int = 0

    @property
    @abstractmethod
    def max_frames(self) -> int | None:
        """The most latent frames that are attended, the coming block included; None: no bound."""

    @property
    def remembers_noisy(self) -> bool:
        """Whether `noisy` changes anything; if not, the blocks that it is given have no layers."""
        return type(self).noisy is not Memory.noisy

    @abstractmethod
    def update(self, context: Context, block: Block) -> Context:
        """The context after a finished block."""

    def read(self, context: Context, query: Query) -> Past:
        """What the coming block sees of the context, and where in RoPE time: all, in place."""
        return Past(context.layers, float(context.start))

    def as_mask(self) -> tuple[int | None, int] | None:
        """(window_frames, sink_frames) of the attention mask that reads the same at once, if any.

        A mask sees the whole video in one forward, every frame where it was; None as window: no
        limit.
        """
        return None

    def noisy(self, context: Context, block: Block) -> Context:
        """The context after a denoising pass; only ports of code that remembers such change it."""
        return context

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Only the sink and the last `recent_frames` that are held, as if nothing else had been.

        Raises:
            ValueError: if it does not hold whole frames, so that this has no plain meaning.
        """
        if intact(context).layers and any(
            layer.k.shape[1] != len(context.frames) * context.tokens_per_frame
            for layer in context.layers
        ):
            raise ValueError(f"{type(self).__name__} does not hold whole frames; keep or recache")
        sink = context.sink(self.sink_frames)
        recent = min(recent_frames, len(context.frames) - sink)
        return ends(context, sink, recent)

    def restart(self, context: Context, start: int) -> Context:
        """What is kept of a context that is computed anew from `start` on: as a rule nothing."""
        return Context(start=start, first=start)

    def read_key(self, query: Query) -> Hashable:
        """Equal keys promise equal reads of one context, which are then prepared only once."""
        return ()

    def check_block(self, block_frames: int) -> None:  # noqa: B027  (most memories fit any block)
        """Raise a ValueError if blocks of this length do not fit the memory's sizes."""


@dataclass(frozen=True)
class SelectiveMemory(Memory):
    """Keeps whole frames, the same in every layer and sample; a subclass says which.

    Attributes:
        forgets_for_ever: `keep` never wants a frame back that it has dropped, so that what is held
            is `keep` of all frames. False: it depends on what is held, as of a bank that gives up
            one frame at a time.
    """

    forgets_for_ever: ClassVar[bool] = True

    @abstractmethod
    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """Which `frames` a block that ends before frame `stop` may read.

        Indices count from where remembering began: true ones, unless the past was recomputed.
        What is dropped is gone, so a frame that is dropped at one `stop` is not kept at a later
        one: what is held then is `keep` of all frames. It is never called without frames.
        """

    def update(self, context: Context, block: Block) -> Context:
        """Append the block and drop what the next one, taken to be as long, may not read."""
        all_frames, places = self.retained(context, block)
        tokens, old = block.tokens_per_frame, len(context.frames)
        before, after = [i for i in places if i < old], [i - old for i in places if i >= old]
        room = block.frames * tokens if torch.is_inference_mode_enabled() else 0
        arriving, owned = arrivals(context, block), intact(context).layers
        layers: Sequence[LayerKV]
        if room and can_shift(owned, block.layers, len(places) * tokens, room):
            assert isinstance(owned, Owned)
            layers = shifted(
                owned, arriving, token_stretches(before, tokens), token_stretches(after, tokens)
            )
        else:
            layers = collect(
                share_ids(
                    join(
                        [*chosen_frames(past, before, tokens), *chosen_frames(new, after, tokens)],
                        room,
                    )
                    for past, new in arriving
                ),
                room,
            )
        frames, start = tuple(all_frames[i] for i in places), context.start + block.frames
        return replace(context, layers=layers, start=start, frames=frames, grid=block.grid)

    def retained(self, context: Context, block: Block) -> tuple[tuple[int, ...], list[int]]:
        """True indices of the frames held once the block has arrived, and which of them stay."""
        stop = context.start + block.frames
        frames = (*context.frames, *range(context.start, stop))
        if context.start == context.first and self.forgets_for_ever:
            reads_all = type(self).read is SelectiveMemory.read  # else a part is read
            check_forgetting(self.keep, block.frames, self.max_frames if reads_all else None)
        return frames, self._kept(frames, stop + block.frames, context.first)

    def read(self, context: Context, query: Query) -> Past:
        """Everything held, less what a block longer than the last one may not see."""
        places = self._kept(context.frames, context.start + query.frames, context.first)
        return self.place(self.only(context, places), len(places), context)

    def only(self, context: Context, kept: Sequence[int]) -> Sequence[LayerKV]:
        """The layers with some of the held frames alone."""
        if len(kept) == len(context.frames):
            return context.layers
        tokens = context.tokens_per_frame
        return tuple(share_ids(join(chosen_frames(x, kept, tokens)) for x in context.layers))

    def place(self, layers: Sequence[LayerKV], frames: int, context: Context) -> Past:
        """Put the `frames` frames that are read into RoPE time; default: where they were."""
        return Past(layers, float(context.start))

    def _kept(self, frames: Sequence[int], stop: int, first: int) -> list[int]:
        choose = kept_again if self.forgets_for_ever else kept_frames
        return [*choose(self.keep, tuple(frames), stop, first)] if frames else []


def fork(context: Context) -> Context:
    """A context that survives when this one is consumed; shares its tensors, costs nothing."""
    if isinstance(context.layers, Owned):
        context.layers.shared = True
    return replace(context, layers=tuple(context.layers))


def intact(context: Context) -> Context:
    """The context itself.

    Raises:
        RuntimeError: if an update in inference mode has consumed it.
    """
    if any(layer is None for layer in context.layers):
        raise RuntimeError("this context was consumed by an update; fork() it before streaming on")
    return context


def ends(context: Context, head: int, tail: int) -> Context:
    """The context with its first `head` and last `tail` frames' worth of tokens alone."""
    if not context.layers:
        return context
    tokens, stop = context.tokens_per_frame, context.layers[0].k.shape[1]
    parts = (slice(head * tokens), slice(max(stop - tail * tokens, 0), None))
    layers = collect(
        share_ids(join([pick(layer, part) for part in parts]) for layer in context.layers)
    )
    frames = context.frames[:head] + context.frames[len(context.frames) - tail :]
    return replace(context, layers=layers, frames=frames)


def pieces(block: Block, lengths: Sequence[int]) -> Iterator[Block]:
    """The block as if it had arrived in pieces of these lengths."""
    tokens, start = block.tokens_per_frame, 0
    for frames in lengths:
        part = slice(start * tokens, (start + frames) * tokens)
        layers = [pick(layer, part) for layer in block.layers]
        layers = [layer._replace(ids=later(layer.ids, -start)) for layer in layers]
        queries = tuple(q[:, part] for q in block.queries)
        control = None if block.control is None else block.control[:, start : start + frames]
        layers = list(share_ids(layers))
        yield replace(block, layers=tuple(layers), frames=frames, queries=queries, control=control)
        start += frames


def arrivals(context: Context, block: Block) -> Iterator[tuple[LayerKV, LayerKV]]:
    """Each layer's (remembered, new) tokens, the new ones at their true frame indices."""
    intact(context)
    positions = {id(layer.ids): layer.ids for layer in block.layers}
    placed = {key: later(ids, context.start) for key, ids in positions.items()}
    for i, new in enumerate(block.layers):
        past = context.layers[i] if context.layers else pick(new, slice(0))
        if context.layers and isinstance(context.layers, list):
            context.layers[i] = None
        yield past, new._replace(ids=placed[id(new.ids)])
        del past


def collect(layers: Iterator[LayerKV], room: int = 0) -> Sequence[LayerKV]:
    """The layers of a new context, which in inference mode can be consumed one by one."""
    return Owned(layers, room) if torch.is_inference_mode_enabled() else tuple(layers)


def pick(layer: LayerKV, tokens: slice) -> LayerKV:
    """Some tokens of a layer, as views."""
    k, v, ids, valid = layer
    valid = None if valid is None else valid[:, tokens]
    return LayerKV(cut_tokens(k, tokens), cut_tokens(v, tokens), ids[:, tokens], valid)


def chosen_frames(layer: LayerKV, frames: Sequence[int], tokens: int) -> list[LayerKV]:
    """Some frames of a layer, as views of as few stretches as there are; at least an empty one."""
    full, runs = (0, layer.k.shape[1]), token_stretches(frames, tokens) or [(0, 0)]
    return [layer if run == full else pick(layer, slice(*run)) for run in runs]


def join(parts: Sequence[LayerKV], room: int = 0) -> LayerKV:
    """Layers one after the other, in storage of their own, with room behind the values."""
    k, v, ids = zip(*(part[:3] for part in parts), strict=True)
    k, v, ids = join_tokens(k), joined(v, room) if room else join_tokens(v), torch.cat(ids, 1)
    valid = None
    if any(part.valid is not None for part in parts):
        valid = torch.cat([validity(part) for part in parts], 1)
    return LayerKV(k, v, ids, valid)


def share_ids(layers: Iterable[LayerKV]) -> Iterator[LayerKV]:
    """Let layers that hold the same tokens share one tensor of positions, rotated only once."""
    ids = None
    for layer in layers:
        ids = layer.ids if ids is None else ids
        yield layer._replace(ids=ids)


def at_times(layer: LayerKV, times: Float[Tensor, "b n"]) -> LayerKV:
    """The same tokens at other times; rows and columns stay."""
    times = times.to(layer.ids).expand(layer.ids.shape[:2])
    return layer._replace(ids=torch.cat((times[..., None], layer.ids[..., 1:]), -1))


def side_by_side(
    layers: Sequence[LayerKV], frames: int, tokens: int, alike: bool = True
) -> tuple[LayerKV, ...]:
    """The layers' frames at times 0, 1, 2, ...; `alike` if all layers hold the same tokens."""
    if not layers:
        return ()
    slots = torch.arange(frames, device=layers[0].k.device)
    times = slots.repeat_interleave(tokens)[None].float()
    placed = (at_times(layer, times) for layer in layers)
    return tuple(share_ids(placed) if alike else placed)


def validity(layer: LayerKV) -> Bool[Tensor, "b n"]:
    """Which tokens count, spelled out."""
    if layer.valid is not None:
        return layer.valid
    return torch.ones(layer.k.shape[:2], dtype=torch.bool, device=layer.k.device)
