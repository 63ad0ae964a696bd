"""What a distillation is watched by and how long it rolls out, without a run."""

import pytest
import torch

from cf.distillation.rollout_length import Length
from cf.modules.divergence_guard import Guard
from cf.types import Diverged


def test_the_guard_knows_what_was_usual() -> None:
    guard = Guard(explode=10, collapse=3, patience=4)
    for _ in range(4):
        guard.check_gradient(torch.tensor(1.0), "student", 1)
    guard.check_gradient(torch.tensor(9.0), "student", 2)
    with pytest.raises(Diverged, match="exploded: its norm is 50, was 1"):
        guard.check_gradient(torch.tensor(50.0), "student", 3)
    with pytest.raises(Diverged, match="critic is not finite at step 3"):
        guard.check_gradient(torch.tensor(float("nan")), "critic", 3)
    again = Guard(explode=10, collapse=3, patience=4)
    again.load_state_dict(guard.state_dict())
    with pytest.raises(Diverged, match="exploded"):
        again.check_gradient(torch.tensor(50.0), "student", 3)
    for _ in range(4):  # a critic of other size does not move what is usual for the student
        guard.check_gradient(torch.tensor(0.001), "critic", 3)
    guard.check_gradient(torch.tensor(1.0), "student", 3)
    for _ in range(8):
        guard.check_critic(torch.tensor(0.9), torch.tensor(1.0), 1)
    for _ in range(2):
        guard.check_critic(torch.tensor(4.0), torch.tensor(1.0), 2)
    with pytest.raises(Diverged, match="critic has collapsed"):
        guard.check_critic(torch.tensor(9.0), torch.tensor(1.0), 2)
    dead = Guard(explode=10, patience=4)
    for _ in range(4):
        dead.check_gradient(torch.tensor(0.0), "critic", 1)
    with pytest.raises(Diverged, match="the critic learns nothing: most of its last 4"):
        dead.check_gradient(torch.tensor(0.3), "critic", 2)
    with pytest.raises(ValueError, match="explode=1"):
        Guard(explode=1)


def test_rollouts_grow_longer() -> None:
    length = Length(least=6, most=24, block_frames=3, grow_steps=100)
    assert [length.bound(step) for step in (0, 50, 100, 1000)] == [6, 15, 24, 24]
    drawn = {length(100, 0, batch) for batch in range(200)}
    assert drawn == set(range(6, 25, 3))
    assert {length(0, 0, batch) for batch in range(20)} == {6}
    with pytest.raises(ValueError, match=r"length\.most=25"):
        Length(least=6, most=25)
