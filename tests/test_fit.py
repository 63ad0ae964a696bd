"""Whole runs of `cf.fit` and `cf.generate`: what they write, how they resume, how they refuse."""

import csv
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import Command, begin, run
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cf.data.shapes import draw_clips
from cf.video.probe import probe

pytestmark = pytest.mark.whole

TINY = (
    "model.dim=24",
    "model.num_heads=2",
    "model.num_layers=2",
    "model.ffn_dim=48",
    "model.rope_axes=[4,4,4]",
    "model.latent_shape=[3,16,16]",
    "data.size=[16,16]",
    "data.clip_frames=9",
    "data.batch_size=2",
    "data.val_clips=2",
    "rollout.num_steps=2",
    "module.warmup_steps=2",
    "callbacks.samples.every_steps=4",
    "callbacks.checkpoint.every_n_train_steps=4",
    "callbacks.throughput.every_steps=2",
    "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=1",
    "trainer.max_steps=8",
    "trainer.enable_progress_bar=false",
)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short drawn videos."""
    folder = tmp_path_factory.mktemp("clips")
    draw_clips(folder, count=3, seconds=2.0, fps=8.0, size=(32, 32))
    return folder


@pytest.fixture(scope="session")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = run("cf.fit", *TINY, f"data.folder={clips}", f"hydra.run.dir={folder}")
    assert done.status == 0, done.told
    assert f"run folder: {folder}" in done.told
    return folder


@pytest.mark.slow
def test_a_run_leaves_everything_behind(trained: Path) -> None:
    files = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "metrics.csv", "summary.json", "network.safetensors"} <= files
    with (trained / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(8))
    assert all(float(row["train/loss"]) > 0 for row in rows)
    assert float(rows[3]["val/loss"]) > 0
    assert float(rows[-1]["speed/frames_per_second"]) > 0
    board = EventAccumulator(str(trained), size_guidance={"images": 0}).Reload()
    assert {"train/loss", "train/gradient_norm", "val/loss"} <= set(board.Tags()["scalars"])
    moving = board.Images("samples/moving")
    assert [one.step for one in moving] == [4, 8]
    assert moving[0].encoded_image_string.startswith(b"GIF89a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        pytest.param((), marks=pytest.mark.exhaustive),
        ("trainer.accumulate_grad_batches=2", "data.num_workers=1", "optimizer=adamw"),
    ],
    ids=["muon", "adamw-accumulated-workers"],
)
def test_a_killed_run_resumes_to_the_same_bits(
    variant: tuple[str, ...], clips: Path, tmp_path: Path
) -> None:
    arguments = (*TINY, *variant, f"data.folder={clips}", "trainer.max_steps=14")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run("cf.fit", *arguments, f"hydra.run.dir={whole}").status == 0
    table, log = killed / "metrics.csv", tmp_path / "log"
    with begin(("cf.fit", [*arguments, f"hydra.run.dir={killed}"]), log) as running:
        far = running.until(lambda: table.exists() and len(table.read_text().splitlines()) > 7, 300)
        assert far, f"the run ended before it could be killed: {log.read_text()}"
        running.send(signal.SIGKILL, group=False)
    done = run("cf.fit", f"resume={killed}")
    assert done.status == 0, done.told
    ours, theirs = (
        load_file(killed / "network.safetensors"),
        load_file(whole / "network.safetensors"),
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert losses(killed) == losses(whole)


def losses(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        names = ("step", "train/loss", "train/gradient_norm")
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["memory=elephant"], "elephant"),
        (["memory.sink=1"], "sink"),
        (["+memory.sink=1"], "no setting 'sink'; it has sink_frames"),
        (
            ["memory.window_frames=three"],
            "memory.window_frames must be a whole number, got 'three'",
        ),
        (["memory.window_frames=2"], "smaller than a block of 3"),
        (["model.num_heads=5"], "num_heads=5"),
        (["data.clip_frames=10"], "10 latent frames"),
        (["trainer.max_steps=many"], "trainer.max_steps"),
        (["module.ema_decay=2"], "ema_decay"),
        (["~data.folder"], "folder"),
        ([], "data.folder must be given"),
        (["adapters=all"], "adapters.teacher.path must be given: adapters.teacher.path=..."),
        (["data.folder=nowhere"], "nowhere"),
        (["resume=nowhere"], "not the folder of a run"),
    ],
)
def test_fit_refuses_in_one_message(
    arguments: list[str], named: str, refused: Command, clips: Path
) -> None:
    given = any("folder" in one or "resume" in one for one in arguments) or not arguments
    extra = [] if given else [f"data.folder={clips}"]
    quick = [one for one in TINY if one.split("=")[0] not in {a.split("=")[0] for a in arguments}]
    told = refused("cf.fit", *quick, *extra, *arguments)
    assert named in told


def test_an_empty_folder_is_refused(refused: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("cf.fit", *TINY, f"data.folder={tmp_path / 'empty'}")


def test_a_diverging_run_stops_and_keeps_its_checkpoint(
    refused: Command, clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    told = refused(
        "cf.fit",
        *TINY,
        f"data.folder={clips}",
        f"hydra.run.dir={folder}",
        "optimizer=adamw",
        "optimizer.lr=1e30",
        "trainer.gradient_clip_val=null",
        "callbacks.checkpoint.every_n_train_steps=1",
        "model.prediction=velocity",
    )
    assert "is not finite at step" in told
    for kept in (folder / "checkpoints").glob("*.ckpt"):
        weights = torch.load(kept, weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.slow
def test_generate_goes_on_with_a_video(trained: Path, clips: Path, tmp_path: Path) -> None:
    video = sorted(clips.glob("*.mp4"))[0]
    for memory in ("sliding", "slow_fast"):
        done = run(
            "cf.generate",
            f"checkpoint={trained}",
            f"video={video}",
            "given_seconds=0.5",
            "seconds=9",
            "samples=2",
            f"memory={memory}",
            f"hydra.run.dir={tmp_path / memory}",
        )
        assert done.status == 0, done.told
        made = probe(tmp_path / memory / "video_1.mp4")
        assert made.duration == pytest.approx(9.5, abs=0.01)
        assert (tmp_path / memory / "video_0.png").exists()
        assert "frames/s" in done.told


@pytest.mark.slow
def test_a_run_without_validation_still_shows_samples(clips: Path, tmp_path: Path) -> None:
    quick = (*TINY, "trainer.max_steps=4", "data.val_fraction=0")
    done = run("cf.fit", *quick, f"data.folder={clips}", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.told
    assert (tmp_path / "run/samples/step_00000004.gif").exists()


def test_a_resumed_run_takes_values_that_it_reads_and_refuses_others(
    trained: Path, refused: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    for given, named in (
        ("schedule.shift=3", "schedule.shift is not read by a run that goes on"),
        ("model.dim=8", "model.dim is not read by a run that goes on"),
        ("optimizer=adamw", "optimizer is not one of its values"),
    ):
        assert named in refused("cf.fit", f"resume={folder}", given)


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


def pickled(path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {path}.ran",)

    torch.save({"generator": Evil()}, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make", "named"),
    [
        ("missing.safetensors", None, "missing.safetensors"),
        ("foreign.safetensors", foreign, "foreign.safetensors"),
        ("pickled.pt", pickled, "pickled.pt"),
    ],
)
def test_generate_refuses_bad_checkpoints(
    name: str,
    make: Callable[[Path], None] | None,
    named: str,
    refused: Command,
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    if make is not None:
        make(path)
    assert named in refused("cf.generate", f"checkpoint={path}", "seconds=1")
    published = ("model=tiny", "codec=pixels", "text=none", "rollout=blockwise", "memory=sliding")
    told = refused("cf.generate", f"checkpoint={path}", *published, "fps=8", "size=[32,32]")
    assert named in told
    assert not Path(f"{path}.ran").exists()


@pytest.mark.slow
def test_generate_refuses_truncated_weights_and_words(
    trained: Path, refused: Command, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((trained / "network.safetensors").read_bytes()[:-100])
    assert "cut.safetensors" in refused("cf.generate", f"checkpoint={cut}")
    assert "seconds must be a number" in refused(
        "cf.generate", f"checkpoint={trained}", "seconds=long"
    )
    assert "checkpoint must be given" in refused("cf.generate", "model=tiny")
