"""What a card needs, counted and measured; texts first; tiles, offloading and the tiny codec."""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import give
from hydra import compose, initialize_config_dir
from tiny import MEMORIES, memory, model
from tiny_text import published
from torch.profiler import ProfilerActivity, profile

from cf.memory.base import Query
from cf.memory.sliding import Sliding
from cf.models.allocated import Allocated
from cf.models.text import UMT5
from cf.paths import CONFIG_DIR
from cf.rollout import Rollout
from cf.runs.on_card import show_plan, told_when_full
from cf.runs.outline import codec_for
from cf.runs.plan import GB, MemoryPlan, plan_generation
from cf.runs.texts import CachedText, TextCache
from cf.settings.build import Settings, to_settings
from cf.types import Context, Past
from cf.video.probe import probe

pytestmark = pytest.mark.whole

WAN = ("model=wan_1_3b", "codec=wan", "text=umt5", "rollout=blockwise", "memory=sliding", "fps=16")
WAN += ("memory.sink_frames=0", "memory.window_frames=12", "size=[480,832]", "dtype=bfloat16")
SMALL = ("model=tiny", "codec=pixels", "text=none", "rollout=blockwise", "memory=full", "fps=8")
SMALL += ("size=[48,32]", "seconds=1")


def typed(*more: str) -> Settings:
    with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
        return to_settings(compose("generate", ["checkpoint=here.pt", *more]))


def plan_of(*more: str) -> MemoryPlan:
    settings = typed(*more)
    return plan_generation(settings, {**settings, "fps": 16.0})


# Counting


@pytest.mark.parametrize(
    "name", [pytest.param("full", marks=pytest.mark.exhaustive), "sliding", "slow_fast"]
)
def test_what_is_counted_on_shapes_is_what_the_allocator_gives(name: str) -> None:
    sizes: dict[str, Any] = {"dim": 96, "ffn_dim": 256, "latent_shape": (2, 16, 16)}
    network = model(torch.float32, control_dim=None, **sizes)
    rollout = Rollout(memory(name), num_steps=2, sampler="euler")

    def run(one: Any) -> None:
        cond = one.fake_conditioning(1, 30)
        stream = rollout.stream(one, rollout.noise(one, 0, (0,)), cond)
        for _ in range(10 if name == "slow_fast" else 4):  # until it is full
            next(stream)

    with torch.inference_mode():
        run(network)  # what is made once
        shapes = model(torch.float32, control_dim=None, **sizes).to("meta")
        with Allocated() as count:
            run(shapes)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
            run(network)
    peak = now = 0
    for event in measured.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    assert count.peak == pytest.approx(peak, rel=0.02)


@pytest.fixture(scope="module")
def full_size() -> MemoryPlan:
    pytest.importorskip("diffusers")
    return plan_of(*WAN, "offload=none")


@pytest.mark.slow
def test_the_count_at_full_size_is_that_of_the_published_shapes(full_size: MemoryPlan) -> None:
    """Wan2.1-1.3B at 480 x 832: see the shapes of its papers and files."""
    per_frame = 2 * 30 * 1560 * 1536 * 2
    assert full_size.network == pytest.approx(2.84e9, rel=0.003)
    assert full_size.text == pytest.approx(11.36e9, rel=0.003)
    assert full_size.codec == pytest.approx(0.51e9, rel=0.02)
    # Values, and keys as they are and after RoPE; with room for a block and what is read.
    assert 1.5 * 9 * per_frame <= full_size.held < 1.5 * 11.1 * per_frame
    assert 8 * per_frame < full_size.denoise < 1.03 * (1.5 * 12 + 5.9) * per_frame
    assert full_size.stream == pytest.approx(3.78e9, rel=0.02)
    assert full_size.decode == pytest.approx(7.9e9, rel=0.05)
    assert full_size.peak > 24 * GB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "card"),
    [
        (("offload=text", "codec.dtype=bfloat16"), 16),
        (("offload=all", "codec.dtype=bfloat16", "tile=256"), 12),
    ],
)
def test_settings_that_are_advised_fit(more: tuple[str, ...], card: int) -> None:
    pytest.importorskip("diffusers")
    assert plan_of(*WAN, *more).peak < card * GB


