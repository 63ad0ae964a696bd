"""The contract of every memory in configs/memory, and the rules of each kind."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import MEMORIES, block, conditioning, memory
from torch import Tensor

from cf.memory.base import Memory, Query, fork
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.types import Block, Context, LayerKV, Past

NAMES = [file.stem for file in MEMORIES]
PLACED = ("infinity_rope", "sliding_relative", "slow_fast")
"""Those that promise positions within the frames that they attend."""
VARIANTS: dict[str, Memory] = {
    **{name: memory(name) for name in NAMES},
    "one block": Sliding(0, 3),
    "window of 4": Sliding(2, 4, "relative"),
    "kept, overflow": SlowFast(3, 4, 6, novelty="kept", decide="overflow", interval=1),
    "kept tokens, shared": SlowFast(
        1, 4, 5, novelty="kept", descriptor="tokens", per_layer=False, interval=1
    ),
    "block": SlowFast(3, 5, 6, store="block", interval=1),
    "pooled": SlowFast(3, 2, 6, store="pooled", novelty="kept", interval=1),
    "pooled overflow": SlowFast(2, 2, 4, store="pooled", decide="overflow", interval=1),
    "unbounded": SlowFast(3, 4, 6, bounded=False),
    "no slow": SlowFast(3, 0, 6),
    "no sink": SlowFast(0, 4, 3, interval=1),
}
every = pytest.mark.parametrize("policy", VARIANTS.values(), ids=VARIANTS.keys())


def read(policy: Memory, context: Context, frames: int = 3) -> Past:
    return policy.read(context, Query(frames, conditioning(1)))


def fold(policy: Memory, blocks: list[Block]) -> Context:
    context = Context()
    for each in blocks:
        context = policy.update(context, each)
    return context


def turned(*degrees: float) -> Tensor:
    """One key per sample, at these angles."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack((angle.cos(), angle.sin(), 0 * angle, 0 * angle), -1)


