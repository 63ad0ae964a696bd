"""Sampling of bases and teachers: guidance, solvers, whole videos, any size; weights on arrival."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import give
from tiny import SHAPE, blockwise, conditioning, latents, model
from tiny_text import published
from torch import Tensor

from cf.memory import Full
from cf.models.checkpoints import load_into
from cf.models.guided import Guided
from cf.rollout import Rollout, Whole
from cf.runs.outline import check_filled, outlined, sized
from cf.settings.build import build
from cf.types import Conditioning
from cf.video.reader import read_video

EXACT: dict[str, float] = {"rtol": 1e-9, "atol": 1e-9}
NETWORK = {"dim": 24, "num_heads": 2, "num_layers": 2, "ffn_dim": 32, "freq_dim": 8}
NETWORK |= {"patch_size": [8, 8], "text_dim": 16, "text_len": 8}  # type: ignore[dict-item]


def first_block(rollout: Rollout, network: Any, cond: Conditioning) -> Tensor:
    with torch.no_grad():
        return next(rollout.stream(network, rollout.noise(network, 0, (0,)), cond))[0]


@pytest.mark.parametrize(
    ("sampler", "name"),
    [("unipc", "UniPCMultistepScheduler"), ("dpm++", "DPMSolverMultistepScheduler")],
)
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_a_solver_is_that_of_diffusers(sampler: Any, name: str, steps: int) -> None:
    scheduler = getattr(pytest.importorskip("diffusers"), name)(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    network, cond = model(torch.float32), conditioning(1, 3, dtype=torch.float32)
    scheduler.set_timesteps(steps)
    times = [float(sigma) for sigma in scheduler.sigmas[:-1]]
    rollout = Rollout(Full(), sampler=sampler, timesteps=times)
    x = rollout.noise(network, 0, (0,))(0, 0)
    with torch.no_grad():
        for t, time in zip(scheduler.timesteps, times, strict=True):
            velocity = network(x, torch.full((1, 3), time), cond).velocity
            x = scheduler.step(velocity, t, x, return_dict=False)[0]
    torch.testing.assert_close(first_block(rollout, network, cond), x, rtol=1e-5, atol=1e-5)


def test_guidance_leads_away_from_the_negative_in_one_batch() -> None:
    network, scale = model(), 3.0
    asked, negative = conditioning(1, 6), conditioning(1, 6, seed=9)
    both = Conditioning(
        *(
            torch.cat(pair)
            for pair in zip(
                (asked.text, asked.control), (negative.text, negative.control), strict=True
            )
        )
    )  # type: ignore[arg-type]
    rollout = Rollout(Full(), sampler="euler", num_steps=3)
    guided = Guided(network, scale)
    eps = rollout.noise(guided, 0, (0,))
    with torch.no_grad():
        stream = rollout.stream(guided, eps, both)
        made = torch.cat([next(stream)[0].clone() for _ in range(2)], 1)
        seen = latents(1, 0)
        times = [*rollout.times, 0.0]
        for start in (0, 3):
            x = eps(start, 0).double()
            for t, to in pairwise(times):
                said = []
                for cond in (asked, negative):
                    video, at = torch.cat((seen, x), 1), torch.zeros(1, start + 3).double()
                    at[:, start:] = t
                    said.append(blockwise(network, Full(), video, at, cond, [3] * (start // 3 + 1)))
                a, n = (outputs[0][-1].velocity for outputs in said)
                x = x + (to - t) * (n + scale * (a - n))
            seen = torch.cat((seen, x), 1)
    torch.testing.assert_close(made, seen, **EXACT)


def test_a_whole_video_sees_all_its_frames_and_has_no_second_block() -> None:
    network, cond = model(), conditioning(1, 9)
    rollout = Whole(Full(), sampler="euler", num_steps=2, block_frames=9)
    x = rollout.noise(network, 0, (0,))(0, 0).double()
    assert x.shape == (1, 9, *SHAPE)
    with torch.no_grad():
        stream = rollout.stream(network, rollout.noise(network, 0, (0,)), cond)
        made, state = next(stream)
        for t, to in zip(rollout.times, [*rollout.times[1:], 0.0], strict=True):
            x = x + (to - t) * network(x, torch.full((1, 9), t).double(), cond).velocity
        torch.testing.assert_close(made, x, **EXACT)
        assert state.context.start == 9
        with pytest.raises(ValueError, match="at once"):
            next(stream)


# Weights


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("extra", [{}, {"control_dim": 3, "compressor_rank": 2}])
def test_a_network_without_memory_is_filled_with_the_same_bits(
    dtype: str, extra: dict[str, int]
) -> None:
    settings = {"_target_": "cf.models.transformer.VideoTransformer", **NETWORK, **extra}
    settings["latent_shape"] = [3, 16, 16]
    torch.manual_seed(0)
    source = build(settings, "model")
    state = {name: torch.randn_like(x) for name, x in source.state_dict().items()}
    load_into(source, state, "here")
    network = outlined(settings, dtype)
    with pytest.raises(AssertionError, match="no numbers"):
        check_filled(network)
    load_into(network, state, "here")
    check_filled(network)
    expected = source.to(getattr(torch, dtype)).state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in network.state_dict().items())
    assert not any(x.requires_grad for x in network.parameters())
    # What is loaded is not the file's: it may be mapped into memory, and change.
    held = {x.data_ptr() for x in network.parameters()}
    assert held.isdisjoint(x.data_ptr() for x in state.values())


@pytest.mark.parametrize(
    ("size", "near"),
    [
        ([480, 832], ""),
        ([832, 480], ""),
        ([16, 16], ""),
        ([481, 832], "size=[480,832] and"),
        ([7, 30], "size=[16,16] and size=[16,32]"),
    ],
)
def test_size_alone_sets_the_latents(size: list[int], near: str) -> None:
    class Eighths:
        channels, space_stride = 16, 8

        def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
            return 16, height // 8, width // 8

    settings = {"latent_shape": [16, 60, 104], "patch_size": [2, 2]}
    if near:
        with pytest.raises(ValueError, match="nearest that fit") as told:
            sized(settings, size, Eighths())  # type: ignore[arg-type]
        assert near in str(told.value)
    else:
        shape = sized(settings, size, Eighths())["latent_shape"]  # type: ignore[arg-type]
        assert shape == [16, size[0] // 8, size[1] // 8]


# The command


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is typed of a small base with text, in the layouts that are published."""
    place = tmp_path_factory.mktemp("base")
    published(place)
    network = model(
        torch.float32,
        latent_shape=(3, 16, 16),
        control_dim=None,
        patch_size=(8, 8),
        text_dim=16,
        text_len=8,
    )
    torch.save(network.state_dict(), place / "net.pt")
    sizes = [
        f"model.{name}={value}".replace(" ", "")
        for name, value in NETWORK.items()
        if name not in ("text_dim", "text_len")
    ]
    return [
        f"checkpoint='{place / 'net.pt'}'",
        "model=tiny",
        *sizes,
        "+model.text_dim=16",
        "+model.text_len=8",
        "model.prediction=velocity",
        "model.x0_limit=null",
        "model.rope_axes=null",
        "model.qk_bias=0",
        "model.qk_gain=1",
        "codec=pixels",
        "text=umt5",
        f"text.folder='{place}'",
        "+text.text_len=8",
        "text.dtype=float32",
        "memory=sliding",
        "fps=8",
        "size=[16,16]",
        "prompt=a red cat",
        "device=cpu",
    ]