@pytest.mark.slow
def test_what_does_not_fit_is_refused_with_what_would() -> None:
    pytest.importorskip("diffusers")
    with pytest.raises(ValueError, match=r"the card has 24\.0: give ") as told:
        show_plan(typed(*WAN, "offload=none", "card_gb=24"))
    assert "offload=text" in str(told.value)


KINDS = {"full", "retrieve_key", "learned"}
"""What keeps all, what chooses, and what has weights of its own."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.stem, marks=[] if one.stem in KINDS else pytest.mark.exhaustive)
        for one in MEMORIES
    ],
)
def test_every_memory_can_be_planned(name: str) -> None:
    sizes = "model.dim=24 model.num_heads=2 model.ffn_dim=32 "
    sizes += "model.num_layers=2 model.rope_axes=null size=[32,32] fps=8 codec=pixels "
    sizes += "text=none rollout=blockwise"
    made = plan_of("model=tiny", *sizes.split(), f"memory={name}", "seconds=1")
    assert made.held > 0
    assert made.denoise > made.held


@dataclass(frozen=True)
class Looking(Sliding):
    """A memory that keeps fewer frames than it may, by numbers, of which a plan has none."""

    def read(self, context: Context, query: Query) -> Past:
        past = super().read(context, query)
        if past.layers and float(past.layers[0].k.sum()) == 0:
            raise AssertionError("keys are not zero")
        return past


def test_a_memory_that_looks_at_numbers_is_counted_by_what_it_holds() -> None:
    sizes = "model.dim=24 model.num_heads=2 model.ffn_dim=32 model.num_layers=2 fps=8 codec=pixels "
    sizes += "model.rope_axes=null size=[32,32] text=none rollout=blockwise memory=sliding"
    settings = typed("model=tiny", *sizes.split(), "seconds=4")
    plain = plan_generation(settings, {**settings, "fps": 8.0})
    settings["memory"]["_target_"] = f"{__name__}.Looking"
    made = plan_generation(settings, {**settings, "fps": 8.0})
    assert "was run on a small network, and read" in made.note
    assert made.held == pytest.approx(plain.held, rel=0.05)
    assert made.denoise == pytest.approx(plain.denoise, rel=0.05)


def test_a_codec_on_a_gpu_runs_in_bfloat16_unless_it_is_told_otherwise() -> None:
    given = {"_target_": "x", "dtype": "auto"}
    assert codec_for(given, {"device": "cpu"})["dtype"] == "float32"
    assert codec_for(given, {"device": "cuda:0"})["dtype"] == "bfloat16"
    assert codec_for(given, {"device": "cpu", "plan": True})["dtype"] == "bfloat16"
    chosen = {**given, "dtype": "float32"}
    assert codec_for(chosen, {"device": "cuda"}) == chosen
    assert typed("codec=wan")["codec"]["dtype"] == "auto"
    assert "codec (bfloat16) 0.00" in MemoryPlan(*[0] * 7, "text", "", "bfloat16").shown()


# Texts


@pytest.fixture
def encoder(tmp_path: Path) -> Settings:
    published(tmp_path / "t5")
    return {
        "_target_": "cf.models.text.UMT5.from_folder",
        "folder": str(tmp_path / "t5"),
        "text_len": 8,
        "dtype": "float32",
    }


def cached(settings: Settings, folder: Path, most: int = 10**6) -> CachedText:
    return CachedText(settings, torch.device("cpu"), 16, TextCache(folder, most))


def test_texts_are_encoded_once_and_kept(
    encoder: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    plain = UMT5.from_folder(encoder["folder"], 8, "float32")
    texts = ["a red cat", "", "a cat runs"]
    first = cached(encoder, folder)
    expected = torch.cat([plain.encode([text]) for text in texts])
    assert torch.equal(first.encode(texts), expected)
    files = sorted(folder.iterdir())
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:-9])
    files[1].write_text("no safetensors")
    assert torch.equal(cached(encoder, folder).encode(texts), expected)
    monkeypatch.setattr("cf.runs.texts.build", lambda *_: pytest.fail("the encoder was built"))
    assert torch.equal(cached(encoder, folder).encode(texts), expected)


def test_another_encoder_has_other_texts(encoder: Settings, tmp_path: Path) -> None:
    cached(encoder, tmp_path / "cache").encode(["a"])
    weights = next(Path(encoder["folder"], "text_encoder").glob("*.safetensors"))
    os.utime(weights, (1, 1))
    cached(encoder, tmp_path / "cache").encode(["a"])
    cached({**encoder, "text_len": 4}, tmp_path / "cache").encode(["a"])
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_cache_of_texts_is_bounded_and_may_fail(
    encoder: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = cached(encoder, tmp_path / "cache", most=600)
    for prompt in ("a", "cat", "red", "runs"):
        text.encode([prompt])
    assert sum(x.stat().st_size for x in (tmp_path / "cache").iterdir()) <= 600
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert cached(encoder, blocked / "in").encode(["a"]).shape == (1, 8, 16)


def test_a_prompt_that_is_too_long_is_refused_unless_it_may_be_cut(
    encoder: Settings, tmp_path: Path
) -> None:
    long = "a red cat runs a red cat runs a cat"
    with pytest.raises(ValueError, match=r"has 11 tokens, of which text_len=8 count.*text.cut"):
        cached({**encoder, "cut": False}, tmp_path / "cache").encode([long])
    assert not (tmp_path / "cache").exists()
    with pytest.warns(UserWarning, match="11 tokens was cut"):
        cached({**encoder, "cut": True}, tmp_path / "cache").encode([long])
    with pytest.raises(ValueError, match="has 11 tokens"):  # what was cut is no other's text
        cached({**encoder, "cut": False}, tmp_path / "cache").encode([long])


# Mistakes


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"), "the card's"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "the computer's"),
        (MemoryError(), "the computer's"),
    ],
)
def test_a_full_memory_is_told_with_the_remedy(error: BaseException, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told, told_when_full(typed(*WAN)):
        raise error
    assert "plan=true" in str(told.value)


def test_a_plan_is_shown_and_nothing_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.pt").write_bytes(b"never read")
    given = [f"checkpoint={tmp_path / 'net.pt'}", *SMALL]
    give("cf.generate", *given, "plan=true", f"hydra.run.dir='{tmp_path / 'out'}'")
    assert "memory in GB: network 0.00" in capfd.readouterr().out
    assert not list((tmp_path / "out").glob("*.mp4"))


def test_a_card_that_is_too_small_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "net.pt").write_bytes(b"never read")
    told = refused("cf.generate", f"checkpoint={tmp_path / 'net.pt'}", *SMALL, "card_gb=0.5")
    assert "the card has 0.50; with dtype=bfloat16 offload=all it would still take 1.0" in told


@pytest.fixture
def network(tmp_path: Path) -> list[str]:
    """A small network with random weights, as it is given to `cf.generate`."""
    sizes = {"dim": 24, "num_heads": 2, "num_layers": 1, "ffn_dim": 32, "latent_shape": [3, 48, 32]}
    made = model(torch.float32, control_dim=None, text_dim=None, patch_size=(8, 8), **sizes)
    torch.save(made.state_dict(), tmp_path / "net.pt")
    given = {**sizes, "patch_size": [8, 8], "freq_dim": 8, "rope_axes": "null"}
    typed = [f"model.{name}={value}".replace(" ", "") for name, value in given.items()]
    return [f"checkpoint={tmp_path / 'net.pt'}", *SMALL, *typed, "rollout.num_steps=1"]


def test_a_card_that_is_full_at_the_first_block_is_one_message(
    network: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    told = refused(
        "cf.generate",
        *network,
        "memory._target_=dying.Swollen",
        "+memory.sink_frames=0",
        "+memory.window_frames=6",
    )
    assert "the card's memory is used up (CUDA out of memory" in told
    assert "offload=all" in told


def test_a_full_disk_leaves_a_video_that_can_be_played(
    network: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        told = refused(
            "cf.generate",
            *network,
            "seconds=30",
            "save_every=null",
            f"hydra.run.dir='{tmp_path / 'out'}'",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.count("no space is left on the disk") == 1
    assert "video_0.mp4 can be played as far as made; free some, then go on with: " in told
    assert probe(tmp_path / "out" / "video_0.mp4").duration > 0.5