def mixed(count: int, batch: int = 3) -> list[Block]:
    """Blocks of two layers in which the first sample stands still and the last always changes."""
    blocks = []
    for i in range(count):
        made = block(3, batch=batch, layers=2, seed=i)
        layers = []
        for number, layer in enumerate(made.layers):
            still, slow = turned(0.0), turned(40.0 * (i // 2) + 15 * number)
            keys = (still.expand_as(layer.k[0]), slow.expand_as(layer.k[1]), *layer.k[2:])
            layers.append(layer._replace(k=torch.stack(keys)))
        blocks.append(replace(made, layers=tuple(layers)))
    return blocks


def sample(each: Block, index: int) -> Block:
    layers = tuple(LayerKV(*(x[index : index + 1] for x in layer[:3])) for layer in each.layers)
    return replace(each, layers=layers)


def counted(layer: LayerKV, index: int) -> list[Tensor]:
    """Keys, values and positions of one sample, without empty slots."""
    valid = slice(None) if layer.valid is None else layer.valid[index]
    return [x[index][valid] for x in layer[:3]]


def frames_of(policy: Memory, context: Context, index: int = 0, layer: int = 0) -> list[float]:
    """What times a sample reads in one layer, in order; for a grid of a single token."""
    return counted(read(policy, context).layers[layer], index)[2][:, 0].tolist()


# Every memory


@every
def test_newest_frame_is_kept(policy: Memory) -> None:
    context = Context()
    for i in range(12):
        arrived = block(3, seed=i)
        context = policy.update(context, arrived)
        if policy in (Sliding(0, 3), SlowFast(0, 4, 3, interval=1)):
            continue  # a window of one block has no room for anything but the coming one
        past = read(policy, context)
        assert torch.equal(past.layers[0].k[:, -4:], arrived.layers[0].k[:, -4:])
        assert torch.equal(past.layers[0].v[:, -4:], arrived.layers[0].v[:, -4:])


@every
def test_size_is_bounded_and_constant(policy: Memory) -> None:
    assert_bounded(policy, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_size_is_bounded_and_constant_for_long(name: str) -> None:
    assert_bounded(memory(name), 2000)


def assert_bounded(policy: Memory, updates: int) -> None:
    """In frames, the coming block included; what is attended, and what is stored."""
    if policy.max_frames is None:
        with torch.inference_mode():
            context = fold(policy, [block(3)] * 20)
        assert context.layers[0].k.shape[1] == 20 * 3 * 4
        return
    sizes, times, context = [], [], Context()
    arrivals = [block(3, seed=i) for i in range(7)]
    with torch.inference_mode():
        for i in range(updates):
            context = policy.update(context, arrivals[i % 7])
            past = read(policy, context)
            ids = past.layers[0].ids[..., 0]
            times.append((float(ids.min()) if ids.numel() else 0.0, past.start + 3))
            sizes.append((past.layers[0].k.shape[1], context.layers[0].k.shape[1]))
    assert max(attended for attended, _ in sizes) / 4 + 3 <= policy.max_frames
    assert len(set(sizes[30:])) == 1
    assert max(sizes) == sizes[-1]
    assert context.start == 3 * updates
    if policy in [memory(name) for name in PLACED]:
        assert min(first for first, _ in times) >= 0
        assert max(stop for _, stop in times) <= policy.max_frames


@every
def test_a_longer_block_sees_no_more_than_there_is_room_for(policy: Memory) -> None:
    """After frames that came one by one, the memory has kept more than a block of 3 may see."""
    if policy.max_frames is None:
        pytest.skip("no bound")
    context = fold(policy, [block(1, seed=i) for i in range(30)])
    past = read(policy, context)
    assert past.layers[0].k.shape[1] / 4 + 3 <= policy.max_frames
    assert read(policy, policy.update(context, block(3))).layers[0].k.shape[1] / 4 + 3 <= (
        policy.max_frames
    )


@every
def test_inputs_are_untouched(policy: Memory) -> None:
    """Under autograd; the same update can be done again, with the same result."""
    context = fold(policy, mixed(9))
    arrived = mixed(10)[-1]
    tensors = [x for layer in (*context.layers, *arrived.layers) for x in layer if x is not None]
    before = [x.clone() for x in (*tensors, *context.state)]
    first, second = (policy.update(context, arrived) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(before, (*tensors, *context.state), strict=True))
    assert_equal(first, second)


def assert_equal(one: Context, other: Context) -> None:
    assert (one.start, one.frames, one.grid) == (other.start, other.frames, other.grid)
    assert len(one.layers) == len(other.layers)
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)
    assert all(torch.equal(a, b) for a, b in zip(one.state, other.state, strict=True))


@every
def test_inference_storage_gives_the_same_bits(policy: Memory) -> None:
    with torch.inference_mode():
        consumed = fold(policy, mixed(14))
    assert_equal(consumed, fold(policy, mixed(14)))


@every
def test_a_consumed_context_says_so_and_a_forked_one_survives(policy: Memory) -> None:
    with torch.inference_mode():
        context = fold(policy, mixed(9))
        kept = fork(context)
        first = policy.update(context, mixed(10)[-1])
        with pytest.raises(RuntimeError, match="consumed by an update; fork"):
            policy.update(context, mixed(10)[-1])
        assert_equal(first, policy.update(kept, mixed(10)[-1]))
        assert_equal(first, policy.update(kept, mixed(10)[-1]))


@every
def test_samples_are_independent(policy: Memory) -> None:
    """A batch remembers what its samples alone do, though these keep different frames."""
    blocks = mixed(14)
    together = read(policy, fold(policy, blocks))
    for index in range(3):
        alone = read(policy, fold(policy, [sample(each, index) for each in blocks]))
        assert alone.start == together.start
        for mine, ours in zip(alone.layers, together.layers, strict=True):
            for a, b in zip(counted(mine, 0), counted(ours, index), strict=True):
                assert torch.equal(a, b)
    if isinstance(policy, SlowFast) and policy.slow_frames:
        (first, _), kept = (read(policy, fold(policy, blocks)).layers for _ in range(2))
        assert first.valid is not None
        sizes = [len(counted(layer, index)[0]) for layer in kept for index in range(3)]
        assert len(set(sizes)) > 1, "the samples were meant to decide differently"


@every
def test_what_is_remembered_is_differentiable(policy: Memory) -> None:
    """The gradient reaches each token as often as it is held: exactly the frames that are kept."""
    blocks = [block(3, seed=i, grid=(2, 2)) for i in range(8)]
    leaves = [x.requires_grad_() for each in blocks for x in each.layers[0][:2]]
    context = fold(policy, blocks)
    assert not any(x.requires_grad for x in context.state), "it would hold on to every block"
    past = read(policy, context)
    total = sum((x.sum() for layer in past.layers for x in layer[:2]), torch.zeros(()).double())
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    weight = sum(float(grad.sum()) for grad in grads if grad is not None)
    elements = sum(counted(layer, 0)[field].numel() for layer in past.layers for field in (0, 1))
    pooled = isinstance(policy, SlowFast) and policy.store == "pooled"
    assert weight == pytest.approx(elements)
    assert pooled or all(bool((g == g.round()).all()) for g in grads if g is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_is_a_value(name: str) -> None:
    policy = memory(name)
    again = replace(policy)  # type: ignore[type-var]
    assert again == policy
    assert hash(again) == hash(policy)
    assert [name for name in NAMES if memory(name) == policy] == [name]


@every
def test_an_empty_context_reads_as_nothing(policy: Memory) -> None:
    past = read(policy, Context())
    assert len(past.layers) == 0
    assert past.start == 0


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Sliding(0, 2), "window_frames=2 is smaller than a block of 3"),
        (SlowFast(fast_frames=2), "fast_frames=2 is smaller than a block of 3"),
        (SlowFast(slow_frames=2, store="block"), "slow_frames=2 cannot hold a whole block of 3"),
    ],
)
def test_blocks_that_do_not_fit_name_the_value(policy: Memory, message: str) -> None:
    policy.check_block(1)
    with pytest.raises(ValueError, match=message):
        policy.check_block(3)


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        (Sliding, {"sink_frames": -1}, "sink_frames=-1"),
        (Sliding, {"window_frames": 0}, "window_frames=0"),
        (SlowFast, {"sink_frames": -1}, "sink_frames=-1"),
        (SlowFast, {"slow_frames": -1}, "slow_frames=-1"),
        (SlowFast, {"interval": 0}, "interval=0"),
    ],
)
def test_impossible_sizes_name_the_value(
    kind: type[Sliding | SlowFast], sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**sizes)


