"""DMD and direct forcing against closed forms: Gaussian data, whose scores are known exactly."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.base import Backbone
from cf.objectives.base import Networks, TimeSampling, Window
from cf.objectives.direct import DirectForcing
from cf.objectives.dmd import DMD
from cf.objectives.plan import Part, Plan
from cf.objectives.score import Clean, ScoreNetwork, SharedMemory
from cf.schedule import FlowSchedule
from cf.seeding import SampleRandom
from cf.types import Conditioning, Latents, Times

TIMES = TimeSampling(FlowSchedule(5.0), block_frames=None)
NOTHING = Conditioning()


class Unused(Backbone):
    """Stands where a network belongs that is never called."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    prepare = forward = fake_conditioning = None  # type: ignore[assignment]
    dtype = torch.float64  # type: ignore[assignment]
    device = torch.device("cpu")  # type: ignore[assignment]


@dataclass(frozen=True)
class Gaussian(ScoreNetwork):
    """Frames drawn from N(pull * last clean frame before the window + mean, spread^2).

    The velocity is the exact posterior mean of eps - x0 given x_t.
    """

    mean: Tensor | float = 0.0
    spread: Tensor | float = 1.0
    pull: float = 0.0

    def centre(self, x_t: Latents, clean: Clean) -> Tensor:
        start = clean.shape[1] - x_t.shape[1]
        last = clean[:, start - 1 : start] if start else torch.zeros_like(x_t[:, :1])
        return self.mean + self.pull * last

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        centre, at = self.centre(x_t, clean), t[..., None, None, None]
        variance = (1 - at) ** 2 * self.spread**2 + at**2
        off = x_t - (1 - at) * centre
        x0 = centre + (1 - at) * self.spread**2 / variance * off
        return at / variance * off - x0


def window(frames: Tensor, past: Tensor | None = None, real: bool = False) -> Window:
    past = frames[:, :0].detach() if past is None else past
    return Window(past, frames, NOTHING, tuple(range(len(frames))), real=real)


def noised(frames: Tensor, random: SampleRandom, times: TimeSampling) -> tuple[Tensor, Tensor]:
    """The time and the noisy window, from first principles."""
    raw = torch.stack(
        [torch.rand(1, generator=generator(random, 0, i)) for i in range(len(frames))]
    )
    shift = times.schedule.shift
    t = (shift * raw / (1 + (shift - 1) * raw)).clamp(times.least, times.most).double()
    eps = torch.stack(
        [
            torch.randn(frames.shape[1:], generator=generator(random, 1, i))
            for i in range(len(frames))
        ]
    ).double()
    at = t[..., None, None, None]
    return t, (1 - at) * frames + at * eps


def generator(random: SampleRandom, purpose: int, sample: int) -> torch.Generator:
    from cf.seeding import seeded

    return seeded(*random.key, purpose, sample)


