"""Teachers: packed histories, error recycling, whole videos over clips, larger than the student."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from commands import ROOMS, STUDENT, Command, fit, give
from ranks import on_two
from safetensors.torch import load_file
from test_objectives import TIMES, Gaussian, Unused, noised, window
from torch import Tensor, nn

from cf.objectives.base import Networks
from cf.objectives.error_bank import ErrorBank, ErrorRecycling
from cf.objectives.packed import Packed, PackedForcing, PackedLayout
from cf.objectives.score import TimePrefix
from cf.objectives.streaming import StreamingTeacher
from cf.objectives.teacher import check_teacher
from cf.schedule import FlowSchedule
from cf.seeding import SampleRandom, seeded
from cf.types import Block, Conditioning, Latents, Prediction, Times


def test_the_layout_is_that_of_context_forcings_teacher() -> None:
    """[3 | 12 | 6], a sparse frame for every 6 latents (24 pixel frames) of the 18 s before."""
    layout = PackedLayout()
    chosen = layout.frames(start=100)
    assert len(chosen) == 21
    assert chosen[:3] == (0, 1, 2)
    assert chosen[-6:] == tuple(range(94, 100))
    sparse = chosen[3:-6]
    assert len(sparse) == 12
    assert {b - a for a, b in zip(sparse, (*sparse[1:], 94), strict=True)} == {6}
    assert 94 - sparse[0] == 72  # 288 pixel frames, 18 s at 16 per second


def test_a_layout_takes_each_frame_once_however_short_the_past() -> None:
    for growth in (1.0, 2.0):
        for start in range(90):
            chosen = PackedLayout(growth=growth).frames(start)
            assert list(chosen) == sorted(set(chosen))
            assert all(0 <= one < start for one in chosen)
            assert chosen[-6:] == tuple(range(max(start - 6, 0), start))
    doubled = PackedLayout(1, 4, 2, spacing=2, growth=2.0).frames(40)
    assert doubled == (0, 8, 24, 32, 36, 38, 39)
    with pytest.raises(ValueError, match="spacing=0"):
        PackedLayout(spacing=0)


class Linear(Unused):
    """The velocity of a frame is weight x itself + pull x the mean of all frames before it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, -0.4], dtype=torch.float64))

    def forward(self, x_t: Any, t: Any, cond: Any, past: Any = None, mask: Any = None) -> Any:  # type: ignore[override]
        before = torch.stack([x_t[:, : i + 1].mean(1) for i in range(x_t.shape[1])], 1)
        velocity = self.weight[0] * x_t + self.weight[1] * before
        return Prediction(velocity, Block((), x_t.shape[1], (2, 2)))