# Full and sliding


def test_full_memory_keeps_everything_where_it_was() -> None:
    context = fold(Full(), [block(2, grid=(1, 1), seed=i) for i in range(50)])
    assert frames_of(Full(), context) == list(range(100))
    assert read(Full(), context).start == 100


@pytest.mark.parametrize(
    ("positions", "expected", "start"),
    [("absolute", [0, 1, 14, 15, 16, 17], 18), ("relative", [0, 1, 2, 3, 4, 5], 6)],
)
def test_sliding_positions(positions: Any, expected: list[int], start: int) -> None:
    policy = Sliding(2, 7, positions)
    blocks = [block(3, grid=(1, 1), seed=i) for i in range(6)]
    context = fold(policy, blocks)
    assert context.frames == (0, 1, 14, 15, 16, 17)
    assert frames_of(policy, context) == expected
    assert read(policy, context).start == start
    keys = torch.cat([each.layers[0].k for each in blocks], 1)
    assert torch.equal(read(policy, context).layers[0].k, keys[:, list(context.frames)])


def test_rows_and_columns_stay() -> None:
    policy = Sliding(1, 4, "relative")
    ids = read(policy, fold(policy, [block(3, seed=i) for i in range(4)])).layers[0].ids
    grid = [[row, column] for row in (0, 1) for column in (0, 1)]
    assert ids[0, :, 1:].tolist() == grid * 2


# Slow-fast

CLOSE, FAR = 18.15, 18.25
"""Degrees on either side of a cosine of 0.95, which is 18.19."""


def story(policy: SlowFast, *angles: float | tuple[float, ...], frames: int = 3) -> Context:
    """A context after blocks of `frames` one-token frames whose keys all point that way."""
    context = Context()
    for angle in angles:
        degrees = angle if isinstance(angle, tuple) else (angle,)
        made = block(frames, batch=len(degrees), grid=(1, 1), keys=turned(*degrees))
        context = policy.update(context, made)
    return context


def slow(policy: SlowFast, context: Context, index: int = 0, layer: int = 0) -> list[float]:
    """The true frames in slow memory."""
    held = context.layers[layer]
    sink = min(context.start, policy.sink_frames)
    stop = held.k.shape[1] - (len(context.frames) - sink)
    part = LayerKV(*(x if x is None else x[:, sink:stop] for x in held))
    return counted(part, index)[2][:, 0].tolist()


@pytest.mark.parametrize("descriptor", ["mean", "tokens"])
@pytest.mark.parametrize("novelty", ["previous", "kept"])
@pytest.mark.parametrize(("angle", "promoted"), [(CLOSE, []), (FAR, [3.0])])
def test_promotion_is_by_cosine_below_the_threshold(
    novelty: Any, descriptor: Any, angle: float, promoted: list[float]
) -> None:
    policy = SlowFast(3, 4, 6, novelty=novelty, descriptor=descriptor, interval=1)
    assert slow(policy, story(policy, 0, angle)) == promoted
    assert slow(policy, story(policy, 0, -angle)) == promoted
    assert slow(policy, story(policy, 100, 100 + angle)) == promoted


