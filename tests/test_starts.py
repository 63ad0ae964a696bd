"""Starts of a student against closed forms: Gaussian video, each frame drawn given the last."""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from commands import ROOMS, Command, fit, give
from test_distill import network as weights
from test_distill import same
from test_objectives import Unused
from torch import Tensor

from cf.distillation.consistency import Consistency
from cf.distillation.ode import OdeRegression
from cf.distillation.start import RealClips, Roles
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.objectives.score import Clean, Memoryless, ScoreNetwork, SharedMemory, TimePrefix
from cf.rollout.blockwise import Rollout
from cf.rollout.state import START
from cf.seeding import SampleRandom
from cf.types import Conditioning, Latents, Times

MEAN, SPREAD, PULL = 0.7, 0.4, 0.5
ROLLOUT = Rollout(Full(), num_steps=3, block_frames=1)


def before(clean: Tensor) -> Tensor:
    return torch.cat((torch.zeros_like(clean[:, :1]), clean[:, :-1]), 1)


@dataclass(frozen=True)
class Teacher(ScoreNetwork):
    """Each frame is drawn from N(MEAN + PULL * the frame before, SPREAD^2)."""

    calls: list[int] = field(default_factory=list)

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        self.calls.append(len(x_t))
        scale, shift, pull = affine(t[..., None, None, None])
        return scale * x_t + shift + pull * before(clean)


def affine(t: Any) -> tuple[Any, Any, Any]:
    """The exact velocity, as scale * x_t + shift + pull * the frame before."""
    variance = (1 - t) ** 2 * SPREAD**2 + t**2
    gain = (1 - t) * SPREAD**2 / variance
    scale = t / variance - gain
    centre = -1 - scale * (1 - t)
    return scale, centre * MEAN, centre * PULL


@dataclass(frozen=True)
class Student(ScoreNetwork):
    """Says x0 = own[0] x_t + own[1] + own[2] * the frame before, of numbers for each time."""

    times: tuple[float, ...] = ()
    own: Tensor = field(default_factory=lambda: torch.zeros(3))

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        known = torch.tensor(self.times).double()
        at = (t[..., None] - known).abs().argmin(-1)
        scale, shift, pull = self.own[:, at][..., None, None, None]
        wide = t[..., None, None, None].clamp(min=1e-9)
        return (x_t - scale * x_t - shift - pull * before(clean)) / wide


def composed(times: list[float]) -> Tensor:
    """Euler's steps from each time to 0, as one affine map each, from first principles."""
    found, scale, shift, pull = [], 1.0, 0.0, 0.0
    for t, to in reversed(list(zip(times, [*times[1:], 0.0], strict=True))):
        a, b, c = (float(x) * (to - t) for x in affine(torch.tensor(t).double()))
        shift, pull = shift + scale * b, pull + scale * c
        scale *= 1 + a
        found.append([scale, shift, pull])
    return torch.tensor(found[::-1]).double().T


def clips(step: int, count: int = 16) -> RealClips:
    samples = tuple(range(step * count, (step + 1) * count))
    video = tiny.latents(count, 3, seed=step)
    return RealClips(video, Conditioning(), None, samples, SampleRandom((1,), samples), step)


