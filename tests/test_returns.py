"""What nobody reads of a call is not computed, and what is read has the same bits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import conditioning, latents, model

from cf.memory.base import Query
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.guided import Guided
from cf.models.transformer import VideoTransformer
from cf.rollout.blockwise import Rollout
from cf.types import Past


def parts_that_run(network: VideoTransformer) -> list[str]:
    """A list that grows by the parts behind the last layer's keys and values, as they run."""
    ran = list[str]()
    last: Any = network.blocks[-1]
    for name, part in {"o": last.self_attn.o, "ffn": last.ffn, "head": network.head}.items():
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
    return ran


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("past", ["none", "layers", "live"])
def test_a_call_may_return_a_part(past: str, checkpointing: bool) -> None:
    """The same bits; a call for the block alone stops at the last layer's keys and values."""
    network = model(activation_checkpointing=checkpointing)
    cond, rollout = conditioning(2, 12), Rollout(Full())
    noise, part = rollout.noise(network, 0, (0, 1)), cond.frames(9, 12)
    with torch.no_grad():
        context = rollout.remember(network, latents(2, 9), noise, cond).context
    seen = Full().read(context, Query(3, part))
    if past == "live":
        seen = Past(start=seen.start, live=lambda i, own, queries, all=seen.layers: all[i])
    read = network.prepare(Past() if past == "none" else seen, part)
    x, t = latents(2, 3, seed=1), torch.full((2, 3), 0.5).double()
    ran = parts_that_run(network)
    whole = network(x, t, part, replace(read, queries=True))
    assert ran == ["o", "ffn", "head"]
    velocity = network(x, t, part, replace(read, queries=True, returns="velocity"))
    assert ran == ["o", "ffn", "head"] * 2
    assert torch.equal(velocity.velocity, whole.velocity)
    assert velocity.block.layers == velocity.block.queries == ()
    written = network(x, t, part, replace(read, queries=True, returns="block"))
    assert len(ran) == 6
    assert written.velocity.shape[1] == 0
    for found, expected in zip(written.block.layers, whole.block.layers, strict=True):
        assert torch.equal(found.k, expected.k)
        assert torch.equal(found.v, expected.v)
    assert all(map(torch.equal, written.block.queries, whole.block.queries))


def test_a_block_that_is_committed_makes_no_velocity() -> None:
    network = model()
    rollout = Rollout(Sliding(1, 8), num_steps=2)
    ran = parts_that_run(network)
    stream = rollout.stream(network, rollout.noise(network, 0, (0,)), conditioning(1, 6))
    for _ in range(2):
        next(stream)
    assert ran == ["o", "ffn", "head"] * 4


def test_a_guided_call_may_return_the_block_alone() -> None:
    network, cond = model(), conditioning(2, 3)
    guided = Guided(network, 3.0, times=(0.2, 0.7))
    read = replace(guided.prepare(Past(), cond), returns="block")
    x, t = latents(1, 3), torch.full((1, 3), 0.5).double()
    written = guided(x, t, cond, read)
    assert written.velocity.shape[:2] == (1, 0)
    whole = network(torch.cat((x, x)), torch.cat((t, t)), cond)
    assert torch.equal(written.block.layers[-1].v, whole.block.layers[-1].v)
