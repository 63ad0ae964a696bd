"""Peers' memories against their index arithmetic, written out once more as plain lists."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from memories import fold, frames_of, read
from tiny import block, conditioning
from torch import Tensor

from cf.memory.anchor import Anchor
from cf.memory.base import Memory, Query
from cf.memory.deep_sink import DeepSink
from cf.memory.ema_sink import EmaSink
from cf.memory.memrope import MemRope
from cf.memory.participative import Participative
from cf.memory.sliding import Sliding
from cf.models.rope import rotate, rotation
from cf.types import Block, Context, LayerKV, Past

AXES = (2, 2, 0)


def rope(x: Tensor, ids: Tensor) -> Tensor:
    return rotate(x, rotation(ids, AXES, 100.0))


def asking(frames: int, seed: int, **sizes: Any) -> Block:
    """A block whose memory may ask for queries."""
    made = block(frames, seed=seed, **sizes)
    return Block(made.layers, made.frames, made.grid, made.queries, rotate=rope)


def blocks(frames: int, count: int, **sizes: Any) -> list[Block]:
    return [asking(frames, seed, grid=(1, 1), **sizes) for seed in range(count)]


def ring(size: int, sink: int, frames: int, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Slots of a cache when each block comes, its own frames last; and what it has driven out."""
    cache: list[int] = []
    for start in range(0, frames * count, frames):
        out = max(len(cache) + frames - size, 0)
        gone, cache = cache[sink : sink + out], cache[:sink] + cache[sink + out :]
        cache += range(start, start + frames)
        yield cache, gone


def distances(past: Past, frames: int) -> list[float]:
    """Of the first layer's keys, the block's own last, to where the block begins."""
    held = (past.layers[0].ids[0, :, 0] - past.start).tolist() if past.layers else []
    return [*held, *range(frames)]


@pytest.mark.parametrize(("frames", "size", "sink"), [(3, 6, 1), (3, 12, 3), (1, 7, 2), (3, 8, 2)])
@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_sliding_is_a_ring(frames: int, size: int, sink: int, positions: Any) -> None:
    policy, context = Sliding(sink, size - sink, positions), Context()
    for each, (slots, _) in zip(blocks(frames, 9), ring(size, sink, frames, 9), strict=True):
        assert [*context.frames, *range(context.start, context.start + frames)] == slots
        past = read(policy, context, frames)
        absolute = [slot - context.start for slot in slots]
        relative = [i - len(slots) + frames for i in range(len(slots))]
        expected = absolute if positions == "absolute" else relative
        assert distances(past, frames) == expected
        context = policy.update(context, each)


@pytest.mark.parametrize(("size", "sink"), [(6, 1), (8, 1), (7, 2), (7, 0), (12, 3)])
def test_infinity_rope_as_coded(size: int, sink: int) -> None:
    """Keys at their slots, queries at the current frame or at the end of a full window."""
    policy, context = Sliding(sink, size - sink, "relative", as_released=True), Context()
    for each, (slots, _) in zip(blocks(3, 8), ring(size, sink, 3, 8), strict=True):
        past = read(policy, context)
        if past.layers:
            times = past.layers[0].ids[0].tolist()
            assert [time for time, _, _ in times] == list(range(len(slots) - 3))
            assert past.start == len(slots) - 3
            assert past.query_start == (context.start if context.start < size else size - 3)
        context = policy.update(context, each)


def test_infinity_rope_without_a_sink_leaves_its_first_slot_unrotated() -> None:
    policy = Sliding(0, 6, "relative", as_released=True)
    blocks_ = [block(3, seed=i) for i in range(4)]
    grid = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert read(policy, fold(policy, blocks_[:1])).layers[0].ids[0, :4, 1:].tolist() == grid
    ids = read(policy, fold(policy, blocks_)).layers[0].ids[0]
    assert ids[:4].tolist() == [[0.0, 0.0, 0.0]] * 4
    assert ids[4:8].tolist() == [[1.0, *at] for at in grid]


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize(
    ("frames", "size", "sink"), [(3, 21, 10), (3, 12, 5), (3, 14, 5), (1, 8, 3)]
)
def test_deep_sink(frames: int, size: int, sink: int, as_released: bool) -> None:
    """The released rotations: none at the first overflow, then by what the wanted start moves."""
    policy, context, base, at = DeepSink(sink, size - sink, as_released), Context(), None, 0
    for each, (slots, gone) in zip(blocks(frames, 14), ring(size, sink, frames, 14), strict=True):
        start = context.start
        if gone:
            wanted = start - (len(slots) - sink) - sink
            at += 0 if base is None else wanted - base
            base = wanted
        moved = [at + i if i < sink else slot for i, slot in enumerate(slots)]
        if not as_released:
            moved = [slots[-1] + 1 - len(slots) + i for i in range(len(slots))]
        assert distances(read(policy, context, frames), frames) == [m - start for m in moved]
        context = policy.update(context, each)