def test_the_gradient_of_dmd_is_the_difference_of_the_scores() -> None:
    frames = tiny.latents(5, 3, seed=1).requires_grad_()
    past = tiny.latents(5, 2, seed=2)
    real = Gaussian(Unused(), mean=0.7, spread=0.5, pull=0.3)
    fake = Gaussian(Unused(), mean=-0.2, spread=1.5, pull=0.1)
    random = SampleRandom((3,), tuple(range(5)))
    loss = DMD(TIMES).student_loss(window(frames, past), Networks(real, real, fake), random)
    (given,) = torch.autograd.grad(loss.value, frames)

    x = frames.detach()
    t, x_t = noised(x, random, TIMES)
    at = t[..., None, None, None]

    def score(mean: float, spread: float, pull: float) -> Tensor:
        """Gradient of the log density of x_t, itself Gaussian."""
        centre = mean + pull * past[:, -1:]
        return -(x_t - (1 - at) * centre) / ((1 - at) ** 2 * spread**2 + at**2)

    def x0(of: Tensor) -> Tensor:
        """Tweedie's formula on the linear path."""
        return (x_t + at**2 * of) / (1 - at)

    difference = x0(score(-0.2, 1.5, 0.1)) - x0(score(0.7, 0.5, 0.3))
    scale = (x - x0(score(0.7, 0.5, 0.3))).abs().mean((1, 2, 3, 4), keepdim=True)
    torch.testing.assert_close(given, difference / scale / x.numel(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("divergence", ["squared", "kl"])
def test_the_gradient_of_direct_forcing_is_that_of_the_divergence(divergence: Any) -> None:
    frames, past = tiny.latents(4, 3, seed=1), tiny.latents(4, 3, seed=2)
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    student = Gaussian(Unused(), mean=mean, spread=0.8)
    teacher = Gaussian(Unused(), mean=0.6, spread=0.4, pull=0.5)
    objective = DirectForcing(TIMES, divergence, student_std=0.5, teacher_std=2.0)
    random = SampleRandom((4,), tuple(range(4)))
    loss = objective.student_loss(window(frames, past), Networks(student, teacher, None), random)
    (given,) = torch.autograd.grad(loss.value, mean)

    t, x_t = noised(frames, random, TIMES)
    at = t[..., None, None, None]

    def velocity(centre: Tensor, spread: float) -> Tensor:
        x0 = centre + (1 - at) * spread**2 / ((1 - at) ** 2 * spread**2 + at**2) * (
            x_t - (1 - at) * centre
        )
        return (x_t - x0) / at

    told = velocity(mean, 0.8)
    wanted = velocity(0.6 + 0.5 * past[:, -1:], 0.4).detach()
    if divergence == "squared":
        expected = (told - wanted).square().mean()
    else:
        one, other = (torch.distributions.Normal(*p) for p in ((wanted, 2.0), (told, 0.5)))
        expected = torch.distributions.kl_divergence(one, other).mean()
    (truth,) = torch.autograd.grad(expected, mean)
    torch.testing.assert_close(loss.value, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(given, truth, rtol=1e-10, atol=0)


@pytest.mark.whole
def test_dmd_takes_a_gaussian_student_to_the_teacher() -> None:
    """The student x = mean + spread * z ends at the teacher's mean and spread given the past.

    The critic is exact: the student's own density.
    """
    mean = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    log_spread = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    real = Gaussian(Unused(), mean=0.5, spread=0.4, pull=0.5)
    past = torch.full((16, 1, 2, 4, 4), 2.0, dtype=torch.float64)  # the teacher's centre is 1.5
    optimizer = torch.optim.Adam([mean, log_spread], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 300)
    for step in range(300):
        z = tiny.draw(16, 1, 2, 4, 4, seed=step)
        fake = Gaussian(Unused(), mean=mean.detach(), spread=log_spread.detach().exp())
        random = SampleRandom((step,), tuple(range(16)))
        made = window(mean + log_spread.exp() * z, past)
        loss = DMD(TIMES).student_loss(made, Networks(real, real, fake), random)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        schedule.step()
    assert float(mean.detach()) == pytest.approx(1.5, abs=0.02)
    assert float(log_spread.detach().exp()) == pytest.approx(0.4, abs=0.02)


def test_direct_forcing_takes_a_student_to_the_teachers_velocity() -> None:
    mean = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    teacher = Gaussian(Unused(), mean=0.5, spread=0.4, pull=0.5)
    past = torch.full((16, 1, 1, 1, 1), 2.0, dtype=torch.float64)
    optimizer = torch.optim.Adam([mean], lr=0.05)
    for step in range(200):
        frames = tiny.draw(16, 1, 1, 1, 1, seed=step)
        student = Gaussian(Unused(), mean=mean, spread=0.4)
        random = SampleRandom((step,), tuple(range(16)))
        loss = DirectForcing(TIMES).student_loss(
            window(frames, past), Networks(student, teacher, None), random
        )
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
    assert float(mean.detach()) == pytest.approx(1.5, abs=1e-3)


@pytest.mark.whole
def test_the_critic_learns_the_students_distribution() -> None:
    """Its loss is least at the true mean: the derivative there is zero, on average."""
    mean = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    class Network(Unused):
        def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
            return eps - x0

    fake = Gaussian(Network(), mean=mean, spread=0.6)
    frames = 0.3 + 0.6 * tiny.draw(20000, 1, 1, 1, 1, seed=5)
    loss = DMD(TIMES).critic_loss(
        window(frames), fake, SampleRandom((1,), tuple(range(len(frames))))
    )
    (at_truth,) = torch.autograd.grad(loss.value, mean)
    assert abs(float(at_truth)) < 0.05
    away = Gaussian(Network(), mean=0.8, spread=0.6)
    worse = DMD(TIMES).critic_loss(
        window(frames), away, SampleRandom((1,), tuple(range(len(frames))))
    )
    assert float(worse.value.detach()) > float(loss.value.detach()) + 0.05


@pytest.mark.whole
def test_dmd_takes_a_student_to_the_teacher_beside_a_critic_in_training() -> None:
    """As in a run: the critic only knows what it has been shown of the student's frames."""
    student, critic = (
        [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (-1.0, 0.0)]
        for _ in range(2)
    )
    real = Gaussian(Unused(), mean=0.5, spread=0.4, pull=0.5)

    class Network(Unused):
        def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
            return eps - x0

    past = torch.full((16, 1, 2, 4, 4), 2.0, dtype=torch.float64)  # the teacher's centre is 1.5
    optimizers = [torch.optim.Adam(student, lr=0.02), torch.optim.Adam(critic, lr=0.05)]
    schedules = [torch.optim.lr_scheduler.LinearLR(one, 1.0, 0.02, 400) for one in optimizers]
    for step in range(400):
        for turn in range(4):  # three of the critic's, one of the student's
            z = tiny.draw(16, 1, 2, 4, 4, seed=4 * step + turn)
            random = SampleRandom((step, turn), tuple(range(16)))
            fake = Gaussian(Network(), mean=critic[0], spread=critic[1].exp())
            made = window(student[0] + student[1].exp() * z, past)
            which = int(turn < 3)
            loss = (
                DMD(TIMES).critic_loss(made, fake, random)
                if which
                else DMD(TIMES).student_loss(made, Networks(real, real, fake), random)
            )
            optimizers[which].zero_grad()
            loss.value.backward()
            optimizers[which].step()
            schedules[which].step() if turn > 1 else None
    assert float(student[0].detach()) == pytest.approx(1.5, abs=0.05)
    assert float(student[1].detach().exp()) == pytest.approx(0.4, abs=0.05)


def test_the_gradient_of_the_critic_is_that_of_flow_matching() -> None:
    frames, past = tiny.latents(4, 3, seed=1), tiny.latents(4, 2, seed=2)
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    class Network(Unused):
        def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
            return eps - x0

    fake = Gaussian(Network(), mean=mean, spread=0.8, pull=0.3)
    random = SampleRandom((4,), tuple(range(4)))
    loss = DMD(TIMES).critic_loss(window(frames, past), fake, random)
    (given,) = torch.autograd.grad(loss.value, mean)
    t, x_t = noised(frames, random, TIMES)
    at = t[..., None, None, None]
    centre = mean + 0.3 * past[:, -1:]
    x0 = centre + (1 - at) * 0.64 / ((1 - at) ** 2 * 0.64 + at**2) * (x_t - (1 - at) * centre)
    expected = ((x_t - x0) / at - (x_t - frames) / at).square().mean()
    (truth,) = torch.autograd.grad(expected, mean)
    torch.testing.assert_close(loss.value, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(given, truth, rtol=1e-9, atol=0)


def test_guidance_leads_away_from_the_unconditional_velocity() -> None:
    network = tiny.model()
    with_text, without = tiny.conditioning(2, 6, seed=1), tiny.conditioning(2, 6, seed=2)
    clean, x_t, t = tiny.latents(2, 6), tiny.latents(2, 3, seed=3), torch.full((2, 3), 0.5).double()
    plain = SharedMemory(network, memory=Full())
    guided = SharedMemory(network, guidance=4.0, memory=Full())
    told = plain.velocity(x_t, t, with_text, clean)
    untold = plain.velocity(x_t, t, without, clean)
    expected = untold + 4 * (told - untold)
    torch.testing.assert_close(guided.velocity(x_t, t, with_text, clean, without), expected)
    with pytest.raises(ValueError, match="needs text to lead away from"):
        guided.velocity(x_t, t, with_text, clean)


def test_guidance_leads_away_from_a_weaker_network_within_its_times() -> None:
    """Autoguidance: no text without a prompt is asked for; other times are the network's own."""
    network, weaker, cond = tiny.model(), tiny.model(seed=5), tiny.conditioning(2, 6, seed=1)
    clean, x_t = tiny.latents(2, 6), tiny.latents(2, 3, seed=3)
    t = torch.tensor([[0.5, 0.6, 0.9], [1.0, 0.95, 0.2]]).double()
    guide = SharedMemory(weaker, memory=Sliding(0, 3))
    plain = SharedMemory(network, memory=Full())
    guided = replace(plain, guidance=2.5, guide=guide, guidance_times=(0.6, 0.95))
    own, other = (one.predict(x_t, t, cond, clean) for one in (plain, guide))
    expected = own.clone()
    for sample, frame in ((0, 1), (0, 2), (1, 1)):
        at = sample, frame
        expected[at] = other[at] + 2.5 * (own[at] - other[at])
    torch.testing.assert_close(guided.velocity(x_t, t, cond, clean), expected, rtol=1e-12, atol=0)
    assert not torch.allclose(own[0, 1], other[0, 1])
    critic = guided.unguided(weaker)
    assert critic.networks == (weaker,)
    assert torch.equal(critic.velocity(x_t, t, cond, clean), critic.predict(x_t, t, cond, clean))


def test_a_kl_of_equal_gaussians_is_zero() -> None:
    same = Gaussian(Unused(), mean=0.2)
    loss = DirectForcing(TIMES, "kl", 0.3, 0.3).student_loss(
        window(tiny.latents(2, 3)), Networks(same, same, None), SampleRandom((0,), (0, 1))
    )
    assert float(loss.value) == pytest.approx(0, abs=1e-7)
    assert math.isfinite(float(loss.logs["velocity_error"]))


def test_parts_of_a_plan_take_their_turns() -> None:
    forcing, dmd = DirectForcing(TIMES), DMD(TIMES)
    plan = Plan([Part(forcing, until=10), Part(dmd, weight=0.5, start=8, critic_from=4)])
    assert [p.objective for p in plan.at(7)] == [forcing]
    assert [p.objective for p in plan.at(8)] == [forcing, dmd]
    assert [p.objective for p in plan.at(10)] == [dmd]
    assert [step for step in range(6) if plan.parts[1].wants_critic(step)] == [4, 5]
    with pytest.raises(ValueError, match="no objective counts at student step 12"):
        Plan([Part(forcing, until=10)]).at(12)
    with pytest.raises(ValueError, match="parts="):
        Plan([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DirectForcing(TIMES, "l1"), "divergence"),  # type: ignore[arg-type]
        (lambda: DirectForcing(TIMES, "kl", student_std=0.0), "student_std=0.0 must be above 0"),
        (lambda: TimeSampling(FlowSchedule(), least=0.9, most=0.1), "least=0.9"),
    ],
)
def test_bad_settings_are_named(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