def trained(start: Any, times: list[float], steps: int = 400) -> Tensor:
    own = torch.zeros(3, len(times), dtype=torch.float64, requires_grad=True)
    student = Student(Unused(), times=tuple(times), own=own)
    roles = Roles(student, student, Teacher(Unused()))
    optimizer = torch.optim.Adam([own], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for step in range(steps):
        optimizer.zero_grad()
        start.loss(clips(step), roles).value.backward()
        optimizer.step()
        schedule.step()
    return own.detach()


@pytest.mark.whole
def test_consistency_reaches_the_ends_of_the_teachers_steps() -> None:
    points = 5
    times = ROLLOUT.schedule.timesteps(points).double().tolist()
    found = trained(Consistency(ROLLOUT, points), times, 700)
    torch.testing.assert_close(found, composed(times), rtol=0, atol=2e-3)


@pytest.mark.whole
def test_regression_on_trajectories_reaches_the_ends_of_the_teachers_steps(tmp_path: Path) -> None:
    start = OdeRegression(ROLLOUT, str(tmp_path), count=64, solver_steps=12)
    start.prepare("toy")
    grid = {*ROLLOUT.schedule.timesteps(12).tolist(), *start.times}
    exact = composed(sorted(grid, reverse=True))
    places = [sorted(grid, reverse=True).index(t) for t in start.times]
    found = trained(start, start.times)
    torch.testing.assert_close(found, exact[:, places], rtol=0, atol=2e-3)


def test_steps_of_the_teacher_approach_its_ode() -> None:
    """The ODE of a Gaussian ends at the centre and as many spreads away as it stands at time t."""
    times = Rollout(Full()).schedule.timesteps(4000).double().tolist()
    scale, shift, pull = composed(times)[:, 2000]
    t = times[2000]
    std = ((1 - t) ** 2 * SPREAD**2 + t**2) ** 0.5
    assert float(scale) == pytest.approx(SPREAD / std, rel=2e-3)
    assert float(shift) == pytest.approx(MEAN * (1 - (1 - t) * SPREAD / std), rel=2e-3)
    assert float(pull) == pytest.approx(PULL * (1 - (1 - t) * SPREAD / std), rel=2e-3)


def test_the_loss_of_consistency_is_that_of_its_definition() -> None:
    own = tiny.draw(3, 8, seed=4).requires_grad_()
    times = ROLLOUT.schedule.timesteps(8).double().tolist()
    ends = torch.tensor([[1.0], [0], [0]]).double()
    student, average = (
        Student(Unused(), times=(*times, 0.0), own=torch.cat((x, ends), 1))
        for x in (own, own.detach() * 0.9)
    )
    given = clips(3)
    loss = Consistency(ROLLOUT, 8).loss(given, Roles(student, average, Teacher(Unused())))
    errors = []
    for i in range(16):
        from cf.seeding import seeded

        places = torch.rand(3, generator=seeded(1, 0, given.samples[i]))
        eps = torch.randn(3, 2, 4, 4, generator=seeded(1, 1, given.samples[i])).double()
        for f in range(3):
            k = int(float(places[f]) * 8)
            t, to = times[k], [*times, 0.0][k + 1]
            past = given.latents[i, f - 1] if f else torch.zeros(2, 4, 4).double()
            x = (1 - t) * given.latents[i, f] + t * eps[f]
            a, b, c = affine(t)
            y = x + (to - t) * (a * x + b + c * past)
            o, p = own[:, k], average.own[:, k + 1]
            errors.append((o[0] * x + o[1] + o[2] * past - (p[0] * y + p[1] + p[2] * past)) ** 2)
    expected = torch.stack(errors).mean()
    torch.testing.assert_close(loss.value, expected, rtol=1e-6, atol=0)
    mine, theirs = (torch.autograd.grad(x, own)[0] for x in (loss.value, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-9)


def test_a_whole_clips_teacher_is_regressed_on_over_its_own_past(tmp_path: Path) -> None:
    given = clips(0)
    seen = []

    class Watched(Student):
        def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
            seen.append(clean)
            return super().predict(x_t, t, cond, clean)

    own = torch.zeros(3, 3, dtype=torch.float64)
    for past in ("video", "trajectory"):
        start = OdeRegression(ROLLOUT, str(tmp_path / past), past=past)  # type: ignore[arg-type]
        student = Watched(Unused(), times=tuple(start.times), own=own)
        start.loss(given, Roles(student, student, Teacher(Unused())))
    end = start.solved(given, Roles(student, student, Teacher(Unused())))[1][:, -1]
    assert torch.equal(seen[0], given.latents)
    assert torch.equal(seen[1], end)


@pytest.mark.parametrize("real", [0, 1, 2])
def test_the_past_is_a_rollout_that_the_student_made_when_its_sample_came(
    real: int, tmp_path: Path
) -> None:
    """Both networks see it, and it is kept; what the student learns later changes nothing."""
    cond, samples = tiny.conditioning(2, 3), (4, 5)
    given = RealClips(tiny.latents(2, 3), cond, None, samples, SampleRandom((1,), samples), 0)
    network, seen = tiny.model(), []

    class Watched(SharedMemory):
        def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
            seen.append(clean)
            return super().predict(x_t, t, cond, clean)

    student, teacher = (
        Watched(made, memory=Full(), block_frames=1) for made in (network, tiny.model(seed=1))
    )
    few: Any = {"count": 8, "solver_steps": 4, "prefix_blocks": (real, real)}
    start = OdeRegression(ROLLOUT, str(tmp_path), past="rollout", **few)
    roles = Roles(student, student, teacher)
    first = start.loss(given, roles)
    random, known = given.random.purpose(4), given.latents[:, :real]

    def noise(*at: int) -> Tensor:
        return random.purpose(*at).normal(1, *tiny.SHAPE)

    state = ROLLOUT.remember(network, known, noise, cond) if real else START
    blocks = [block for block, _ in islice(ROLLOUT.stream(network, noise, cond, state), 3 - real)]
    expected = torch.cat([known, *blocks], 1)
    assert len(seen) == 1 + len({*ROLLOUT.schedule.timesteps(4).tolist(), *start.times})
    for past in seen:
        torch.testing.assert_close(past, expected, rtol=0, atol=1e-12)
    again = start.loss(given, roles)
    assert torch.equal(first.value, again.value)
    with torch.no_grad():
        [weight.mul_(1.1) for weight in network.parameters()]
    start.loss(given, roles)
    assert torch.equal(seen[-1], seen[0])


def test_rollouts_start_from_as_much_real_video_as_is_drawn_for_a_batch(tmp_path: Path) -> None:
    video, cond, samples = tiny.latents(2, 4), tiny.conditioning(2, 4), (0, 1)
    network = SharedMemory(tiny.model(), memory=Full(), block_frames=1)
    few: Any = {"solver_steps": 1, "past": "rollout", "prefix_blocks": (1, 9)}
    start, found = OdeRegression(ROLLOUT, str(tmp_path), **few), set()
    for number in range(16):
        clips = RealClips(video, cond, None, samples, SampleRandom((1,), samples), number)
        made, _ = start.solved(clips, Roles(network, network, network))
        same = (made.latents == video).flatten(2).all(2)
        real = int(same[0].sum())
        assert torch.equal(same, (torch.arange(4) < real).expand(2, 4))
        found.add(real)
    assert found == {1, 2, 3, 4}
    start = OdeRegression(ROLLOUT, str(tmp_path), **{**few, "prefix_blocks": (4, 9)})
    with pytest.raises(ValueError, match=r"prefix_blocks=\[4, 9\]: clips of 4 latent frames"):
        start.solved(clips, Roles(network, network, network))


# What is kept of a teacher


def kept(folder: Path, **more: Any) -> OdeRegression:
    start = OdeRegression(ROLLOUT, str(folder), **{"count": 8, "solver_steps": 4, **more})
    start.prepare("toy")
    return start


def losses(start: OdeRegression, count: int, steps: int) -> tuple[list[float], list[int]]:
    own = tiny.draw(3, 3, seed=4)
    student, teacher = Student(Unused(), times=tuple(start.times), own=own), Teacher(Unused())
    roles = Roles(student, student, teacher)
    made = [float(start.loss(clips(step, count), roles).value) for step in range(steps)]
    return made, teacher.calls


def test_trajectories_are_solved_once_and_are_the_same_ever_after(tmp_path: Path) -> None:
    once, calls = losses(kept(tmp_path), 4, 4)
    assert len(calls) == 2 * len({*ROLLOUT.schedule.timesteps(4).tolist(), *ROLLOUT.times})
    again, none = losses(kept(tmp_path), 4, 4)
    assert again == once
    assert none == []
    (tmp_path / "00000005.safetensors").unlink()  # as after a kill
    mended, some = losses(kept(tmp_path), 4, 4)
    assert mended == once
    assert set(some) == {1}
    other = losses(kept(tmp_path), 8, 2)[0]  # a batch twice as large
    assert other == [pytest.approx(sum(once[2 * i : 2 * i + 2]) / 2, rel=1e-9) for i in range(2)]


@pytest.mark.parametrize("harm", ["changed", "cut", "gone", "grown", "strange"])
def test_a_damaged_trajectory_is_refused(harm: str, tmp_path: Path) -> None:
    losses(kept(tmp_path), 4, 2)
    file = tmp_path / "00000002.safetensors"
    held = file.read_bytes()
    changes = {
        "changed": held[:-9] + bytes([held[-9] ^ 1]) + held[-8:],
        "cut": held[:-40],
        "grown": held + bytes(2**17),
        "strange": b"hello",
    }
    file.unlink() if harm == "gone" else file.write_bytes(changes[harm])
    first = 2 if harm == "gone" else 0
    own = Student(Unused(), times=tuple(ROLLOUT.times), own=tiny.draw(3, 3))
    roles = Roles(own, own, Teacher(Unused()))
    with pytest.raises(ValueError, match=r"00000002.safetensors .* train anew"):
        [kept(tmp_path).loss(clips(step, 4), roles) for step in range(first, 4)]


def test_trajectories_of_another_kind_or_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"start.by.prefix_blocks must be \[least, most\] .*3, 2"):
        kept(tmp_path, past="rollout", prefix_blocks=(3, 2))
    kept(tmp_path)
    with pytest.raises(
        ValueError, match=r"another teacher or student, other data or other steps; give"
    ):
        kept(tmp_path, solver_steps=5)
    with pytest.raises(ValueError, match=r"count=1000000000 .* more than start.by.most_gb=64"):
        losses(kept(tmp_path / "many", count=10**9), 4, 1)
    assert [one.name for one in (tmp_path / "many").iterdir()] == ["about.json"]


# As runs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("base") / "run", *ROOMS, "trainer.max_steps=1")


def settings(base: Path, start: str, *more: str) -> tuple[str, ...]:
    roles = (f"start.student.path='{base}'", f"start.teacher.path='{base}'")
    own = ("start.by.count=6", "start.by.solver_steps=4") if start == "ode" else ()
    few = ("rollout=blockwise", "rollout.num_steps=2", "module=start", f"start={start}")
    return (*ROOMS, *few, *roles, *own, *more)


@pytest.mark.whole
@pytest.mark.parametrize(
    "start", [pytest.param("consistency", marks=pytest.mark.exhaustive), "ode"]
)
def test_a_start_is_a_phase_that_resumes_to_the_same_bits(
    start: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(tmp_path / "whole", *settings(base, start))
    assert any(not torch.equal(w, weights(base)[n]) for n, w in weights(whole).items())
    from cf.modules.start import StartModule

    step = StartModule.training_step

    def interrupted(self: Any, *arguments: Any) -> Tensor:
        if self.global_step == 3 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise RuntimeError
        return step(self, *arguments)

    monkeypatch.setattr(StartModule, "training_step", interrupted)
    with pytest.raises(SystemExit):
        fit(tmp_path / "cut", *settings(base, start))
    give("cf.fit", f"resume='{tmp_path / 'cut'}'")
    assert same(whole, tmp_path / "cut")
    files = sorted((whole / "trajectories").glob("*.safetensors"))
    assert len(files) == (6 if start == "ode" else 0)


@pytest.mark.whole
def test_a_plain_start_trains_nothing_and_says_so(
    base: Path, refused: Command, tmp_path: Path
) -> None:
    told = refused("cf.fit", *settings(base, "plain"), f"hydra.run.dir='{tmp_path / 'run'}'")
    assert "start=plain trains nothing" in told
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_teacher_that_does_not_see_the_past_of_the_student_is_refused(
    base: Path, refused: Command, tmp_path: Path
) -> None:
    """Its trajectories would have nothing to do with what the student goes on from."""
    network = tiny.model()
    blind = [Memoryless(network), TimePrefix(network)]
    blind.append(SharedMemory(network, memory=Sliding(sink_frames=0, window_frames=3)))
    for past in ("video", "rollout"):
        start = OdeRegression(ROLLOUT, str(tmp_path), past=past)  # type: ignore[arg-type]
        start.check_view(SharedMemory(network, memory=Full()))
        for one in blind:
            with pytest.raises(ValueError, match=f"start.by.past={past}: .* score=full_history"):
                start.check_view(one)
    OdeRegression(ROLLOUT, str(tmp_path), past="trajectory").check_view(blind[0])
    own = settings(base, "ode", "start.by.past=rollout", "score=memoryless")
    told = refused("cf.fit", *own, f"hydra.run.dir='{tmp_path / 'run'}'")
    assert "a teacher that sees a clip at once or a block alone (Memoryless)" in told


@pytest.mark.whole
def test_rollouts_belong_to_the_student_that_made_them(
    base: Path, refused: Command, tmp_path: Path
) -> None:
    """A run that goes on has other weights than it began with, and takes its own up."""
    own = settings(base, "ode", "start.by.past=rollout")
    run = fit(tmp_path / "run", *own, "trainer.max_steps=2")
    give("cf.fit", f"resume='{run}'", "trainer.max_steps=3")
    kept = f"start.by.dirpath='{run / 'trajectories'}'"
    fit(tmp_path / "again", *own, kept, "trainer.max_steps=1")
    for name, more in (
        ("another", (f"start.student.path='{run}'",)),
        ("real", ("start.by.past=video",)),
    ):
        told = refused("cf.fit", *own, kept, *more, f"hydra.run.dir='{tmp_path / name}'")
        assert "of another teacher or student" in told


@pytest.mark.whole
def test_trajectories_belong_to_what_guides_the_teacher(
    base: Path, refused: Command, tmp_path: Path
) -> None:
    kept = f"start.by.dirpath='{tmp_path / 'kept'}'"
    guided = (
        *("guide=previous_block", f"start.guide.path='{base}'"),
        *("score.guidance=2", "trainer.max_steps=1"),
    )
    fit(tmp_path / "run", *settings(base, "ode", kept, *guided))
    for name, more in (
        ("unguided", ["trainer.max_steps=1"]),
        ("at-other-times", [*guided, "score.guidance_times=[0.5,1]"]),
        ("by-another", [*guided, "guide.memory.window_frames=9"]),
    ):
        own = settings(base, "ode", kept, *more, f"hydra.run.dir='{tmp_path / name}'")
        assert "another teacher or student, other data or other steps" in refused("cf.fit", *own)