def test_the_hole_of_the_released_deep_sink_is_a_block() -> None:
    for as_released, gap in ((True, 4), (False, 1)):
        policy = DeepSink(10, 11, as_released)
        times = frames_of(policy, fold(policy, blocks(3, 12)))
        assert [b - a for a, b in pairwise(times)] == [1] * 9 + [gap] + [1] * 7


@pytest.mark.parametrize(("frames", "size", "sink"), [(3, 9, 3), (3, 8, 3), (1, 6, 3), (2, 9, 3)])
def test_averaging_sink_as_coded(frames: int, size: int, sink: int) -> None:
    made = blocks(frames, 10)
    keys = torch.cat([each.layers[0].k for each in made], 1)
    policy, context = EmaSink(sink, size - sink, 0.9, as_released=True), Context()
    held = keys[:, :0]
    for each, (slots, gone) in zip(made, ring(size, sink, frames, 10), strict=True):
        if gone:
            average = held[:, :sink].clone()
            if len(gone) == sink:
                average = 0.9 * average + 0.1 * keys[:, gone]
            else:
                average[:, : len(gone)] = keys[:, gone[:sink]]
            held = torch.cat((average, keys[:, slots[sink:]]), 1)
        else:
            held = keys[:, slots]
        past = read(policy, context, frames)
        if past.layers:
            torch.testing.assert_close(past.layers[0].k, held[:, :-frames])
        assert distances(past, frames) == [i - len(slots) + frames for i in range(len(slots))]
        context = policy.update(context, each)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_every_frame_that_leaves_is_averaged_into_the_sink(frames: int) -> None:
    """With weights that do not depend on the length of blocks; and as coded for blocks of 3."""
    made = blocks(1, 24)
    keys = torch.cat([each.layers[0].k for each in made], 1)
    policy = EmaSink(3, 6, 0.9)
    joined = [
        Block(
            (LayerKV(keys[:, i : i + frames], keys[:, i : i + frames], place(frames)),),
            frames,
            (1, 1),
        )
        for i in range(0, 24, frames)
    ]
    context = fold(policy, joined)
    expected = list(keys[:, :3].unbind(1))
    for frame in range(3, 24 - 6 + frames):
        expected[frame % 3] = 0.9 * expected[frame % 3] + 0.1 * keys[:, frame]
    torch.testing.assert_close(context.layers[0].k[:, :3], torch.stack(expected, 1))


def place(frames: int) -> Tensor:
    return torch.stack((torch.arange(frames), *[torch.zeros(frames)] * 2), -1)[None].float()


