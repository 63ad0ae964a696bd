"""What a distillation is watched by, how long it rolls out and what it weighs, without a run."""

from dataclasses import replace

import pytest
import tiny
import torch
from test_objectives import TIMES, Gaussian, Unused

from cf.distillation.rollout_length import Length
from cf.distillation.scoring import scored
from cf.modules.divergence_guard import Guard
from cf.objectives.base import Networks, Window
from cf.objectives.direct import DirectForcing
from cf.objectives.dmd import DMD
from cf.objectives.plan import Part
from cf.seeding import SampleRandom
from cf.types import Conditioning, Diverged


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


def test_the_loss_of_a_step_weighs_its_objectives_and_averages_over_their_samples() -> None:
    """Two samples of the student's and one of real video, which DMD does not take."""
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    student, teacher = (Gaussian(Unused(), mean=m, spread=0.8) for m in (mean, 0.6))
    networks = Networks(student, teacher, Gaussian(Unused(), mean=-0.2))
    frames = tiny.latents(2, 3, seed=1) + mean
    own = Window(frames[:, :0].detach(), frames, Conditioning(), (0, 2))
    real = replace(own, frames=tiny.latents(1, 3), past=own.past[:1], samples=(1,), real=True)
    forcing, dmd = DirectForcing(TIMES), DMD(TIMES)
    parts = [Part(forcing, weight=2.0), Part(dmd, weight=0.5)]
    found = scored(parts, [own, real], networks, False, 9)
    (given,) = torch.autograd.grad(found.value, mean, retain_graph=True)
    each = [
        (2 * 2 / 3, forcing, own, SampleRandom((9, 1), (0, 2))),
        (2 * 1 / 3, forcing, real, SampleRandom((9, 1), (1,))),
        (0.5, dmd, own, SampleRandom((9, 2), (0, 2))),
    ]
    losses = [(w, of.student_loss(window, networks, key).value) for w, of, window, key in each]
    truth = sum(w * float(torch.autograd.grad(x, mean, retain_graph=True)[0]) for w, x in losses)
    assert float(given) == pytest.approx(truth, rel=1e-9)
    expected = sum(w * float(x.detach()) for w, x in losses)
    assert float(found.value.detach()) == pytest.approx(expected, rel=1e-9)