def test_cosine_does_not_depend_on_length() -> None:
    policy = SlowFast(3, 4, 6, interval=1)
    context = policy.update(Context(), block(3, grid=(1, 1), keys=turned(0)))
    context = policy.update(context, block(3, grid=(1, 1), keys=100 * turned(CLOSE)))
    assert slow(policy, context) == []


def test_mean_and_tokens_describe_differently() -> None:
    """Keys that swap places within a frame keep their mean but not their order."""
    still, swapped = block(3), block(3)
    keys = torch.cat((turned(0), turned(90)))[None, :, None]
    for made, order in ((still, [0, 1]), (swapped, [1, 0])):
        made.layers[0].k.copy_(keys[:, order].repeat(1, 6, 1, 1))
    for descriptor, expected in (("mean", 0), ("tokens", 4)):
        policy = SlowFast(3, 4, 6, descriptor=descriptor, interval=1)  # type: ignore[arg-type]
        context = policy.update(policy.update(Context(), still), swapped)
        valid = context.layers[0].valid
        assert valid is not None
        assert int(valid.sum()) - 6 * 4 == expected


@pytest.mark.parametrize("store", ["first", "block", "pooled"])
def test_tokens_of_the_whole_first_frame_are_compared(store: Any) -> None:
    """Whatever is stored; here only the last token of each frame turns."""
    blocks = [block(3, keys=turned(0)) for _ in range(2)]
    for frame in range(3):
        blocks[1].layers[0].k[:, 4 * frame + 3] = turned(180)
    policy = SlowFast(3, 4, 6, descriptor="tokens", store=store, interval=1)
    valid = fold(policy, blocks).layers[0].valid
    assert valid is not None
    assert valid.all()


@pytest.mark.parametrize(
    ("novelty", "promoted"),
    [("previous", [3, 6, 9]), ("kept", [3, 9])],
)
def test_a_return_is_novel_to_the_previous_block_but_not_to_all_kept(
    novelty: Any, promoted: list[float]
) -> None:
    policy = SlowFast(3, 4, 6, novelty=novelty, interval=1)
    assert slow(policy, story(policy, 0, 90, 0, 180)) == promoted


@pytest.mark.parametrize(("novelty", "promoted"), [("previous", []), ("kept", [6, 12])])
def test_a_slow_turn_is_seen_only_against_what_is_kept(novelty: Any, promoted: list[float]) -> None:
    """Ten degrees a block: never far from the one before."""
    policy = SlowFast(3, 4, 6, novelty=novelty, interval=1)
    assert slow(policy, story(policy, 0, 10, 20, 30, 40, 40)) == promoted


def test_slow_memory_gives_up_its_oldest_entry() -> None:
    policy = SlowFast(3, 2, 6, interval=1)
    angles = [0, 90, 180, 270, 0, 0, 0, 90]
    seen = [slow(policy, story(policy, *angles[: i + 1])) for i in range(len(angles))]
    assert seen == [[], [3], [3, 6], [6, 9], [9, 12], [9, 12], [9, 12], [12, 21]]


@pytest.mark.parametrize(
    ("decide", "expected"),
    [("commit", [[], [3], [3, 6], [3, 6]]), ("overflow", [[], [], [3], [3, 6]])],
)
def test_deciding_at_commit_or_on_overflow(decide: Any, expected: list[list[float]]) -> None:
    """Fast memory holds three frames besides the coming block: a block leaves one block later."""
    policy = SlowFast(3, 4, 6, decide=decide, interval=1, bounded=False)
    angles = [0, 90, 180, 180]
    contexts = [story(policy, *angles[: i + 1]) for i in range(4)]
    assert [slow(policy, context) for context in contexts] == expected
    last = [frames_of(policy, context) for context in contexts[:3]]
    if decide == "commit":
        assert last == [[0, 1, 2], [0, 1, 2, 3, 3, 4, 5], [0, 1, 2, 3, 6, 6, 7, 8]]
    else:
        assert last == [[0, 1, 2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 6, 7, 8]]


@pytest.mark.parametrize(("interval", "promoted"), [(1, [3, 6, 9, 12, 15]), (2, [6, 12]), (3, [9])])
@pytest.mark.parametrize("decide", ["commit", "overflow"])
def test_only_some_blocks_are_considered(interval: int, promoted: list[float], decide: Any) -> None:
    policy = SlowFast(3, 6, 6, interval=interval, decide=decide)
    angles = [90 * i for i in range(6)] + [90 * 5] * (decide == "overflow")
    assert slow(policy, story(policy, *angles)) == promoted


