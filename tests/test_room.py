"""Contexts that inference writes in place: nothing that anybody else holds ever changes."""

import itertools
from typing import Literal

import pytest
import torch
from memories import assert_equal, fold
from tiny import block, conditioning, memory, model

from cf.memory.base import fork
from cf.memory.full import Full
from cf.memory.room import Owned, appended, joined, widened
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.rollout.blockwise import Rollout
from cf.types import Conditioning, Context


def test_a_growing_context_is_seldom_copied() -> None:
    with torch.inference_mode():
        context, storages = Context(), []
        for i in range(400):
            context = Full().update(context, block(1, seed=i % 7))
            assert isinstance(context.layers, Owned)
            storage = context.layers[0].k.untyped_storage()
            storages.append((storage.data_ptr(), storage.nbytes()))
            used = context.layers[0].k.nbytes
            assert storage.nbytes() <= used * (1 + 1 / 32) + 2 * block(1).layers[0].k.nbytes
    assert len(set(storages[64:])) < 70


def test_a_fork_of_a_growing_context_never_changes() -> None:
    """Nor does what either of them goes on to, whoever is the first."""
    with torch.inference_mode():
        whole = fold(Full(), [block(1, seed=i) for i in range(40)])
        kept = fork(whole)
        before = [[x.clone() for x in layer[:3]] for layer in kept.layers]
        one = Full().update(whole, block(1, seed=100))
        other = Full().update(fork(kept), block(1, seed=200))
        one = Full().update(one, block(1, seed=101))
        for layer, copies in zip(kept.layers, before, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(layer[:3], copies, strict=True))
        seeds = list(range(40))
        assert_equal(one, fold(Full(), [block(1, seed=i) for i in [*seeds, 100, 101]]))
        assert_equal(other, fold(Full(), [block(1, seed=i) for i in [*seeds, 200]]))


def test_a_stream_of_forks_is_the_stream() -> None:
    """Keys that are kept after RoPE are those that a fork, which keeps none, rotates anew."""
    network, cond = model(num_layers=1), conditioning(1, 80)
    rollout, kept = Rollout(Full(), num_steps=1, block_frames=1), []
    eps = rollout.noise(network, 0, (0,))
    with torch.inference_mode():
        running = rollout.stream(network, eps, cond)
        _, state = next(running)
        for _ in range(75):
            again, _ = next(rollout.stream(network, eps, cond, state.fork()))
            following, state = next(running)
            assert torch.equal(again, following)
            assert isinstance(state.context.layers, Owned)
            kept.append(state.context.layers.turned_tokens)
    assert 0 < sum(tokens > 0 for tokens in kept[40:]) < 35


def test_room_is_behind_a_copy_and_free() -> None:
    parts = [torch.arange(12.0).view(2, 3, 2), torch.ones(2, 1, 2)]
    made = joined(parts, 2)
    assert torch.equal(made, torch.cat(parts, 1))
    wide = widened(made, 2)
    wide[:, 4:] = 7
    assert torch.equal(wide[:, :4], torch.cat(parts, 1))
    assert wide.data_ptr() == made.data_ptr()


def test_appending_to_a_slice_of_something_else_writes_nothing_there() -> None:
    with torch.inference_mode():
        first = block(2).layers[0]
        before = first.k.clone()
        views = (first._replace(k=first.k[:, :4], v=first.v[:, :4], ids=first.ids[:, :4]),)
        made = appended(views, [(views[0], first)], 8)
        assert torch.equal(first.k, before)
        assert torch.equal(made[0].k, torch.cat((before[:, :4], before), 1))


@pytest.mark.parametrize("threshold", [0.52, 1.1])
def test_attention_has_a_mask_only_where_it_hides_something(threshold: float) -> None:
    network, cond, masks = model(), conditioning(2, 60), []
    policy = SlowFast(1, 3, 5, threshold=threshold, novelty="kept", interval=1)
    rollout = Rollout(policy, num_steps=1)
    for layer in network.blocks:
        layer.self_attn.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda _, args: masks.append(args[1] and args[1].mask)
        )
    with torch.inference_mode():
        stream = rollout.stream(network, rollout.noise(network, 0, (0, 1)), cond)
        for _ in itertools.islice(stream, 12):
            pass
    hiding = [mask for mask in masks if mask is not None]
    assert not any(bool(mask.all()) for mask in hiding)
    assert bool(hiding) == (threshold < 1)


