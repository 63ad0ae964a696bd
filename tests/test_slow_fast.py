"""Slow-fast memory: what is promoted, what is stored of it, and where it stands."""

from typing import Any

import pytest
import torch
from memories import counted, fold, frames_of, read, turned
from tiny import block

from cf.memory.slow_fast import SlowFast
from cf.types import Context, LayerKV

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


# The figure, uniform sampling, calibrated thresholds


def test_uniform_promotes_whatever_comes() -> None:
    for interval, expected in ((1, [3, 6, 9, 12]), (2, [6, 12])):
        policy = SlowFast(3, 6, 6, novelty="uniform", interval=interval)
        context = story(policy, *[0.0] * 5)
        assert slow(policy, context) == expected
        assert context.state == ()


@pytest.mark.parametrize("novelty", ["previous", "kept"])
def test_the_figure_promotes_what_is_alike(novelty: Any) -> None:
    policy = SlowFast(3, 4, 6, promote="alike", novelty=novelty, interval=1)
    assert slow(policy, story(policy, 0, CLOSE, CLOSE + 90, CLOSE + 90)) == (
        [3, 9] if novelty == "previous" else [3]
    )


def test_the_figure_overwrites_the_newest_entry() -> None:
    """And so keeps the first ones for ever; samples that have room still fill it."""
    policy = SlowFast(3, 2, 6, evict="newest", interval=1)
    angles = [(0, 0), (90, 0), (180, 0), (270, 90), (0, 180), (90, 180)]
    seen = [story(policy, *angles[: i + 1]) for i in range(len(angles))]
    assert [slow(policy, context, 0) for context in seen] == [
        [],
        [3],
        [3, 6],
        [3, 9],
        [3, 12],
        [3, 15],
    ]
    assert [slow(policy, context, 1) for context in seen] == [[], [], [], [9], [9, 12], [9, 12]]


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("novelty", ["previous", "kept"])
def test_a_threshold_calibrated_as_a_quantile(novelty: Any, per_layer: bool) -> None:
    """Of the last similarities of that layer and sample; before there is one, as given."""
    policy = SlowFast(
        3, 99, 6, threshold=-1.0, quantile=0.25, calibration=8,
        novelty=novelty, per_layer=per_layer, interval=1,
    )  # fmt: skip
    angles = torch.from_numpy(draw_angles(40)).cumsum(0)
    context, promoted, seen = Context(), [], []
    for i, (a, b) in enumerate(angles.tolist()):
        keys = turned(a, b)
        context = policy.update(context, block(3, batch=2, grid=(1, 1), keys=keys))
        if novelty == "previous" and i > 0:
            similar = torch.cos(torch.deg2rad(angles[i] - angles[i - 1]))
            limit = torch.stack(seen[-8:]).quantile(0.25, 0) if seen else torch.full((2,), -1.0)
            promoted.append((similar < limit).tolist())
            seen.append(similar)
    counts = [len(slow(policy, context, index)) for index in (0, 1)]
    if novelty == "previous":
        assert counts == [sum(each[index] for each in promoted) for index in (0, 1)]
    assert all(3 <= count <= 17 for count in counts), counts
    assert context.state[-1].shape == (2, 8)


def draw_angles(count: int) -> Any:
    import numpy as np

    return np.random.RandomState(3).uniform(0, 60, (count, 2))


def test_settings_that_no_code_has_are_refused() -> None:
    with pytest.raises(ValueError, match="the released code has no store='pooled'"):
        SlowFast(store="pooled", as_released=True)
    with pytest.raises(ValueError, match="previous pass only, not kept"):
        SlowFast(novelty="kept", as_released=True)
    with pytest.raises(ValueError, match=r"quantile=1.5 must lie in 0..1"):
        SlowFast(quantile=1.5)
    with pytest.raises(ValueError, match="calibration=0"):
        SlowFast(calibration=0)
