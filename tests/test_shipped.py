"""The networks that come with the package: small, vetted, and they remember."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from playing import settings_of

from cf.data.world.again import NOVEL, away
from cf.files.shipped import SHIPPED, shipped
from cf.memory import Sliding
from cf.models.autoencoder import VideoAutoencoder
from cf.models.start import fingerprint, with_weights
from cf.paths import CONFIG_DIR
from cf.runs.generator import Generator, load
from cf.runs.steered_world import steered, world_settings
from cf.settings.build import build, to_settings
from cf.settings.trusted import read_vetted_export

NETWORKS = ("base", "teacher", "student")
GIVEN, FRAMES = 24, 150


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_and_its_world_are_what_files_may_say(name: str) -> None:
    folder = shipped(SHIPPED + name)
    config, state = read_vetted_export(Path(folder) / "network.safetensors")
    assert config["codec"]["file"] == "shipped:codec"
    assert all(one.isfinite().all() for one in state.values())
    world = build(world_settings(folder), "world")
    assert world.control_width == config["model"]["control_dim"] * 12
    assert steered(load(settings_of(Path(folder))), world) is world


def test_a_training_begins_from_them_by_name() -> None:
    """Where settings refer to one another, a path arrives as it was written."""
    config, state = read_vetted_export(Path(shipped("shipped:base")) / "network.safetensors")
    network = with_weights(build(config["model"], "model"), "shipped:base")
    first = next(iter(state))
    torch.testing.assert_close(network.state_dict()[first], state[first].float())
    assert fingerprint("shipped:base") == fingerprint(shipped("shipped:base"))


def test_all_of_them_fit_in_twenty_megabytes() -> None:
    files = Path(shipped("shipped:codec")).parent.rglob("*")
    assert sum(one.stat().st_size for one in files if one.is_file()) < 20e6


def test_the_codec_gives_back_what_it_was_given() -> None:
    """Rough shapes of a picture that no training saw; a stream is the whole."""
    codec = VideoAutoencoder.from_file("shipped:codec")
    row, column = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 64), indexing="ij")
    video = torch.stack((row, column, row * column)).expand(1, 4, 3, 48, 64)
    latents = codec.encode(video)
    again = codec.decode(latents)
    assert (again - video).square().mean() < 1e-3
    decode = codec.decoder()
    parts = torch.cat([decode(one) for one in latents.split(1, 1)], 1)
    torch.testing.assert_close(parts, again)


def test_a_name_that_is_not_there_is_told_with_those_that_are(
    refused: Callable[..., str],
) -> None:
    told = refused("cf.generate", "checkpoint=shipped:nobody")
    assert "shipped:student" in told


def test_every_command_of_the_demo_is_one() -> None:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        demo: Any = OmegaConf.to_container(compose("demo"), resolve=False)
        for sweep in demo["sweeps"].values():
            given = [one.partition(",")[0] for one in sweep["settings"]]
            fit = compose("fit", [*given, *demo["fit"], "folder=x", "resume=x"])
            assert to_settings(fit)["start"]["teacher"]["path"] == shipped("shipped:teacher")
        named = ",".join(f"{name}:'{SHIPPED}{name}'" for name in demo["beside"])
        compose("benchmark", [*demo["benchmark"], f"networks={{{named}}}"])


@pytest.fixture(scope="module")
def walked() -> tuple[Generator, Any]:
    pytest.importorskip("vizdoom", reason="extra doom")
    folder = shipped("shipped:student")
    world = build(world_settings(folder), "world")
    return load(settings_of(Path(folder))), world.film(1_000_000, [0, 1], FRAMES)


def revisited(generator: Generator, film: Any) -> tuple[float, float]:
    """PSNR, in dB, of views that came back after a second or more, and of new ones."""
    with torch.inference_mode():
        parts, made = generator.following(film, GIVEN, 0, [0, 1]), list[torch.Tensor]()
        while sum(one.shape[1] for one in made) < FRAMES:
            made.append(next(parts))
    error = (torch.cat(made, 1) - film.part(0, FRAMES).video).square().mean((2, 3, 4))
    psnr = -10 * error.clamp(min=1e-10).log10()
    lag = torch.stack([away(path, GIVEN) for path in film.path])
    return float(psnr[lag >= 8].mean()), float(psnr[lag == NOVEL].mean())


@pytest.mark.xdist_group("doom")
@pytest.mark.whole
def test_the_student_remembers_and_under_a_window_it_does_not(
    walked: tuple[Generator, Any],
) -> None:
    generator, film = walked
    window = replace(generator.rollout, memory=Sliding(sink_frames=0, window_frames=6))
    back, new = revisited(generator, film)
    forgot, _ = revisited(replace(generator, rollout=window), film)
    assert back > forgot + 2
    assert back > new + 4
