"""First frames, a few older ones that are looked up for each block, and a window."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.bounds import check_least
from cf.memory.base import Query, SelectiveMemory, at_times, intact, join, pick, share_ids
from cf.memory.checks import check_positions, check_window
from cf.types import Block, Context, LayerKV, Past


@dataclass(frozen=True)
class Retrieval(SelectiveMemory):
    """Keeps a bank of older frames and shows each block those that a subclass finds relevant.

    Samples choose for themselves, and layers too where the subclass lets them. What is read lies as
    [sink | retrieved, in order of time | window].

    Attributes:
        sink_frames, window_frames: latent frames attended, the coming block in the window.
        retrieved_frames: older frames that a block attends besides.
        bank_frames: older frames to choose from. A full bank gives up the frame whose neighbours
            are nearest to one another, so that what is left spreads over the whole past. None keeps
            every frame, as the papers do; storage then grows with the video.
        apart_frames: least distance between two retrieved frames, where there is a choice.
        positions: "relative" counts the attended frames 0, 1, 2, ...; "absolute" leaves them.
    """

    forgets_for_ever: ClassVar[bool] = (
        False  # which frame a full bank gives up depends on the others
    )
    sink_frames: int = 3
    window_frames: int = 6
    retrieved_frames: int = 3
    bank_frames: int | None = 18
    apart_frames: int = 1
    positions: Literal["relative", "absolute"] = "relative"

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames, retrieved_frames=self.retrieved_frames)
        check_least(1, window_frames=self.window_frames)
        if self.bank_frames is not None and self.bank_frames < max(self.retrieved_frames, 2):
            raise ValueError(
                f"bank_frames={self.bank_frames} must be at least retrieved_frames="
                f"{self.retrieved_frames}, and 2"
            )
        check_positions(self.positions)

    @abstractmethod
    def note(self, block: Block) -> tuple[Tensor, ...]:
        """What to write down of each frame (axis 1) of a block, to find it again."""

    @abstractmethod
    def find(
        self, context: Context, query: Query, bank: Sequence[int], count: int
    ) -> list[Int[Tensor, "b count"]]:
        """Which of the frames at places `bank` of the context to read: for all layers, or each."""

    def times(self, context: Context, bank: Sequence[int]) -> Float[Tensor, "b f"]:
        """When the frames at these places of the context were made."""
        return copied_frames(context.layers[0].ids[:, :: context.tokens_per_frame, 0], bank)

    @property
    def max_frames(self) -> int | None:
        """Sink, retrieved frames and window; no bound if every frame is stored."""
        if self.bank_frames is None:
            return None
        return self.sink_frames + self.retrieved_frames + self.window_frames

    def check_block(self, block_frames: int) -> None:
        """The window holds the coming block."""
        check_window(self.window_frames, block_frames)

    def keep(self, frames: Int[Tensor, " f"], stop: int) -> Bool[Tensor, " f"]:
        """Sink, window, and of the others a bank that spreads over the past."""
        mask = (frames < self.sink_frames) | (frames >= stop - self.window_frames)
        bank = [int(i) for i in (~mask).nonzero().flatten()]
        at = [int(frames[i]) for i in bank]
        while self.bank_frames is not None and len(bank) > self.bank_frames:
            gaps = [after - before for before, after in zip(at, at[2:], strict=False)]
            spare = gaps.index(min(gaps)) + 1
            del bank[spare], at[spare]
        mask[bank] = True
        return mask

    def update(self, context: Context, block: Block) -> Context:
        """Append the block, drop what has no room, and keep the notes in step with the frames."""
        frames = (*intact(context).frames, *range(context.start, context.start + block.frames))
        notes, before = self.note(block), context.state
        if before and len(before) != len(notes):
            raise ValueError("this block lacks what earlier ones gave to find them by: its control")
        after = super().update(context, block)
        place_of = {frame: i for i, frame in enumerate(frames)}
        places = [place_of[frame] for frame in after.frames]
        if before:
            notes = tuple(torch.cat(pair, 1) for pair in zip(before, notes, strict=True))
        return replace(after, state=tuple(copied_frames(note.detach(), places) for note in notes))

    def flush(self, context: Context, recent_frames: int) -> Context:
        """Sink and recent frames, with their notes."""
        after = super().flush(context, recent_frames)
        places = [context.frames.index(frame) for frame in after.frames]
        return replace(after, state=tuple(copied_frames(note, places) for note in after.state))

    def read(self, context: Context, query: Query) -> Past:
        """Sink, what is found in the bank, and the window."""
        if not context.layers:
            return Past()
        stop = context.start + query.frames
        visible = self._kept(context.frames, stop, context.first)
        head = [i for i in visible if context.frames[i] < context.first + self.sink_frames]
        tail = [i for i in visible if context.frames[i] >= stop - self.window_frames]
        tail = [i for i in tail if i not in head]
        bank = visible[len(head) : len(visible) - len(tail)]
        count = min(self.retrieved_frames, len(bank))
        if count == len(bank):
            retrieved = [indices(bank, context.layers[0].k.device)[None]]
        else:
            retrieved = [places.sort(1).values for places in self.find(context, query, bank, count)]
        layers = _picked(context, head, retrieved, tail)
        return self._placed(layers, len(head) + count + len(tail), context)

    def _placed(self, layers: Sequence[LayerKV], frames: int, context: Context) -> Past:
        if self.positions == "absolute":
            return Past(layers, float(context.start))
        slots = torch.arange(frames, device=layers[0].k.device)
        times = slots.repeat_interleave(context.tokens_per_frame)[None].float()
        placed: dict[int, Tensor] = {}
        moved = []
        for layer in layers:
            ids = placed.get(id(layer.ids))
            ids = at_times(layer, times).ids if ids is None else ids
            placed[id(layer.ids)] = ids
            moved.append(layer._replace(ids=ids))
        return Past(tuple(moved), float(frames))


def indices(places: Sequence[int], device: torch.device) -> Int[Tensor, " n"]:
    """Rising integers on a device, made there, so that nothing waits for a copy."""
    first, stop = (places[0], places[-1] + 1) if places else (0, 0)
    if stop - first == len(places):
        return torch.arange(first, stop, device=device)
    return torch.cat([torch.arange(i, i + 1, device=device) for i in places])


def copied_frames(
    x: Float[Tensor, "b f *rest"], places: Sequence[int]
) -> Float[Tensor, "b n *rest"]:
    """Some frames of a note, in storage of their own."""
    return torch.cat([x[:, :0], *(x[:, i : i + 1] for i in places)], 1)


def best(
    relevance: Callable[[Sequence[Int[Tensor, " b"]]], Float[Tensor, "b f"]],
    times: Float[Tensor, "b f"],
    count: int,
    apart: int,
) -> Int[Tensor, "b count"]:
    """The most relevant of some frames, one after the other, as places among them.

    Args:
        relevance: of every frame, given which were taken before.
        times: of every frame.
        count: how many are taken.
        apart: a frame nearer than this to one taken is only taken where no other is left.
    """
    choices: list[Tensor] = []
    blocked = torch.zeros_like(times)
    for _ in range(count):
        choices.append((relevance(choices) + blocked).argmax(1))
        distance = (times - times.gather(1, choices[-1][:, None])).abs()
        blocked = blocked.masked_fill(distance < apart, -1e6).masked_fill(distance == 0, -torch.inf)
    return torch.stack(choices, 1)


def _picked(
    context: Context, head: Sequence[int], retrieved: Sequence[Tensor], tail: Sequence[int]
) -> list[LayerKV]:
    """Every layer's frames at these places; the found ones per sample, and maybe per layer."""
    tokens = context.tokens_per_frame
    ends = [[slice(i * tokens, (i + 1) * tokens) for i in part] for part in (head, tail)]
    layers = []
    for i, layer in enumerate(context.layers):
        places = retrieved[i if len(retrieved) > 1 else 0].expand(layer.k.shape[0], -1)
        before, after = ([pick(layer, part) for part in parts] for parts in ends)
        layers.append(join([*before, _gathered(layer, places, tokens), *after]))
    return list(share_ids(layers)) if len(retrieved) == 1 else layers


def _gathered(layer: LayerKV, places: Int[Tensor, "b count"], tokens: int) -> LayerKV:
    """Each sample's own frames of a layer."""
    rows = torch.arange(places.shape[0], device=places.device)[:, None]

    def gather(x: Tensor) -> Tensor:
        gathered: Tensor = x.unflatten(1, (-1, tokens))[rows, places]
        return gathered.flatten(1, 2)

    k, v, ids, valid = layer
    return LayerKV(gather(k), gather(v), gather(ids), None if valid is None else gather(valid))
