"""Joined tokens known by their pieces: a backward pass makes them again, and nobody holds them."""

import gc
from typing import Any

import pytest
import torch
from tiny import conditioning, latents, model

from cf.memory.base import Memory
from cf.memory.full import Full
from cf.memory.pieces import cut_tokens, holding_pieces, join_tokens, pieces_of
from cf.memory.sink_window import SinkWindow
from cf.memory.sliding import Sliding
from cf.models.allocated import Allocated
from cf.rollout.blockwise import Rollout

MEMORIES = (Full(), Sliding(9), SinkWindow(3, 9))


def window_of(student: Any, memory: Memory, past: bool = False) -> torch.Tensor:
    """The scored frames of a rollout that begins with frames that carry no gradient."""
    rollout = Rollout(memory, num_steps=2, block_frames=3)
    how: dict[str, Any] = {"frames": 24, "window_frames": 18, "differentiable_past": past}
    drawn = [latents(2, 3, seed=k) for k in range(16)]
    made = rollout(student, lambda s, k: drawn[2 * (s // 3) + k], conditioning(2, 24), **how)
    return made.window


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("memory", MEMORIES, ids=lambda one: type(one).__name__)
def test_gradient_is_the_same_to_the_bit_and_less_is_held(memory: Memory, past: bool) -> None:
    found: list[list[torch.Tensor]] = []
    held = []
    for on in (False, True):
        student = model(activation_checkpointing=True)
        gc.collect()
        with Allocated("cpu", student.parameters()) as count:
            before = count.now
            with holding_pieces(on):
                window = window_of(student, memory, past)
            held.append(count.now - before)
        loss = window.square().mean()
        loss.backward(retain_graph=True)  # a second pass makes it again
        found.append([window.detach(), *(p.grad.clone() for p in student.parameters())])
        student.zero_grad()
        loss.backward()
        assert all(
            torch.equal(p.grad, before)
            for p, before in zip(student.parameters(), found[-1][1:], strict=True)
        )
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    assert held[1] < (0.8 if not past else 1.01) * held[0], held[1] / held[0]


def test_pieces_make_the_whole_and_nobody_else_keeps_them() -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(most: int) -> int:
        return int(torch.randint(most + 1, (), generator=generator))

    whole = torch.randn(2, 4, 3, generator=generator)
    assert pieces_of(whole) is None
    with holding_pieces(True):
        for _ in range(60):
            new = torch.randn(2, 4, 3, generator=generator)
            a, b = sorted((drawn(whole.shape[1]), drawn(whole.shape[1])))
            parts = [cut_tokens(whole, slice(a)), cut_tokens(whole, slice(b, None)), new]
            whole = join_tokens(parts)
            known = pieces_of(whole)
            assert known is not None
            assert torch.equal(torch.cat(known, 1), whole)
            assert all(one.untyped_storage().nbytes() <= 24 * 4 for one in known)
        assert pieces_of(whole.clone().requires_grad_()) is None
    assert pieces_of(whole) is None