@pytest.mark.parametrize("sink", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("decide", ["commit", "overflow"])
def test_frames_of_the_sink_are_never_promoted(sink: int, decide: Any) -> None:
    policy = SlowFast(sink, 9, 6, interval=1, decide=decide, bounded=False)
    context = story(policy, *[90 * i for i in range(7)])
    kept = slow(policy, context)
    assert kept == sorted(set(kept))
    assert min(kept) == sink
    assert frames_of(policy, context)[:sink] == list(range(sink))


@pytest.mark.parametrize(
    ("store", "grid", "tokens"),
    [("first", (2, 2), 4), ("block", (2, 2), 12), ("pooled", (2, 2), 3), ("pooled", (3, 3), 12)],
)
def test_what_is_stored_of_a_block(store: Any, grid: tuple[int, int], tokens: int) -> None:
    policy = SlowFast(3, 6, 6, store=store, interval=1)
    blocks = [block(3, grid=grid, seed=i) for i in range(2)]
    per_frame = grid[0] * grid[1]
    context = fold(policy, blocks)
    held, past = context.layers[0], read(policy, context)
    entry = pick_tokens(held, slice(3 * per_frame, 3 * per_frame + tokens))
    new = blocks[1].layers[0]
    assert held.k.shape[1] == 3 * per_frame + tokens + 3 * per_frame
    assert past.start == pytest.approx(6 + tokens / per_frame)
    if store != "pooled":
        assert torch.equal(entry.k, new.k[:, :tokens])
        assert torch.equal(entry.v, new.v[:, :tokens])
        return
    for field in range(3):
        x = new[field] + torch.tensor([3.0, 0, 0]) if field == 2 else new[field]
        x = x.unflatten(1, (3, *grid))
        corners = [x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for i in (0, 2) for j in (0, 2)]
        means = [c for c in corners if not c.isnan().any()]
        expected = torch.stack(means, 2).flatten(1, 2)
        torch.testing.assert_close(entry[field], expected, atol=1e-6, rtol=0)


def pick_tokens(layer: LayerKV, tokens: slice) -> LayerKV:
    return LayerKV(*(x if x is None else x[:, tokens] for x in layer))


def test_bounded_places_sink_slow_and_fast_side_by_side() -> None:
    """Each sample's own: what it has not filled leaves no gap."""
    policy = SlowFast(2, 4, 6, interval=1)
    context = story(policy, (0, 0), (90, 0), (180, 0), (270, 90))
    past = read(policy, context)
    assert past.start == 9
    assert [len(frames_of(policy, context, index)) for index in (0, 1)] == [9, 7]
    for index in (0, 1):
        times = frames_of(policy, context, index)
        assert times == [past.start - len(times) + i for i in range(len(times))]
        assert min(times) >= 0


def test_unbounded_leaves_frames_where_they_were() -> None:
    policy = SlowFast(2, 2, 6, interval=1, bounded=False)
    context = story(policy, *[90 * i for i in range(6)])
    assert frames_of(policy, context) == [0, 1, 12, 15, 15, 16, 17]
    assert read(policy, context).start == 18


@pytest.mark.parametrize("novelty", ["previous", "kept"])
def test_layers_decide_alone_or_together(novelty: Any) -> None:
    """One layer turns by 90 degrees, the other not at all: 45 degrees together."""
    for per_layer, threshold, expected in (
        (True, 0.95, [[3.0], []]),
        (False, 0.95, [[3.0], [3.0]]),
        (False, 0.45, [[], []]),
    ):
        policy = SlowFast(
            3, 4, 6, threshold=threshold, novelty=novelty, per_layer=per_layer, interval=1
        )
        context = Context()
        for angles in ((0, 0), (90, 0)):
            made = block(3, layers=2, grid=(1, 1))
            for layer, angle in zip(made.layers, angles, strict=True):
                layer.k.copy_(turned(angle).expand_as(layer.k[0]))
            context = policy.update(context, made)
        assert [slow(policy, context, layer=layer) for layer in (0, 1)] == expected


def test_the_paper_sizes_fill_to_21_frames() -> None:
    """3 + 12 + 6 with the coming block among the 6; positions 0 to 20 in all."""
    policy = SlowFast(interval=1)
    context = story(policy, *[90 * i for i in range(30)])
    past = read(policy, context)
    assert past.layers[0].k.shape[1] == 18
    assert past.start == 18
    assert frames_of(policy, context) == list(range(18))
    assert slow(policy, context) == [3.0 * i for i in range(18, 30)]
