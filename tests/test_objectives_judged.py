"""Rewarded DMD and the adversarial head against closed forms on Gaussian frames."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from commands import ROOMS, STUDENT, Command, fit, forked, give
from ranks import on_two
from safetensors.torch import load_file
from test_objectives import TIMES, Gaussian, Unused, noised, window
from torch import Tensor, nn

from cf.metrics import DynamicDegree, MotionSmoothness, StaticFraction
from cf.models.judged import Judged
from cf.objectives.adversarial import Adversarial
from cf.objectives.base import Networks, Window
from cf.objectives.dmd import DMD
from cf.objectives.reward import MetricReward, Reward, RewardedDMD
from cf.objectives.score import Clean, Memoryless, SharedMemory
from cf.seeding import SampleRandom
from cf.types import Conditioning, Latents, Times, Video

RANDOM = SampleRandom((3,), tuple(range(5)))


@dataclass(frozen=True)
class FirstPixel(Reward):
    """The mean of the first channel; NaN for one sample."""

    missing: int | None = None

    def __call__(self, video: Video, window: Window) -> Tensor:
        told = video[:, :, 0].mean((1, 2, 3))
        if self.missing is not None:
            told[self.missing] = torch.nan
        return told


def as_video(latents: Latents) -> Video:
    return latents[:, :, [0, 1, 0]]


def test_the_gradient_of_rewarded_dmd_is_that_of_dmd_times_the_exponential_of_the_reward() -> None:
    frames = tiny.latents(5, 3, seed=1).requires_grad_()
    past = tiny.latents(5, 2, seed=2)
    real = Gaussian(Unused(), mean=0.7, spread=0.5, pull=0.3)
    fake = Gaussian(Unused(), mean=-0.2, spread=1.5, pull=0.1)
    networks = Networks(real, real, fake, as_video)
    objective = RewardedDMD(TIMES, FirstPixel(missing=4), temperature=0.25)
    loss = objective.student_loss(window(frames, past), networks, RANDOM)
    (given,) = torch.autograd.grad(loss.value, frames)

    x = frames.detach()
    t, x_t = noised(x, RANDOM, TIMES)
    at = t[..., None, None, None]

    def x0(mean: float, spread: float, pull: float) -> Tensor:
        """The posterior mean of Gaussian frames, from the precision-weighted sum."""
        centre = mean + pull * past[:, -1:]
        precision = 1 / spread**2 + (1 - at) ** 2 / at**2
        return (centre / spread**2 + (1 - at) * x_t / at**2) / precision

    weight = (x[:, :, 0].mean((1, 2, 3)) / 0.25).exp()
    weight[4] = 1.0
    gradient = x0(-0.2, 1.5, 0.1) - x0(0.7, 0.5, 0.3)
    gradient = gradient / (x - x0(0.7, 0.5, 0.3)).abs().mean((1, 2, 3, 4), keepdim=True)
    expected = weight.view(-1, 1, 1, 1, 1) * gradient / x.numel()
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-15)
    assert float(loss.logs["reward_missing"]) == pytest.approx(0.2)
    assert float(loss.logs["reward_weight"]) == pytest.approx(float(weight.mean()))


def test_a_reward_of_nothing_leaves_dmd() -> None:
    class Nothing(Reward):
        def __call__(self, video: Video, window: Window) -> Tensor:
            return video.new_zeros(len(video))

    frames = tiny.latents(5, 3, seed=1).requires_grad_()
    real, fake = (Gaussian(Unused(), mean=m) for m in (0.7, -0.2))
    networks = Networks(real, real, fake, as_video)
    told = [
        torch.autograd.grad(one.student_loss(window(frames), networks, RANDOM).value, frames)[0]
        for one in (DMD(TIMES), RewardedDMD(TIMES, Nothing()))
    ]
    assert torch.equal(*told)


def test_a_metric_is_a_reward() -> None:
    """Each window is measured alone, as the metric alone measures it, up being better."""
    still = tiny.draw(1, 3, 32, 32, seed=1).abs().clamp(0, 1).repeat(12, 1, 1, 1)
    moving = torch.stack([frame.roll(i, -1) for i, frame in enumerate(still)])
    video = torch.stack((still, moving))
    made = window(tiny.latents(2, 3))
    for metric in (DynamicDegree(), StaticFraction()):
        told = MetricReward(metric, fps=8, centre=0.5, spread=2.0)(video, made)
        for reward, frames in zip(told, video, strict=True):
            alone = type(metric)()
            alone.update(frames.float(), video_id=0, fps=8)
            sign = 1 if alone.higher_is_better else -1
            assert float(reward) == pytest.approx(sign * (float(alone.compute()) - 0.5) / 2)


@dataclass(frozen=True)
class Plain(Gaussian):
    """A critic whose features are the noisy window itself, read by a linear head."""

    def features(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Tensor:
        return x_t.flatten(3).movedim(2, 3)


class Head(Judged):
    """A linear head of one weight per channel, over nothing."""

    def __init__(self, weight: Tensor) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(weight)

    def logits(self, features: Tensor) -> Tensor:
        return (features @ self.weight).flatten(1).mean(1)


@pytest.mark.parametrize("real", [True, False])
def test_the_gradient_of_the_head_and_of_the_student_are_those_of_the_logistic_loss(
    real: bool,
) -> None:
    weight = torch.tensor([0.6, -1.1], dtype=torch.float64)
    head = Head(weight.clone())
    fake = Plain(head, mean=0.0)
    frames = tiny.latents(5, 3, seed=1).requires_grad_()
    objective = Adversarial(TIMES, critic_weight=3.0)

    made = window(frames, real=real)
    loss = objective.critic_loss(made, fake, RANDOM)
    (given,) = torch.autograd.grad(loss.value, head.weight)
    t, x_t = noised(frames.detach(), RANDOM, TIMES)
    seen = x_t.movedim(2, -1).mean((1, 2, 3))  # of each sample, by channel
    logits = seen @ weight
    sign = -1.0 if real else 1.0
    inner = sign * torch.sigmoid(sign * logits)
    expected = 3.0 * (inner[:, None] * seen).mean(0)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=0)
    right = (logits > 0) == real
    assert float(loss.logs["told_apart"]) == pytest.approx(float(right.double().mean()))

    if real:
        return
    loss = objective.student_loss(made, Networks(fake, fake, fake), RANDOM)
    (given,) = torch.autograd.grad(loss.value, frames)
    assert head.weight.grad is None
    inner = -torch.sigmoid(-logits) / len(frames)
    share = (1 - t[..., None, None, None]) / frames[0, :, 0].numel()
    expected = inner.view(-1, 1, 1, 1, 1) * share * weight.view(1, 1, -1, 1, 1)
    torch.testing.assert_close(given, expected.expand_as(frames), rtol=1e-9, atol=0)
    value = nn.functional.softplus(-logits).mean()
    torch.testing.assert_close(loss.value.detach(), value, rtol=1e-9, atol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_features_are_the_tokens_of_the_windows_frames(checkpointing: bool) -> None:
    network = tiny.model(activation_checkpointing=checkpointing)
    judged = Judged(network, layer=0)
    cond, clean = tiny.conditioning(2, 6), tiny.latents(2, 6)
    x_t, t = tiny.latents(2, 3, seed=3), torch.full((2, 3), 0.5).double()
    told = []
    network.blocks[0].register_forward_hook(lambda block, inputs, out: told.append(out[0]))
    for score in (Memoryless(judged), SharedMemory(judged, memory=tiny.memory("full"))):
        features = score.features(x_t, t, cond, clean)
        assert features.shape == (2, 3, 4, 24)
        assert torch.equal(features, told[-1][:, -3:])
        gradient = torch.autograd.grad(judged.logits(features).sum(), [*judged.head.parameters()])
        assert all(one.isfinite().all() for one in gradient)
    score = SharedMemory(judged, memory=tiny.memory("slow_fast"))
    with pytest.raises(ValueError, match="in one forward, and SharedMemory took 2"):
        score.features(x_t, t, cond, clean)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("start") / "run", *ROOMS, "trainer.max_steps=2")


def student(start: Path, *more: str) -> tuple[str, ...]:
    roles = (f"start.student.path='{start}'", f"start.teacher.path='{start}'")
    return (*ROOMS, *STUDENT, *roles, "optimizer=adamw", *more)


@pytest.mark.whole
@pytest.mark.parametrize("objective", ["reward_dmd", "adversarial_dmd"])
def test_they_train_and_resume_to_the_same_bits(
    objective: str, start: Path, tmp_path: Path
) -> None:
    own = (f"objective={objective}", "module.window_frames=6", "module.cooldown=0")
    settings = student(start, *own)
    whole = fit(tmp_path / "whole", *settings, "trainer.max_steps=4")
    parts = fit(tmp_path / "parts", *settings, "trainer.max_steps=2")
    give("cf.fit", f"resume={parts}", "trainer.max_steps=4")
    one, other = (load_file(x / "network.safetensors") for x in (parts, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)
    header = (whole / "metrics.csv").read_text().splitlines()[0]
    named = {"reward_dmd": "train/reward_weight", "adversarial_dmd": "train/told_apart_real"}
    assert named[objective] in header
    checkpoint = max((whole / "checkpoints").glob("*.ckpt"))
    names = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert ("critic.head.1.weight" in names) == (objective == "adversarial_dmd")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["objective=adversarial_dmd", "module.real_share=0"], "raise module.real_share from 0"),
        (["objective=adversarial_dmd", "objective.parts.1.objective.layer=7"], "layer=7"),
        (["objective=reward_dmd", "objective.temperature=0"], "temperature=0"),
        (["objective=reward_dmd", "metric@objective.reward.metric=psnr"], "needs reference"),
    ],
)
@pytest.mark.whole
def test_they_refuse_in_one_message(
    settings: list[str], named: str, start: Path, refused: Command
) -> None:
    assert named in refused("cf.fit", *student(start, *settings))


def test_a_reward_is_one_number_for_each_video() -> None:
    class Wrong(Reward):
        def __call__(self, video: Any, window: Any) -> Any:
            return video.mean()

    real = Gaussian(Unused(), mean=0.5)
    networks = Networks(real, real, Gaussian(Unused()), as_video)
    wrong = RewardedDMD(TIMES, Wrong())
    with pytest.raises((ValueError, TypeError), match=r"reward|return"):  # jaxtyping looks first
        wrong.student_loss(window(tiny.latents(5, 3)), networks, RANDOM)
    with pytest.raises(ValueError, match="spread=0"):
        MetricReward(MotionSmoothness(), fps=8, spread=0)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("objective", ["reward_dmd", "adversarial_dmd"])
def test_two_processes_are_one_with_twice_the_batch(
    objective: str, start: Path, tmp_path: Path
) -> None:
    weights = []
    for devices, batch in ((2, 2), (1, 4)):
        folder = tmp_path / str(devices)
        settings = (
            *student(start, f"objective={objective}", "module.window_frames=6"),
            "trainer.max_steps=3",
            "trainer.precision=64-true",
            f"trainer.devices={devices}",
            f"data.batch_size={batch}",
            *["+trainer.strategy=ddp_find_unused_parameters_true"] * (devices == 2),
        )
        work = partial(fit, folder, *settings)
        assert (on_two(work) if devices == 2 else [forked(work)]) == [0] * devices
        weights.append(load_file(folder / "network.safetensors"))
    for name, ours in weights[0].items():
        torch.testing.assert_close(ours, weights[1][name], rtol=1e-5, atol=1e-6)
