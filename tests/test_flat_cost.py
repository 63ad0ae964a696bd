"""A block of an hour costs what a block of a minute does: counted, so that no load disturbs it."""

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cf.rollout.blockwise import Rollout

EARLY, LATE, BLOCKS = 50, 150, 24
"""Blocks after which the counts begin, and how many blocks they take: all periods divide them."""
CHOOSES = {"merged", "retrieve_key", "retrieve_pose"}
"""What these keep depends on keys or poses, and so do a few operations of a block."""


class Work(TorchDispatchMode):
    """Counts operations, and the bytes of all tensors that go in and come out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self.operations += 1
        there = (x for x in tree_leaves((args, kwargs, made)) if isinstance(x, Tensor))
        self.bytes += sum(x.numel() * x.element_size() for x in there)
        return made


BOUNDED = [one.stem for one in tiny.MEMORIES if tiny.memory(one.stem).max_frames is not None]


@pytest.mark.parametrize("name", BOUNDED)
@torch.inference_mode()
def test_a_late_block_costs_what_an_early_one_does(name: str) -> None:
    network = tiny.model(torch.float32, num_layers=1)
    rollout = Rollout(tiny.memory(name), num_steps=1)
    cond = tiny.conditioning(1, 3 * (LATE + BLOCKS), origin=True, dtype=torch.float32)
    running, at, found = rollout.stream(network, rollout.noise(network, 0, [0]), cond), 0, []
    for first in (EARLY, LATE):
        for _ in range(first - at):
            next(running)
        with Work() as work:
            for _ in range(BLOCKS):
                next(running)
        at = first + BLOCKS
        found.append((work.operations, work.bytes))
    (early, early_bytes), (late, late_bytes) = found
    if name in CHOOSES:
        assert late <= 1.02 * early
        assert late_bytes <= 1.02 * early_bytes
    else:
        assert (late, late_bytes) == (early, early_bytes)


@torch.inference_mode()
def test_the_count_sees_a_memory_without_a_bound() -> None:
    network = tiny.model(torch.float32, num_layers=1)
    rollout, cond = Rollout(tiny.memory("full"), num_steps=1), tiny.conditioning(1, 90)
    running = rollout.stream(network, rollout.noise(network, 0, [0]), cond)
    found = []
    for _ in range(2):
        with Work() as work:
            for _ in range(10):
                next(running)
        found.append(work.bytes)
    assert found[1] > 1.2 * found[0]