def test_an_average_in_half_precision_still_moves() -> None:
    """A thousand steps of .001 towards 1; in bfloat16 none of them would be seen."""
    layer = LayerKV(*torch.ones(2, 1, 1, 1, 4).bfloat16(), place(1))
    zero = layer._replace(k=0 * layer.k, v=0 * layer.v)
    for policy, reached in ((EmaSink(1, 2), 0.632), (EmaSink(1, 2, as_released=True), 0.001)):
        context = policy.update(Context(), Block((zero,), 1, (1, 1)))
        for _ in range(1001):
            context = policy.update(context, Block((layer,), 1, (1, 1)))
        mean = float(context.layers[0].k[:, 0].float().mean())
        if policy.as_released:
            assert mean < 0.63 - 0.1
        else:
            assert mean == pytest.approx(reached, abs=0.01)


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("average", ["frame", "position"])
def test_memrope(average: Any, as_released: bool) -> None:
    """As coded, the averages overwrite frames 3 and 4 and begin with 5 to 7."""
    made = [block(3, seed=seed) for seed in range(9)]
    keys = torch.cat([each.layers[0].k for each in made], 1).unflatten(1, (27, 4))
    policy = MemRope(average=average, as_released=as_released)

    def mean(first: int, stop: int) -> Tensor:
        frames = keys[:, first:stop].mean(1)
        return frames.mean(1, keepdim=True).expand_as(frames) if average == "frame" else frames

    slow = fast = mean(5 if as_released else 3, 8)
    context = fold(policy, made[:4])
    for start in range(12, 27, 3):
        if start > 12:
            slow, fast = (
                (1 - weight) * old + weight * mean(start - 7, start - 4)
                for old, weight in ((slow, 0.01), (fast, 0.1))
            )
        past = read(policy, context)
        expected = [*keys[:, :3].unbind(1), slow, fast, *keys[:, start - 4 : start].unbind(1)]
        torch.testing.assert_close(past.layers[0].k, torch.cat(expected, 1))
        assert past.layers[0].ids[0, ::4, 0].tolist() == list(range(9))
        assert past.start == 9
        context = policy.update(context, made[start // 3])


def test_memrope_forgets_nothing_from_the_start() -> None:
    """A change to any frame that has left is felt."""
    policy = MemRope()
    made = [block(3, seed=seed, grid=(1, 1)) for seed in range(4)]
    for each in made:
        each.layers[0].k.requires_grad_()
    fold(policy, made).layers[0].k[:, 3].sum().backward()
    felt = torch.cat([each.layers[0].k.grad.abs().sum((0, 2, 3)) for each in made])
    assert (felt > 0).tolist() == [3 <= frame <= 7 for frame in range(12)]


# Participative compression


def tokens_of(past: Past, own: Block, policy: Memory) -> LayerKV:
    if past.live is not None:
        return past.live(0, own.layers[0], own.queries[0])
    return past.layers[0]


def peer_pass(
    cache: dict[str, Any], own: Block, start: int, first: bool, sizes: tuple[int, int, int, int]
) -> tuple[Tensor, Tensor]:
    """One attention call of the released code over a cache of tokens: their keys and places.

    Args:
        sizes: tokens of the sink, of a compressed cache, of the recent queries, of a full cache.
    """
    sink, budget, recent, size = sizes
    layer, own_tokens = own.layers[0], own.layers[0].k.shape[1]
    at = layer.ids[0].double() + torch.tensor([start, 0, 0])
    queries = rope(own.queries[0], at[None].float())[0]
    cache["q"] = torch.cat((cache["q"], queries))[-recent:]
    old = len(cache["k"]) if first else len(cache["k"]) - own_tokens
    k = torch.cat((cache["k"][:old], layer.k[0]))
    true = torch.cat((cache["true"][:old], at))
    uses = torch.cat((cache["uses"][:old], torch.zeros(own_tokens)))
    if first and old + own_tokens > size:
        turned = rope(k[None], true[None].float())[0]
        score = (turned * cache["q"].sum(0)).sum((1, 2))[sink : len(k) - recent]
        score[uses[sink : len(k) - recent] >= 7] = -torch.inf
        best = sink + score.topk(budget - sink - recent).indices.sort().values
        uses[best] += 1
        keep = torch.cat((torch.arange(sink), best, torch.arange(len(k) - recent, len(k))))
        k, true, uses = k[keep], true[keep], uses[keep]
        per_frame = own_tokens // own.frames
        wanted = start - budget // per_frame
        cache["sink"] += (
            21 - budget // per_frame if cache["base"] is None else wanted - cache["base"]
        )
        cache["base"] = wanted
    cache.update(k=k, true=true, uses=uses)
    placed = true.clone()
    placed[:sink, 0] += cache["sink"]
    return k[:-own_tokens], placed[:-own_tokens] - torch.tensor([start, 0, 0])


def test_participative_as_coded() -> None:
    """Window of 16 and 19 frames by turns; every pass asks, the first of a block compresses."""
    policy, context, lengths = Participative(as_released=True), Context(), []
    empty = torch.zeros(0, 1, 4).double()
    cache: dict[str, Any] = {"k": empty, "true": empty[:, 0, :3], "uses": torch.zeros(0)}
    cache |= {"q": empty, "sink": 0, "base": None}
    for start in range(0, 60, 3):
        for i in range(3):
            own = asking(3, seed=3 * start + i)
            commit = i == 2
            phase: Any = "commit" if commit else "denoise"
            past = policy.read(context, Query(3, conditioning(1), phase, i, rope))
            k, places = peer_pass(cache, own, start, i == 0, (40, 64, 16, 84))
            if start:
                seen = tokens_of(past, own, policy)
                assert torch.equal(seen.k[0], k)
                ours = seen.ids[0].double() - torch.tensor([past.start, 0, 0])
                torch.testing.assert_close(ours, places)
            context = policy.update(context, own) if commit else policy.noisy(context, own)
        lengths.append(len(k) // 4 + 3)
    assert lengths[6:] == [21] + [16, 19] * 6 + [16]


@pytest.mark.parametrize("frames", [1, 3])
def test_participative_keeps_what_is_asked_for_most(frames: int) -> None:
    """By the queries of the last four frames, where keys and queries stand when they are read."""
    policy = Participative(4, 2, 4, 12)
    made = [asking(frames, seed) for seed in range(20)]
    context, held, queries = Context(), torch.zeros(0, 1, 4).double(), torch.zeros(0, 1, 4).double()
    places = torch.zeros(0, 2).double()
    for each in made:
        context = policy.update(context, each)
        layer = each.layers[0]
        held, queries = (
            torch.cat((held, layer.k[0])),
            torch.cat((queries, each.queries[0][0]))[-16:],
        )
        places = torch.cat((places, layer.ids[0, :, 1:].double()))
        if len(held) // 4 + frames > 12:
            slots = torch.arange(len(held) // 4).repeat_interleave(4)[:, None].double()
            at = torch.cat((slots, places), 1)[None].float()
            asked = rope(queries[None], at[:, -len(queries) :])[0].sum(0)
            score = (rope(held[None], at)[0] * asked).sum((1, 2))
            stop = len(held) - (4 - frames) * 4
            best = 16 + score[16:stop].topk(8).indices.sort().values
            keep = torch.cat((torch.arange(16), best, torch.arange(stop, len(held))))
            held, places = held[keep], places[keep]
        past = read(policy, context, frames)
        assert torch.equal(past.layers[0].k[0], held)
        assert past.layers[0].ids[0, ::4, 0].tolist() == list(range(len(held) // 4))
        assert torch.equal(past.layers[0].ids[0, :, 1:].double(), places)


def test_a_token_may_be_kept_so_often_and_no_more() -> None:
    """All queries ask for the first token after the sink."""
    for limit, present in ((3, 3), (0, 30)):
        policy, context, times = Participative(1, 1, 2, 4, max_reuse=limit), Context(), 0
        for seed in range(33):
            made = block(1, seed=seed, grid=(1, 1))
            wanted = made.layers[0].k.new_tensor([1.0, 0, 0, 0])
            made.layers[0].k.copy_((10.0 if seed == 1 else 0.01) * wanted.expand(1, 1, 1, 4))
            made.queries[0].copy_(wanted.expand(1, 1, 1, 4))
            context = policy.update(context, made)
            times += int(seed >= 3 and 10.0 in context.layers[0].k)
        assert times == present


def test_participative_says_that_it_needs_queries() -> None:
    made = block(3)
    with pytest.raises(ValueError, match="queries, which this block came without"):
        Participative().update(Context(), Block(made.layers, 3, made.grid))


# The cache of Rolling Forcing


def test_anchor_as_coded() -> None:
    """24 slots; a window of 15 sees [anchor, 3 between], a commit the last 21 slots."""
    policy, context = Anchor(as_released=True), Context()
    for each, (slots, _) in zip(blocks(3, 14), ring(24, 3, 3, 14), strict=True):
        held, start = slots[:-3], context.start
        window = policy.read(context, Query(15, conditioning(1), "denoise", 0))
        commit = policy.read(context, Query(3, conditioning(1), "commit", 5))
        if start:
            working = held[3:][-3:]
            anchor = [i - len(working) - 3 for i in range(3)]
            expected = [*anchor, *(frame - start for frame in working)]
            assert distances(window, 0) == expected
            assert distances(commit, 0) == [frame - start for frame in slots[-21:-3]]
        context = policy.update(context, each)
    assert commit.layers[0].k.shape[1] == 18


def test_anchor_is_there_for_every_read() -> None:
    policy = Anchor()
    context = fold(policy, blocks(3, 14))
    for frames, between in ((15, 3), (3, 15)):
        past = read(policy, context, frames)
        first = context.layers[0].k[:, :3]
        assert torch.equal(past.layers[0].k[:, :3], first)
        assert distances(past, 0) == [i - 3 - between for i in range(3 + between)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepSink(-1, 3), "sink_frames=-1"),
        (lambda: EmaSink(3, 0), "window_frames=0"),
        (lambda: EmaSink(decay=1.5), r"decay must lie in \[0, 1\], got 1.5"),
        (lambda: MemRope(slow=-0.1), "slow=-0.1 must lie in 0..1"),
        (lambda: Participative(capacity_frames=15), "capacity_frames=15 is less than .* 16 frames"),
        (lambda: Participative(top_frames=0), "top_frames=0"),
        (lambda: Participative(recent_frames=3).check_block(3), "recent_frames=3 must be larger"),
        (lambda: MemRope(window_frames=3).check_block(3), "window_frames=3 must be larger"),
        (lambda: Anchor(3, 2).check_block(3), "window_frames=2 is smaller than a block of 3"),
    ],
)
def test_impossible_sizes_name_the_value(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
