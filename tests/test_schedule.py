"""The path between data and noise: identities, known times, round trips."""

import pytest
import torch
from tiny import draw, latents

from cf.schedule import FlowSchedule

FLOW = FlowSchedule()
X0, EPS = latents(2, 3), latents(2, 3, seed=1)
T = 0.05 + 0.95 * torch.sigmoid(draw(2, 3, seed=2))


def test_the_peers_four_steps() -> None:
    expected = torch.tensor([1, 0.9375, 0.8333333, 0.625])
    torch.testing.assert_close(FlowSchedule(5.0).timesteps(4), expected, atol=1e-7, rtol=0)


def test_without_shift_steps_are_uniform() -> None:
    expected = torch.tensor([1, 0.75, 0.5, 0.25])
    torch.testing.assert_close(FlowSchedule(1.0).timesteps(4), expected)


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("num_steps", [1, 2, 50])
def test_times_fall_from_one_and_stay_above_zero(shift: float, num_steps: int) -> None:
    times = FlowSchedule(shift).timesteps(num_steps)
    assert len(times) == num_steps
    assert times[0] == 1
    assert times[-1] > 0
    assert (times.diff() < 0).all()


@pytest.mark.parametrize("shift", [0.5, 5.0])
def test_warping_is_a_bijection_of_the_unit_interval(shift: float) -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    there = FlowSchedule(shift).warp(t)
    assert there[0] == 0
    assert there[-1] == 1
    torch.testing.assert_close(FlowSchedule(1 / shift).warp(there), t, atol=1e-12, rtol=0)


def test_ends_of_the_path() -> None:
    assert torch.equal(FLOW.add_noise(X0, EPS, torch.zeros_like(T)), X0)
    assert torch.equal(FLOW.add_noise(X0, EPS, torch.ones_like(T)), EPS)


def test_clean_latents_and_noise_come_back() -> None:
    x_t, velocity = FLOW.add_noise(X0, EPS, T), EPS - X0
    torch.testing.assert_close(FLOW.to_x0(velocity, x_t, T), X0, atol=1e-12, rtol=0)
    torch.testing.assert_close(FLOW.to_eps(velocity, x_t, T), EPS, atol=1e-12, rtol=0)


def test_times_are_per_frame() -> None:
    """The time of one frame moves no other frame."""
    moved = T.clone()
    moved[1, 2] /= 2
    changed = (FLOW.add_noise(X0, EPS, T) != FLOW.add_noise(X0, EPS, moved)).flatten(2).any(-1)
    assert changed.nonzero().tolist() == [[1, 2]]


def test_euler_steps_along_a_straight_path_are_exact() -> None:
    x_t, velocity = FLOW.add_noise(X0, EPS, T), EPS - X0
    halfway = FLOW.step(velocity, x_t, T, T / 2)
    torch.testing.assert_close(halfway, FLOW.add_noise(X0, EPS, T / 2), atol=1e-12, rtol=0)
    arrived = FLOW.step(velocity, halfway, T / 2, torch.zeros_like(T))
    torch.testing.assert_close(arrived, X0, atol=1e-12, rtol=0)


def test_impossible_requests_name_the_value() -> None:
    with pytest.raises(ValueError, match=r"shift=0\.0 must be above 0"):
        FlowSchedule(0.0)
    with pytest.raises(ValueError, match="num_steps=0 must be at least 1"):
        FLOW.timesteps(0)