@pytest.mark.parametrize(
    ("name", "context_noise"), [("full", 0.1), ("sliding", 0.0), ("infinity_rope", 0.1)]
)
@pytest.mark.whole
def test_a_block_asks_its_device_for_no_value(name: str, context_noise: float) -> None:
    """On one that has shapes and no values; a slow memory asks only while it has masks."""
    network = model(torch.float32).to("meta")
    told = vars(conditioning(1, 30, dtype=torch.float32)).items()
    cond = Conditioning(**{key: x.to("meta") for key, x in told if x is not None})
    rollout = Rollout(memory(name), num_steps=2, context_noise=context_noise)
    with torch.inference_mode():
        stream = rollout.stream(network, rollout.noise(network, 0, (0,)), cond)
        for x0, state in itertools.islice(stream, 8):
            assert x0.is_meta
            assert state.context.layers[0].k.is_meta


@pytest.mark.parametrize("name", ["full", "sliding", "slow_fast"])
def test_a_mask_that_hides_nothing_changes_nothing(name: str) -> None:
    """A rollout without gradient, which keeps its masks, has the same bits."""
    network, cond = model(torch.float32), conditioning(2, 60, dtype=torch.float32)
    policy = SlowFast(1, 2, 3, threshold=1.1, interval=1) if name == "slow_fast" else memory(name)
    rollout, found = Rollout(policy, num_steps=1), []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            stream = rollout.stream(network, rollout.noise(network, 0, (0, 1)), cond)
            found.append(torch.cat([next(stream)[0] for _ in range(15)], 1))
    assert torch.equal(*found)


WINDOWS = [Sliding(1, 4), Sliding(0, 5), Sliding(2, 4, "relative"), Sliding(1, 3)]


@pytest.mark.parametrize("policy", WINDOWS, ids=repr)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_full_window_stays_where_it_lies(policy: Sliding, frames: int) -> None:
    """And holds the bits of one that is made anew, as under gradient, for every block."""
    context, made, places = Context(), [], []
    for i in range(12):
        made.append(block(frames, seed=i))
        with torch.inference_mode():
            context = policy.update(context, made[-1])
        assert_equal(context, fold(policy, made))
        places.append([x.data_ptr() for x in context.layers[0][:2]])
    assert places[-1] == places[7]


@pytest.mark.parametrize("policy", WINDOWS, ids=repr)
def test_a_fork_of_a_full_window_never_changes(policy: Sliding) -> None:
    with torch.inference_mode():
        whole = fold(policy, [block(2, seed=i) for i in range(8)])
        kept = fork(whole)
        before = [[x.clone() for x in layer[:3]] for layer in kept.layers]
        one = whole
        for seed in (100, 101, 102):
            one = policy.update(one, block(2, seed=seed))
        for layer, copies in zip(kept.layers, before, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(layer[:3], copies, strict=True))
        seeds = [*range(8), 100, 101, 102]
        assert_equal(one, fold(policy, [block(2, seed=i) for i in seeds]))


@pytest.mark.parametrize("positions", ["absolute", "relative"])
def test_keys_after_rope_are_kept_where_frames_stay(positions: Literal["absolute"]) -> None:
    """A stream from a fork, which keeps none, has the same bits."""
    network, cond = model(num_layers=1), conditioning(1, 40)
    rollout, kept = Rollout(Sliding(1, 4, positions), num_steps=1, block_frames=1), []
    eps = rollout.noise(network, 0, (0,))
    with torch.inference_mode():
        running = rollout.stream(network, eps, cond)
        _, state = next(running)
        for i in range(14):
            again = None
            if i % 3 == 0:
                again, _ = next(rollout.stream(network, eps, cond, state.fork()))
            following, state = next(running)
            assert again is None or torch.equal(again, following)
            assert isinstance(state.context.layers, Owned)
            kept.append(state.context.layers.turned_tokens)
    assert bool(kept[-1]) == (positions == "absolute")
