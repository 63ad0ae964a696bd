"""Key-frames beside any memory: where they stand, what they leave alone, what keeps them."""

from collections.abc import Callable

import pytest
import torch
from memories import fold, read
from tiny import MEMORIES, block, conditioning, latents, memory, model

from cf.memory.base import Query
from cf.memory.pinned import Pinned
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.base import NOTHING
from cf.rollout import PromptChange, Recache, Rollout
from cf.rollout.reads import BlockReads
from cf.types import Block, Context


def keys(frames: int) -> Block:
    return block(frames, layers=2, seed=99)


@pytest.mark.parametrize(
    ("start", "reach", "ahead", "expected"),
    [
        (0, 21, 0, [0.0]),  # its own frame, in the block
        (3, 21, 0, [-3.0]),
        (9, 21, 0, [-9.0, 1.0]),
        (9, 5, 0, [-5.0, 1.0]),
        (30, 5, 0, [-6.0, -5.0]),  # they never share a place
        (300, None, 0, [-300.0, -290.0, -260.0]),
        (6, 21, 2, [-6.0, 4.0]),  # before its time
    ],
)
def test_key_frames_stand_where_their_frames_would(
    start: int, reach: int | None, ahead: int, expected: list[float]
) -> None:
    policy = Pinned(Sliding(1, 5, "relative"), 3, reach, ahead)
    context = policy.pin(Context(), keys(3), [0, 10, 40])
    for i in range(start // 3):
        context = policy.update(context, block(3, layers=2, seed=i))
    past = read(policy, context)
    for layer in past.layers:
        times = layer.ids[0, : 4 * len(expected) : 4, 0] - past.start
        assert times.tolist() == expected
        assert torch.equal(layer.ids[0, :4, 1:], keys(1).layers[0].ids[0, :, 1:])


@pytest.mark.parametrize("name", [one.stem for one in MEMORIES])
def test_the_rest_is_read_as_ever(name: str) -> None:
    """Without key-frames the same; with them, the same after them."""
    within = memory(name)
    blocks = [block(3, layers=2, seed=i) for i in range(9)]
    plain, bare = read(within, fold(within, blocks)), Pinned(within, 2)
    for one, other in zip(plain.layers, read(bare, fold(bare, blocks)).layers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
    context = bare.pin(Context(), keys(2), [0, 4])
    for each in blocks:
        context = bare.update(context, each)
    pinned = read(bare, context)
    assert pinned.start == plain.start
    for i, (one, other) in enumerate(zip(plain.layers, pinned.layers, strict=True)):
        assert all(torch.equal(a, b[:, 8:]) for a, b in zip(one[:3], other[:3], strict=True))
        assert torch.equal(other.v[:, :8], keys(2).layers[i].v)
    if plain.bias is not None:
        assert pinned.bias is not None
        assert torch.equal(pinned.bias[:, 8:], plain.bias)
        assert not pinned.bias[:, :8].any()
    assert bare.max_frames == (None if within.max_frames is None else within.max_frames + 2)


def test_a_memory_that_reads_as_it_attends_has_them_too() -> None:
    policy = Pinned(SlowFast(3, 4, 6, interval=1, as_released=True), 1)
    context = fold(policy, [block(3, layers=2, seed=i) for i in range(6)])
    without = policy.read(context, Query(3, conditioning(1)))
    assert without.live is not None, "another memory would be the better example"
    past = policy.read(policy.pin(context, keys(1), [1]), Query(3, conditioning(1)))
    own = block(3, seed=50)
    one, other = (x.live(0, own.layers[0], own.queries[0]) for x in (without, past) if x.live)
    assert torch.equal(one.v, other.v[:, 4:])
    assert torch.equal(other.v[:, :4], keys(1).layers[0].v)


@pytest.mark.parametrize("at", [0, 3])
def test_the_first_block_of_a_video_reads_them(at: int) -> None:
    """Nothing is held yet; a generator, which writes values in place, gets what training gets."""
    policy, network = Pinned(Sliding(1, 5, "relative"), 2, ahead_frames=3), model()
    pins = block(1, layers=2, seed=9)
    wide = [x._replace(k=x.k.repeat(1, 1, 2, 3), v=x.v.repeat(1, 1, 2, 3)) for x in pins.layers]
    context = policy.pin(Context(), Block(tuple(wide), 1, pins.grid), [at])
    cond = conditioning(1, 3)
    x, t = latents(1, 3), torch.full((1, 3), 0.5).double()
    with torch.inference_mode():
        prepared = BlockReads(network, policy, context, cond, 3)("denoise", 0)
        found = network(x, t, cond, prepared).velocity
    with torch.no_grad():
        past = network.prepare(read(policy, context), cond)
        expected, without = (network(x, t, cond, one).velocity for one in (past, NOTHING))
    assert torch.allclose(found, expected, atol=1e-12)
    assert not torch.allclose(found, without, atol=1e-3)


@pytest.mark.parametrize("sink", ["keep", "recompute"])
def test_a_new_prompt_forgets_no_key_frame(sink: str) -> None:
    policy, network = Pinned(Sliding(1, 5, "relative"), 2), model()
    rollout = Rollout(policy, num_steps=1)
    eps, cond = rollout.noise(network, 0, (0,)), conditioning(1, 60)
    with torch.no_grad():
        state = rollout.remember(network, latents(1, 9), eps, cond)
    pins = block(1, layers=2, seed=9)
    wide = [x._replace(k=x.k.repeat(1, 1, 2, 3), v=x.v.repeat(1, 1, 2, 3)) for x in pins.layers]
    made = Block(tuple(wide), 1, pins.grid)
    object.__setattr__(state, "context", policy.pin(state.context, made, [0]))
    change = PromptChange(rollout, network, eps, cond, state)
    with torch.no_grad():
        after = Recache(sink=sink)(change)  # type: ignore[arg-type]
    flushed = policy.flush(state.context, 1)
    for context in (after.context, flushed):
        shown = read(policy, context).layers[0]
        assert torch.equal(shown.v[:, :4], wide[0].v)


@pytest.mark.parametrize(
    ("at", "told"),
    [([0, 1, 2], "key_frames=2"), ([3, 3], r"rising latent frames, got \[3, 3\]")],
)
def test_key_frames_that_cannot_be_pinned(at: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Pinned(Sliding(), 2).pin(Context(), keys(len(at)), at)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pinned(Sliding(), 0),
        lambda: Pinned(Sliding(), reach_frames=0),
        lambda: Pinned(Sliding(), ahead_frames=-1),
    ],
)
def test_settings_that_make_no_sense(make: Callable[[], Pinned]) -> None:
    with pytest.raises(ValueError, match=r"=(0|-1) must"):
        make()
