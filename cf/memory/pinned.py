"""Any memory, and besides it key-frames that are never forgotten, at times of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import Query, at_times, join, share_ids
from cf.memory.wrapper import Wrapper
from cf.types import Block, Context, LayerKV, Live, Past


@dataclass(frozen=True)
class Pinned(Wrapper):
    """Remembers as `memory` does, and keeps the key-frames that `pin` gives a context.

    A key-frame belongs to a latent frame of the video, and stands in RoPE time where that frame
    would: as far before the coming block as it is in the video. No network was trained at such
    distances, so it never stands further than `reach_frames` before the block; those that would
    share this place stand one frame apart. It is read from the block on that holds its frame, or
    from `ahead_frames` before, and for ever after. A context without key-frames is as `memory`
    leaves it. Put it around other wrappers, which count tokens from the first.

    Attributes:
        key_frames: the most that a context is given.
        reach_frames: latent frames; None: where they are in the video, however far that is.
        ahead_frames: latent frames by which a key-frame is read before its block; most students
            never saw a frame that comes after their block.
    """

    key_frames: int = 4
    reach_frames: int | None = 21
    ahead_frames: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(1, key_frames=self.key_frames)
        check_least(1, reach_frames=1 if self.reach_frames is None else self.reach_frames)
        check_least(0, ahead_frames=self.ahead_frames)

    @property
    def max_frames(self) -> int | None:
        """Those of the memory within, and the key-frames."""
        within = self.memory.max_frames
        return None if within is None else within + self.key_frames

    def pin(self, context: Context, block: Block, at: Sequence[int]) -> Context:
        """The context with these key-frames in place of those before.

        Args:
            context: of this memory; it shares its layers with the one that is returned.
            block: the key-frames as a network read them, each by itself.
            at: the latent frame of the video that each belongs to, rising.

        Raises:
            ValueError: there are more than `key_frames`, or they do not rise.
        """
        if len(at) != block.frames or len(at) > self.key_frames:
            raise ValueError(
                f"{block.frames} key-frames at {list(at)} are pinned, and key_frames="
                f"{self.key_frames}"
            )
        if any(a >= b for a, b in pairwise(at)):
            raise ValueError(f"key-frames must be at rising latent frames, got {list(at)}")
        pins = [x.detach().clone() for layer in block.layers for x in (layer.k, layer.v)]
        ids = block.layers[0].ids.expand(pins[0].shape[0], -1, -1).clone()
        inner, _ = _parted(context)
        # Frames are kept on the CPU, so that nothing waits for a GPU to say them.
        return _joined(inner, (*pins, ids, torch.tensor(at)))

    def update(self, context: Context, block: Block) -> Context:
        """As the memory within."""
        inner, pins = _parted(context)
        return _joined(self.memory.update(inner, block), pins)

    def read(self, context: Context, query: Query) -> Past:
        """What the memory within shows, after the key-frames that are due."""
        inner, pins = _parted(context)
        past = self.memory.read(inner, query)
        if not pins:
            return past
        places = self._places(pins[-1].tolist(), context.start, query.frames)
        if not places:
            return past
        layers = _placed(pins, places, past.start)
        if past.live is not None:
            return past._replace(live=_before(past.live, layers))
        bias = past.bias
        if bias is not None:
            spared = bias.new_zeros(bias.shape[0], layers[0].k.shape[1])
            bias = torch.cat((spared, bias), 1)
        if past.layers:
            layers = [join(parts) for parts in zip(layers, past.layers, strict=True)]
        return past._replace(layers=tuple(_alike(layers, past.layers)), bias=bias)

    def noisy(self, context: Context, block: Block) -> Context:
        """As the memory within."""
        inner, pins = _parted(context)
        after = self.memory.noisy(inner, block)
        return context if after is inner else _joined(after, pins)

    def flush(self, context: Context, recent_frames: int) -> Context:
        """As the memory within; key-frames stay."""
        inner, pins = _parted(context)
        return _joined(self.memory.flush(inner, recent_frames), pins)

    def restart(self, context: Context, start: int) -> Context:
        """As the memory within; key-frames stay."""
        inner, pins = _parted(context)
        return _joined(self.memory.restart(inner, start), pins)

    def _places(self, at: list[int], start: int, frames: int) -> dict[int, float]:
        """RoPE time, from the block's beginning, of each key-frame that is read, by its number."""
        places: dict[int, float] = {}
        nearest = float("inf")
        for i in reversed(range(len(at))):
            away = at[i] - start
            if away >= frames + self.ahead_frames:
                continue
            reach = away if self.reach_frames is None else max(away, -self.reach_frames)
            nearest = min(reach, nearest - 1)
            places[i] = float(nearest)
        return dict(sorted(places.items()))


def _parted(context: Context) -> tuple[Context, tuple[Tensor, ...]]:
    """The context of the memory within, and the key-frames: keys, values, tokens' places, frames.

    The last tensor of a state says by its shape how many of those before it are key-frames'.
    """
    if not context.state:
        return context, ()
    pins = context.state[-1].shape[0]
    first = len(context.state) - 1 - pins
    return replace(context, state=context.state[:first]), context.state[first:-1]


def _joined(context: Context, pins: tuple[Tensor, ...]) -> Context:
    if not pins and not context.state:
        return context
    return replace(context, state=(*context.state, *pins, torch.zeros(len(pins), 0)))


def _placed(pins: tuple[Tensor, ...], places: dict[int, float], start: float) -> list[LayerKV]:
    """The key-frames that are read, layer by layer, in RoPE time."""
    *tensors, ids, at = pins
    tokens = ids.shape[1] // len(at)
    span = slice(min(places) * tokens, (max(places) + 1) * tokens)
    times = torch.tensor([start + place for place in places.values()], device=ids.device)
    times = times.to(ids.dtype).repeat_interleave(tokens)[None]
    pairs = zip(tensors[::2], tensors[1::2], strict=True)
    layers = (LayerKV(k[:, span], v[:, span], ids[:, span]) for k, v in pairs)
    return list(share_ids(at_times(layer, times) for layer in layers))


def _alike(layers: Sequence[LayerKV], before: Sequence[LayerKV]) -> list[LayerKV]:
    """Let layers whose tokens stand alike share one tensor of positions, as they did before."""
    shared: dict[int, Tensor] = {}
    if not before:
        return list(layers)
    pairs = zip(layers, before, strict=True)
    return [layer._replace(ids=shared.setdefault(id(was.ids), layer.ids)) for layer, was in pairs]


def _before(live: Live, pinned: Sequence[LayerKV]) -> Live:
    def read(i: int, new: LayerKV, q: Tensor) -> LayerKV:
        return join([pinned[i], live(i, new, q)])

    return read
