"""What a pass reads and tells: reads that depend on the pass itself, queries, noisy passes."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from memories import read
from tiny import conditioning, latents, model
from torch.utils._python_dispatch import TorchDispatchMode

from cf.memory.base import Memory, Query
from cf.memory.ema_sink import EmaSink
from cf.memory.full import Full
from cf.memory.memrope import MemRope
from cf.memory.participative import Participative
from cf.memory.quantised import Quantised
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.attention import attend
from cf.rollout.blockwise import Rollout
from cf.rollout.state import RolloutState
from cf.types import Block, Context, LayerKV, Past

aten = torch.ops.aten

EXACT: dict[str, Any] = {"atol": 1e-12, "rtol": 0}


def remembered(network: Any, cond: Any, policy: Memory) -> Context:
    rollout = Rollout(policy)
    with torch.no_grad():
        return rollout.remember(
            network, latents(2, 9), rollout.noise(network, 0, (0, 1)), cond
        ).context


def test_a_live_read_of_the_same_layers_changes_nothing() -> None:
    network, cond = model(), conditioning(2, 12)
    context = remembered(network, cond, Full())
    past = Full().read(context, Query(3, cond.frames(9, 12)))
    live = Past(start=past.start, live=lambda i, own, queries: past.layers[i])
    x, t, part = latents(2, 3, seed=1), torch.full((2, 3), 0.5).double(), cond.frames(9, 12)
    expected = network(x, t, part, network.prepare(past, part)).velocity
    found = network(x, t, part, network.prepare(live, part)).velocity
    assert torch.equal(found, expected)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_live_read_sees_what_the_block_returns(checkpointing: bool) -> None:
    """The same keys, values and queries, also when the backward pass computes them again."""
    network, cond = model(activation_checkpointing=checkpointing), conditioning(2, 3)
    seen: list[tuple[LayerKV, torch.Tensor]] = []

    def live(i: int, own: LayerKV, queries: torch.Tensor) -> LayerKV:
        seen.append((own, queries))
        assert torch.equal(network.rotate(queries, own.ids * 0), queries)
        return LayerKV(own.k[:, :0], own.v[:, :0], own.ids[:, :0])

    prepared = replace(network.prepare(Past(live=live), cond), queries=True)
    x, t = latents(2, 3), torch.full((2, 3), 0.5).double()
    block = network(x, t, cond, prepared).block
    assert len(block.queries) == len(block.layers) == 2
    for (own, queries), layer, asked in zip(seen[:2], block.layers, block.queries, strict=True):
        assert torch.equal(own.k, layer.k)
        assert torch.equal(own.v, layer.v)
        assert torch.equal(queries, asked)
    assert network(x, t, cond).block.queries == ()


def test_queries_are_those_that_attention_uses() -> None:
    """With them, the block's keys and its RoPE, the first layer's attention can be done again."""
    network, cond = model(num_layers=1), conditioning(2, 3)
    outputs: list[torch.Tensor] = []
    attention = network.blocks[0].self_attn  # type: ignore[union-attr]
    attention.o.register_forward_hook(lambda _, inputs, __: outputs.append(inputs[0]))  # type: ignore
    prepared = replace(network.prepare(Past(), cond), queries=True)
    block = network(latents(2, 3), torch.full((2, 3), 0.5).double(), cond, prepared).block
    assert block.rotate is not None
    (layer,), (queries,) = block.layers, block.queries
    turned = [block.rotate(x, layer.ids) for x in (queries, layer.k)]
    torch.testing.assert_close(attend(*turned, layer.v), outputs[0], **EXACT)


def test_queries_may_stand_elsewhere_than_their_keys() -> None:
    """Moving keys, past and queries together changes nothing; queries alone do."""
    network, cond = model(), conditioning(2, 12)
    context = remembered(network, cond, Sliding(1, 8, "relative"))
    part = cond.frames(9, 12)
    past = Sliding(1, 8, "relative").read(context, Query(3, part))
    x, t = latents(2, 3, seed=1), torch.full((2, 3), 0.5).double()

    def velocity(moved: Past) -> torch.Tensor:
        out: torch.Tensor = network(x, t, part, network.prepare(moved, part)).velocity
        return out

    def shifted(by: float) -> tuple[LayerKV, ...]:
        shift = torch.tensor([by, 0, 0])
        return tuple(layer._replace(ids=layer.ids + shift) for layer in past.layers)

    same = velocity(past._replace(query_start=past.start))
    torch.testing.assert_close(same, velocity(past), **EXACT)
    away = velocity(past._replace(query_start=past.start + 2))
    keys_back = past._replace(layers=shifted(-2), start=past.start - 2, query_start=past.start)
    torch.testing.assert_close(away, velocity(keys_back), **EXACT)
    assert (away - same).abs().max() > 1e-3


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_constant_past_is_made_ready_once_for_a_block(
    differentiable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though of three calls over it the last of denoising alone carries gradient."""
    from cf.models import transformer

    network, cond, seen = model(num_layers=1), conditioning(1, 9), list[int]()
    ready = transformer.remembered

    def counted(layer: LayerKV, *rest: Any) -> Any:
        seen.append(layer.k.shape[1] // 4)
        return ready(layer, *rest)

    monkeypatch.setattr(transformer, "remembered", counted)
    rollout = Rollout(Full(), num_steps=2)
    noise = rollout.noise(network, 0, (0,))
    more = {"window_frames": 9, "differentiable_past": differentiable, "goes_on": False}
    window = rollout(network, noise, cond, frames=9, **more).window
    assert seen == ([3, 3, 6, 6] if differentiable else [3, 6])
    assert torch.autograd.grad(window.sum(), network.time_embedding[0].weight)[0].abs().sum() > 0


@dataclass(frozen=True)
class Listening(Full):
    """Counts passes in the state, and must not be asked to remember anything else of them."""

    def noisy(self, context: Context, block: Block) -> Context:
        assert block.layers
        assert (
            not any(layer.k.requires_grad for layer in block.layers) or not torch.is_grad_enabled()
        )
        count = context.state[0] + 1 if context.state else torch.ones(())
        return replace(context, state=(count,))


def test_a_memory_hears_of_every_denoising_pass() -> None:
    network, cond = model(), conditioning(1, 9)
    rollout = Rollout(Listening(), num_steps=3)
    eps = rollout.noise(network, 0, (0,))
    rolled = rollout(network, eps, cond, frames=9, window_frames=3)
    assert float(rolled.state.context.state[0]) == 9
    silent = Rollout(Full(), num_steps=3)(network, eps, cond, frames=9, window_frames=3)
    assert torch.equal(rolled.window, silent.window)


@pytest.mark.parametrize(
    "policy", [Participative(4, 2, 4, 12), Participative(4, 2, 4, 12, as_released=True)]
)
def test_a_memory_that_asks_for_queries_gets_them(policy: Memory) -> None:
    """Streams of it cut and resume; the released one scores with noisy passes, which differs."""
    network, cond = model(), conditioning(2, 30)
    rollout = Rollout(policy, num_steps=2)
    eps = rollout.noise(network, 0, (0, 1))
    with torch.no_grad():
        whole = rollout(network, eps, cond, frames=30)
        half = rollout(network, eps, cond, frames=18)
        rest = rollout(network, eps, cond, frames=12, state=half.state)
    assert torch.equal(torch.cat((half.past, rest.past), 1), whole.past)
    alone = rollout(network, rollout.noise(network, 0, (1,)), one(cond, 1), frames=30).past
    torch.testing.assert_close(alone, whole.past[1:], atol=1e-9, rtol=0)


def one(cond: Any, index: int) -> Any:
    return type(cond)(*(None if x is None else x[index : index + 1] for x in vars(cond).values()))


@pytest.mark.parametrize(("recent", "held"), [(None, 6), (4, 4), (0, None)])
def test_a_state_holds_the_last_latents(recent: int | None, held: int | None) -> None:
    network, cond = model(), conditioning(1, 15)
    rollout = Rollout(Sliding(1, 5), num_steps=1, recent_frames=recent)
    eps = rollout.noise(network, 0, (0,))
    with torch.inference_mode():
        given = latents(1, 5)
        state = rollout.remember(network, given, eps, cond)
        video = [given]
        for x0, state in rollout.stream(network, eps, cond, state):  # noqa: B020
            video.append(x0)
            if state.context.start > 10:
                break
    if held is None:
        assert state.recent is None
    else:
        assert state.recent is not None
        assert torch.equal(state.recent, torch.cat(video, 1)[:, -held:])
    assert state.fork().recent is state.recent


def test_a_stream_may_begin_elsewhere_in_time_for_one_block() -> None:
    network, cond = model(control_dim=None), conditioning(1)
    rollout = Rollout(Sliding(1, 5, "relative"), num_steps=1)
    eps = rollout.noise(network, 0, (0,))
    with torch.no_grad():
        plain = rollout(network, eps, cond, frames=9).state
        place = float(rollout.memory.read(plain.context, Query(3, cond)).start)
        streams = [
            next(rollout.stream(network, eps, cond, replace(plain, begin=begin)))
            for begin in (None, place, 45.0)
        ]
    assert torch.equal(streams[0][0], streams[1][0])
    assert (streams[0][0] - streams[2][0]).abs().max() > 1e-3
    assert all(isinstance(state, RolloutState) and state.begin is None for _, state in streams)


class Copies(TorchDispatchMode):
    """Counts operators that return as many tokens' keys or values as a past of `tokens` holds."""

    def __init__(self, tokens: int, head: int) -> None:
        super().__init__()
        self.tokens, self.head, self.count = tokens, head, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (
            aten.cat.default,
            aten.cat.out,
            aten.clone.default,
            aten.copy_.default,
            aten._to_copy.default,
        ):
            wide = out.ndim == 4 and out.shape[-1] == self.head
            self.count += wide and max(out.shape[1], out.shape[2]) >= self.tokens
        return out


@pytest.mark.parametrize(
    "policy",
    [
        Full(),
        Sliding(3, 9),
        Sliding(3, 9, "relative"),
        SlowFast(3, 3, 6, interval=1),
        EmaSink(3, 9),
        MemRope(),
        Quantised(Sliding(3, 9)),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_more_passes_over_a_block_copy_its_past_no_more_often(policy: Memory) -> None:
    copies = []
    for num_steps in (1, 5):
        network = model(torch.float32)
        rollout = Rollout(policy, num_steps=num_steps)
        cond = conditioning(1, 24, dtype=torch.float32)
        stream = rollout.stream(network, rollout.noise(network, 0, (0,)), cond)
        with torch.inference_mode():
            for _ in range(6):
                _, state = next(stream)
            seen = read(policy, state.context).layers[0]
            del state
            with Copies(seen.k.shape[1], seen.k.shape[-1]) as counted:
                next(stream)
        copies.append(counted.count)
    assert copies[0] == copies[1]
    assert bool(copies[0]) != isinstance(policy, Sliding)  # a full window: none at all
