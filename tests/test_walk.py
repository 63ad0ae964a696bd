"""cf.generate of a network that follows a camera: the world's way, and what is true beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import give
from playing import OF_DOOM, SIZES, run_of_doom, run_of_rooms, settings_of
from tiny import model

from cf.generation.again import Again
from cf.models.checkpoints import save_export
from cf.runs.generator import load
from cf.runs.steered_world import world_settings
from cf.settings.build import build
from cf.video.reader import read_video


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of_rooms(tmp_path_factory.mktemp("walk") / "run")


def walked(run: Path, folder: Path, *settings: str) -> Path:
    give("cf.generate", f"checkpoint={run}", "seconds=3", f"hydra.run.dir={folder}", *settings)
    return folder


def test_block_by_block_it_makes_what_the_rollout_makes(run: Path) -> None:
    generator = load(settings_of(run))
    film = build(world_settings(str(run)), "world").film(3, [5], 18)
    with torch.inference_mode():
        parts = generator.following(film, 6, 1, [5])
        made = torch.cat([next(parts) for _ in range(5)], 1)
        whole = generator.follow(film.part(0, 18), 6, 1, [5])
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-5)


def test_it_writes_what_was_given_what_is_made_and_what_is_true(run: Path, tmp_path: Path) -> None:
    folder = walked(run, tmp_path / "out", "given_seconds=1.5", "number=4", "samples=2")
    made, true = (read_video(folder / f"{one}_0.mp4", 8.0, (16, 16)) for one in ("video", "truth"))
    assert made.shape == true.shape == (36, 3, 16, 16)
    torch.testing.assert_close(made[:12], true[:12], rtol=0, atol=0.05)
    other = read_video(folder / "truth_1.mp4", 8.0, (16, 16))
    assert not torch.equal(other, true)
    record = json.loads((folder / "generate.json").read_text())
    assert [one["sample"] for one in record["videos"].values()] == [4, 5]


def test_nothing_is_true_where_nothing_was_given(run: Path, tmp_path: Path) -> None:
    folder = walked(run, tmp_path / "out", "given_seconds=0")
    assert sorted(one.name for one in folder.glob("*.mp4")) == ["video_0.mp4"]


@pytest.mark.whole
def test_videos_that_are_there_are_kept(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = walked(run, tmp_path / "out")
    before = (folder / "video_0.mp4").stat().st_mtime_ns
    walked(run, folder, "samples=2")
    assert (folder / "video_0.mp4").stat().st_mtime_ns == before
    assert (folder / "video_1.mp4").is_file()
    assert "1 of 2 videos are there and kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["image={image}"], "follows a camera"),
        (["prompts=[[0,a]]"], "follows a camera"),
        (["prompt=a fox"], "the prompt 'a fox' would be ignored; leave it empty"),
        (["given_seconds=0.1"], "less than half a block"),
        (["size=[32,32]"], "leave size out"),
    ],
)
def test_what_is_no_walk_is_refused(
    run: Path, tmp_path: Path, refused: Callable[..., str], settings: list[str], told: str
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    given = [one.format(image=image) for one in settings]
    assert told in refused("cf.generate", f"checkpoint={run}", *given)


def test_a_file_alone_says_of_no_world(
    run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    alone = tmp_path / "network.safetensors"
    alone.write_bytes((run / "network.safetensors").read_bytes())
    assert "give the folder of its run" in refused("cf.generate", f"checkpoint={alone}")


def test_a_network_that_follows_no_camera_is_told_no_way(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    sizes = {**SIZES, "control_dim": None}
    config = {
        "model": {"_target_": "cf.models.transformer.VideoTransformer", **sizes},
        "codec": {"_target_": "cf.models.codec.PixelCodec"},
        "text": {"_target_": "cf.models.text.NoText"},
        "rollout": {"_target_": "cf.rollout.Rollout", "memory": {"_target_": "cf.memory.Full"}},
        "fps": 8,
        "size": [16, 16],
    }
    network = model(torch.float32, **{**sizes, "text_dim": None})
    file = tmp_path / "network.safetensors"
    save_export(file, network.state_dict(), config)
    for setting, told in (
        ("given_seconds=1", "give video"),
        ("camera_path@path=tour", "follows no camera"),
        ("number=3", "follows no camera"),
    ):
        assert told in refused("cf.generate", f"checkpoint={file}", setting)


def test_views_that_come_back_are_told_apart_from_new_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture that is true has 100 dB; what was never given counts nowhere as come back."""
    pytest.importorskip("vizdoom", reason="extra doom")
    caplog.set_level("INFO")
    run = run_of_doom(tmp_path / "run")
    assert OF_DOOM["control_dim"] == 16
    world = build(world_settings(str(run)), "world")
    film = world.film(0, [1], 96)
    again = Again(film, 24, 8.0)
    for start in range(0, 96, 3):
        true = film.part(start, start + 3).video
        again.add(true, true)
    again.write(tmp_path / "sheet.png")
    assert "100.0 dB of PSNR against the truth" in caplog.text
    assert (tmp_path / "sheet.png").is_file()