def video(out: Path) -> Tensor:
    return read_video(out / "video_0.mp4")


@pytest.mark.whole
def test_a_base_is_sampled_whole_with_guidance(base: list[str], tmp_path: Path) -> None:
    given = [*base, "rollout=whole", "rollout.block_frames=8", "seconds=1"]
    given += ["sampling.num_steps=6", "size=[24,16]"]
    made = []
    for i, more in enumerate(([], ["sampling.guidance=1"], ["sampling.guidance=5"])):
        out = tmp_path / str(i)
        give("cf.generate", *given, *more, f"hydra.run.dir='{out}'")
        made.append((out / "video_0.mp4").read_bytes())
        shape = read_video(out / "video_0.mp4").shape
        assert shape[-2] * 2 == shape[-1] * 3  # enlarged to be seen
    assert made[0] == made[1]
    assert made[0] != made[2]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["rollout=whole", "rollout.block_frames=8", "seconds=2"], "give seconds=1 or less"),
        (["rollout=blockwise", "size=[20,16]"], "the nearest that fit are size=[16,16] and"),
        (["rollout=blockwise", "sampling.negative_prompt=blurred"], "sampling.guidance=5"),
        (["rollout=blockwise", "sampling.sampler=heun"], "dpm++"),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    base: list[str], typed: list[str], message: str, refused: Callable[..., str]
) -> None:
    assert message in refused("cf.generate", *base, *typed)


def test_guidance_without_text_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    torch.save(model(torch.float32).state_dict(), tmp_path / "net.pt")
    typed = ["model=tiny", "codec=pixels", "text=none", "rollout=blockwise", "memory=full"]
    typed += [f"checkpoint={tmp_path / 'net.pt'}", "fps=8", "size=[32,32]"]
    told = refused("cf.generate", *typed, "sampling.guidance=5")
    assert "not conditioned on text" in told