def test_the_gradient_of_packed_forcing_is_that_of_flow_matching_after_the_chosen_frames() -> None:
    layout = PackedLayout(sink_frames=1, sparse_frames=2, recent_frames=2, spacing=3)
    objective = PackedForcing(layout, FlowSchedule(3.0), target_frames=3, context=[9, 9])
    network, x0 = Linear(), tiny.latents(4, 14, seed=1)
    loss = objective(network, x0, Conditioning(), seeded(7))
    (given,) = torch.autograd.grad(loss.value, network.weight)

    drawn = seeded(7)
    torch.randint(1, (), generator=drawn)
    frames, read = x0[:, 9:12], x0[:, [0, 1, 4, 7, 8]]
    eps = torch.randn(frames.shape, generator=drawn).double()
    raw = torch.rand(4, 1, generator=drawn)
    at = (3 * raw / (1 + 2 * raw)).double()[..., None, None, None]
    x_t = (1 - at) * frames + at * eps
    weight = network.weight.detach().clone().requires_grad_()
    means = [torch.cat((read, x_t[:, : i + 1]), 1).mean(1) for i in range(3)]
    told = weight[0] * x_t + weight[1] * torch.stack(means, 1)
    expected = (told - (eps - frames)).square().mean()
    (truth,) = torch.autograd.grad(expected, weight)
    torch.testing.assert_close(loss.value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(given, truth, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"a history of 9 .* raise data\.clip_frames"):
        objective(network, x0[:, :11], Conditioning(), seeded(7))


def test_a_teacher_reads_the_layout_it_was_trained_on() -> None:
    network, cond = tiny.model(), tiny.conditioning(2, 12, origin=True)
    clean, x_t = tiny.latents(2, 12), tiny.latents(2, 3, seed=3)
    t = torch.full((2, 3), 0.5).double()
    score = Packed(network, layout=PackedLayout(1, 1, 2, spacing=3))
    rows = torch.cat((clean[:, [0, 4, 7, 8]], x_t), 1)
    index = [0, 4, 7, 8, 9, 10, 11]
    here = Conditioning(cond.text, cond.control[:, index], cond.origin[:, index])  # type: ignore[index]
    expected = network(rows, torch.full((2, 7), 0.5).double(), here).velocity[:, 4:]
    assert torch.equal(score.predict(x_t, t, cond, clean), expected)
    prefix = Packed(network, layout=PackedLayout(0, 0, 5), tell_clean=True)
    same = TimePrefix(network, prefix_frames=5, tell_clean=True)
    assert torch.equal(*(one.predict(x_t, t, cond, clean) for one in (prefix, same)))


def test_the_bank_is_as_large_as_it_may_be_and_forgets_what_it_has() -> None:
    bank = ErrorBank(grids=4, entries=3, most_bytes=10**6)
    errors = [torch.full((2, 1, 1, 2, 2), value) for value in (0.0, 10.0, 20.0, 11.0)]
    for error in errors:
        bank.add(error, 0.3)
    held = [float(one.float().mean()) for one in bank.errors[1]]
    assert held == [0.0, 11.0, 20.0]  # the most similar one gave way
    assert bank.draw(0.9, seeded(0)) is None
    assert bank.draw(0.26, seeded(0)) is not None
    assert bank.draw(None, seeded(0)) is not None
    other = ErrorBank(grids=4)
    other.load_state_dict(bank.state_dict())
    assert [len(one) for one in other.errors] == [0, 3, 0, 0]
    small = ErrorBank(grids=4, entries=500, most_bytes=4 * 2 * 16)  # two of eight numbers each
    for value in range(9):
        small.add(torch.full((2, 1, 1, 2, 2), float(value)), 0.3)
    assert len(small.errors[1]) == 2
    with pytest.raises(ValueError, match="raise most_bytes"):
        ErrorBank(grids=50, most_bytes=100).add(errors[0], 0.1)
    with pytest.raises(ValueError, match="entries=0"):
        ErrorBank(entries=0)


def test_the_numbers_of_recycling_are_those_of_the_released_teacher() -> None:
    ours, bank = ErrorRecycling(), ErrorBank()
    told = ours.noise, ours.latent, ours.context, ours.clean, ours.learn_clean, ours.warmup
    assert told == (0.01, 0.9, 0.9, 0.5, 0.1, 50)
    assert (bank.grids, bank.entries) == (50, 500)
    with pytest.raises(ValueError, match=r"recycling\.latent=1\.5"):
        ErrorRecycling(latent=1.5)


def recycled(**settings: Any) -> tuple[ErrorRecycling, list[Any]]:
    """A bank with one large error for all times, and what a network is shown."""
    bank = ErrorBank(grids=2, entries=4)
    for t in (0.2, 0.8):
        error = torch.zeros(2, 3, *tiny.SHAPE)
        error[0], error[1] = 100.0, 1000.0
        bank.add(error, t)
    bank.steps = 50
    return ErrorRecycling(FlowSchedule(1.0), bank, **settings), []


def test_errors_are_injected_as_often_as_they_should_be_and_where() -> None:
    recycling, shown = recycled(noise=0.3, latent=0.6, context=0.8, clean=0.25)
    clean, eps = torch.zeros(1000, 8, *tiny.SHAPE), torch.zeros(1000, 3, *tiny.SHAPE)

    def predict(network: Any, clean: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        shown.append((clean, x_t))
        return torch.zeros_like(x_t)

    t = torch.full((1000, 3), 0.5)
    recycling.loss(predict, Network(), clean, 2, eps, t, seeded(3))
    ((read, x_t),) = shown
    assert read[:, :3].abs().max() == 0  # sink and sparse context get none
    assert read[:, 5:].abs().max() == 0
    context = read[:, 3:5].flatten(1).amax(1) > 0
    latent = (x_t.flatten(1).amax(1) % 500 - 50).abs() < 1
    noise = x_t.flatten(1).amax(1) >= 500
    for told, expected in ((context, 0.8), (latent, 0.6), (noise, 0.3)):
        assert float(told.float().mean()) == pytest.approx(0.75 * expected, abs=0.06)
    assert float((context & latent).float().mean()) == pytest.approx(0.75 * 0.48, abs=0.06)


class Network(Unused):
    def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
        return eps - x0


def test_what_is_wanted_leads_from_the_errors_to_the_clean_frames() -> None:
    recycling, _ = recycled(clean=0.0)
    x0, eps = tiny.latents(6, 8, seed=1), tiny.latents(6, 3, seed=2)
    t = torch.linspace(0.1, 0.9, 6).double()[:, None].expand(-1, 3)

    def predict(network: Any, clean: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        velocity: Tensor = (x_t - x0[:, 5:]) / t[..., None, None, None]
        return velocity  # one step along it ends at the clean frames

    loss = recycling.loss(predict, Network(), x0, 2, eps, t, seeded(3))
    assert float(loss.value) == pytest.approx(0, abs=1e-18)
    assert float(loss.logs["guess_error"]) == pytest.approx(0, abs=1e-9)


def test_the_bank_learns_from_all_at_first_and_seldom_from_clean_samples() -> None:
    def predict(network: Any, clean: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x_t)

    def learned(steps: int, **settings: Any) -> int:
        recycling = ErrorRecycling(bank=ErrorBank(), **settings)
        recycling.bank.steps = steps
        x0, eps = torch.zeros(400, 4, *tiny.SHAPE), torch.randn(400, 3, *tiny.SHAPE)
        t = torch.rand(400, 1).expand(-1, 3)
        recycling.loss(predict, Network(), x0, 1, eps, t, seeded(1))
        assert recycling.bank.steps == steps + 1
        return sum(map(len, recycling.bank.errors))

    assert learned(0) == 400
    assert learned(50, clean=1.0) == pytest.approx(40, abs=20)
    assert learned(50, clean=0.0) == 400


def test_the_gradient_under_a_streaming_teacher_is_that_of_the_clips_alone() -> None:
    frames, past = tiny.latents(4, 6, seed=1), tiny.latents(4, 3, seed=2)
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    student = Gaussian(Unused(), mean=mean, spread=0.8, pull=0.9)  # sees no frame before a clip
    teacher = Gaussian(Unused(), mean=0.6, spread=0.4, pull=0.5)
    random = SampleRandom((4,), tuple(range(4)))
    objective = StreamingTeacher(TIMES, clip_frames=2)
    loss = objective.student_loss(window(frames, past), Networks(student, teacher, None), random)
    (given,) = torch.autograd.grad(loss.value, mean)
    t, x_t = noised(frames, random, TIMES)
    at = t[..., None, None, None]

    def velocity(centre: Tensor, spread: float) -> Tensor:
        precision = 1 / spread**2 + (1 - at) ** 2 / at**2
        return (x_t - (centre / spread**2 + (1 - at) * x_t / at**2) / precision) / at

    wanted = velocity(0.6 + 0.5 * past[:, -1:], 0.4)
    expected = (velocity(mean, 0.8) - wanted).square().mean()
    (truth,) = torch.autograd.grad(expected, mean)
    torch.testing.assert_close(loss.value, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(given, truth, rtol=1e-9, atol=0)


PACKED = (
    "objective.target_frames=3",
    "objective.layout.sink_frames=1",
    "objective.layout.recent_frames=2",
    "objective.layout.spacing=2",
    "optimizer=adamw",
)


@pytest.mark.whole
def test_error_recycling_resumes_to_the_same_bits(tmp_path: Path, refused: Command) -> None:
    """The bank is in the checkpoint, and validation adds nothing to it."""
    own = ("objective.recycling.warmup=1", "objective.recycling.bank.entries=2")
    settings = (*ROOMS, *PACKED, *own, "objective=error_recycling", "module.cooldown=0")
    settings = (*settings, "trainer.val_check_interval=2", "data.val_clips=4")
    whole = fit(tmp_path / "whole", *settings, "trainer.max_steps=6")
    parts = fit(tmp_path / "parts", *settings, "trainer.max_steps=4")
    give("cf.fit", f"resume={parts}", "trainer.max_steps=6")
    one, other = (load_file(x / "network.safetensors") for x in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "train/guess_error" in (whole / "metrics.csv").read_text().splitlines()[0]
    banks = [
        torch.load(max((x / "checkpoints").glob("*.ckpt")), weights_only=True)["objective"]
        for x in (whole, parts)
    ]
    assert [bank["steps"] for bank in banks] == [6, 6]
    assert all(
        torch.equal(banks[0]["errors"][k], banks[1]["errors"][k]) for k in banks[0]["errors"]
    )
    told = refused("cf.fit", *settings, "objective.recycling.bank.most_bytes=100")
    assert "raise most_bytes" in told


@pytest.mark.whole
def test_a_teacher_may_be_larger_than_the_student(tmp_path: Path) -> None:
    small = fit(tmp_path / "small", *ROOMS, "trainer.max_steps=2")
    wide = ("teacher_model.dim=48", "teacher_model.num_heads=4", "teacher_model.num_layers=3")
    large = [one.replace("teacher_model", "model") for one in wide]
    named = {one.split("=")[0] for one in large}
    rest = [one for one in ROOMS if one.split("=")[0] not in named]
    teacher = fit(tmp_path / "large", *rest, *large, "trainer.max_steps=2")
    roles = (f"start.student.path='{small}'", f"start.teacher.path='{teacher}'")
    shapes = [one.replace("model.", "teacher_model.") for one in ROOMS if one.startswith("model.")]
    shapes = [one for one in shapes if one.split("=")[0] not in {x.split("=")[0] for x in wide}]
    given = (*ROOMS, *STUDENT, *roles, "teacher=rooms_large", *shapes, *wide, "objective=dmd")
    given = (*given, "module.real_share=0", "trainer.max_steps=2")
    run = fit(tmp_path / "run", *given)
    kept = json.loads((run / "summary.json").read_text())
    assert kept["parameters"] == sum(
        x.numel() for x in load_file(small / "network.safetensors").values()
    )
    settings = (run / "config.yaml").read_text()
    whose = hashlib.sha256((teacher / "network.safetensors").read_bytes()).hexdigest()
    assert whose in settings
    checkpoint = torch.load(max((run / "checkpoints").glob("*.ckpt")), weights_only=True)
    critic = {k for k in checkpoint["state_dict"] if k.startswith("critic.blocks.2")}
    assert not critic  # of the student's two blocks
    small_one, other = tiny.model(), tiny.model(dim=48, control_dim=4)
    check_teacher(small_one, tiny.model(dim=48, num_layers=3))
    with pytest.raises(ValueError, match="control_dim is 4 and the student's 3"):
        check_teacher(small_one, other)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_all_processes_keep_the_errors_of_all(tmp_path: Path) -> None:
    """What one of them writes into the checkpoint is what each of them holds."""
    settings = (*ROOMS, *PACKED, "objective=error_recycling", "trainer.max_steps=2")
    settings = (*settings, "trainer.devices=2", "+trainer.strategy=ddp")
    assert on_two(lambda: fit(tmp_path, *settings)) == [0, 0]
    checkpoint = torch.load(max((tmp_path / "checkpoints").glob("*.ckpt")), weights_only=True)
    kept = checkpoint["objective"]["errors"]
    assert sum(len(one) for one in kept.values()) == 2 * 2 * 4  # steps, processes, samples
