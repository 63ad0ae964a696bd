"""A codec that is trained here: where it begins, what it is read from, what it is used for."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import Command, fit, give, rows
from safetensors.torch import load_file

from cf.models.autoencoder import VideoAutoencoder
from cf.models.checkpoints import save_export
from cf.models.stored import CheckpointError
from cf.runs.next_command import on_latents
from cf.runs.run_folder import RunFolder
from cf.settings.trusted import read_vetted_export

SMALL = (
    "experiment=doom_codec",
    "data=walk_plain",
    "data.size=[16,16]",
    "data.clip_frames=5",
    "data.batch_size=2",
    "data.val_clips=2",
    "module.network.channels=4",
    "module.network.widths=[4,6]",
    "callbacks.samples.every_steps=4",
    "callbacks.throughput.every_steps=2",
    "callbacks.checkpoint.every_n_train_steps=2",
    "trainer.max_steps=4",
    "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
)
ONE_WORKER = pytest.mark.xdist_group("autoencoder")
"""Of what is tried on one training, which each worker would do again."""


def small(**settings: int) -> VideoAutoencoder:
    return VideoAutoencoder(channels=5, widths=[4, 6], **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("codec") / "run", *SMALL)


def test_a_codec_is_neither_sharded_nor_planned(refused: Command, tmp_path: Path) -> None:
    """The one ended in a TypeError of Lightning's, the other in a KeyError."""
    run = f"hydra.run.dir='{tmp_path / 'run'}'"
    sharded = ("trainer=fsdp2", "trainer.accelerator=cpu", "trainer.precision=32-true")
    told = refused("cf.fit", *SMALL, *sharded, "trainer.devices=1", run)
    assert "AutoencoderModule trains a network that has none; give trainer=ddp" in told
    assert "a codec takes little" in refused("cf.fit", *SMALL, "plan=true", run)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_it_begins_as_the_principal_components(stride: int) -> None:
    """Nothing linear beats them: the error is the variance along the axes that are left out."""
    torch.manual_seed(0)
    video = torch.rand(3, 1 + 4 * stride, 3, 8, 12)
    codec = small(time_stride=stride)
    codec.begin(video)
    first = video[:, :1].expand(-1, stride - 1, -1, -1, -1)
    groups = torch.cat((first, video), 1).unflatten(1, (-1, stride)).flatten(2, 3).flatten(0, 1)
    rows = torch.nn.functional.pixel_unshuffle(2 * groups - 1, 4).permute(0, 2, 3, 1)
    rows = rows.flatten(0, 2).double()
    variances = torch.linalg.svdvals(rows - rows.mean(0)).square() / len(rows)
    with torch.no_grad():
        latents = codec.encode(video)
        again = codec.pixels(latents, [])
        whole = torch.nn.functional.pixel_unshuffle(
            2 * torch.cat((first, again), 1).unflatten(1, (-1, stride)).flatten(2, 3) - 1, 4
        )
    flat = latents.movedim(2, -1).flatten(0, -2)
    torch.testing.assert_close(flat.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    own = (variances[:5] / variances[:5].mean()).sqrt().float()
    torch.testing.assert_close(flat.std(0, correction=0), own, atol=1e-3, rtol=0)
    if stride == 1:
        error = (whole.movedim(2, -1).flatten(0, 3) - rows).square().sum(1).mean()
        torch.testing.assert_close(error, variances[5:].sum(), rtol=1e-4, atol=0)


def test_an_error_in_any_channel_costs_the_picture_as_much() -> None:
    """Latents have the spread of the principal components, and a mean square of 1."""
    torch.manual_seed(0)
    video = torch.rand(3, 4, 3, 8, 12) * torch.rand(12)
    codec = small()
    deviations = codec.begin(video)
    with torch.no_grad():
        latents = codec.latents(video, [])
    torch.testing.assert_close(deviations, latents.std((0, 1, 3, 4), correction=0))
    torch.testing.assert_close(latents.square().mean(), torch.tensor(1.0))
    assert (deviations.diff() < 0).all()
    lengths = codec.decoder_map.weight.flatten(1).norm(dim=0)
    torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths))


def test_it_needs_as_many_patches_as_channels() -> None:
    with pytest.raises(ValueError, match="4 patches do not tell 5 components"):
        small().begin(torch.rand(1, 1, 3, 8, 8))


@ONE_WORKER
@pytest.mark.whole
def test_a_run_exports_a_codec_that_its_folder_gives_back(trained: Path) -> None:
    codec = VideoAutoencoder.from_file(str(trained))
    held = load_file(trained / "network.safetensors")
    assert all(torch.equal(weight, held[name]) for name, weight in codec.state_dict().items())
    assert codec.latent_shape(16, 16) == (4, 4, 4)
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    assert (trained / "samples" / "step_00000004.png").is_file()


@ONE_WORKER
@pytest.mark.whole
def test_a_training_that_goes_on_takes_the_learning_rate_of_the_settings(
    trained: Path, tmp_path: Path
) -> None:
    """As trainings of networks do (`test_distill.py`)."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    steady = ("module.warmup_steps=0", "module.cooldown=0")
    give("cf.fit", f"resume='{run}'", "optimizer.lr=0.0002", "trainer.max_steps=5", *steady)
    assert float(rows(run)[-1]["train/lr"]) == 0.0002


def test_convolutions_add_to_the_linear_map() -> None:
    """Eight patterns: two components do not tell them apart, what is not linear does."""
    torch.manual_seed(0)
    patterns = torch.rand(8, 3, 4, 4)
    video = patterns[torch.randint(8, (64,))].view(1, 1, 64, 3, 4, 4)
    video = torch.cat(list(video.unbind(2)), -1)
    codec = VideoAutoencoder(channels=2, widths=[8, 16])
    codec.begin(video)

    def error() -> torch.Tensor:
        return (codec.pixels(codec.latents(video, []), []) - video).abs().mean()

    before = float(error().detach())
    optimizer = torch.optim.Adam(codec.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert float(error().detach()) < 0.8 * before


@ONE_WORKER
@pytest.mark.whole
def test_what_a_run_says_trains_a_network(trained: Path, tmp_path: Path) -> None:
    codec = VideoAutoencoder.from_file(str(trained))
    said = on_latents(RunFolder(trained).settings([]), trained, codec)
    given = shlex.split(said.partition("cf.fit: ")[2])
    assert given[0] == "codec=trained"
    tiny = ("model.dim=24", "model.num_heads=2", "model.num_layers=1", "model.ffn_dim=24")
    more = ("model.rope_axes=[4,4,4]", "data.clip_frames=6", "data.batch_size=2")
    data = ("data=walk_plain", "data.size=[16,16]", "data.val_clips=2", "model=walk")
    quiet = ("trainer.max_steps=1", "trainer.enable_progress_bar=false")
    run = fit(tmp_path / "net", *data, *given, *tiny, *more, *quiet, "trainer.val_check_interval=1")
    config, state = read_vetted_export(run)
    assert config["codec"]["_target_"].endswith("VideoAutoencoder.from_file")
    assert state


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "holds no codec"),
        (
            {"model": {"dim": 8}, "codec": {"channels": 4, "time_stride": 1, "widths": [4]}},
            "no codec",
        ),
        ({"codec": {"channels": 4, "time_stride": 1, "widths": "4"}}, "holds no codec"),
        ({"codec": {"channels": True, "time_stride": 1, "widths": [4]}}, "holds no codec"),
        ({"codec": {"channels": 10**9, "time_stride": 1, "widths": [4]}}, "must lie in 1..64"),
        ({"codec": {"channels": 4, "time_stride": 1, "widths": [10**9]}}, "1..1024"),
        ({"codec": {"channels": 4, "time_stride": 1, "widths": [4]}}, "does not fit"),
    ],
)
def test_a_file_of_something_else_is_refused(
    config: dict[str, object], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "network.safetensors"
    save_export(file, {"weight": torch.zeros(2)}, config)
    with pytest.raises((CheckpointError, ValueError), match=message):
        VideoAutoencoder.from_file(str(file))


def test_a_codec_that_is_not_given_is_asked_for(refused: Callable[..., str]) -> None:
    told = refused("cf.fit", "experiment=doom_teacher", "codec=trained")
    assert "codec.file must be given: codec.file=..." in told
    assert "callbacks" not in told


@ONE_WORKER
@pytest.mark.whole
def test_a_network_that_clamps_what_the_codec_makes_is_refused(
    trained: Path, refused: Callable[..., str]
) -> None:
    asked = (
        "experiment=doom_teacher",
        "codec=trained",
        f"codec.file='{trained}'",
        "model.latent_shape=[4,6,8]",  # as the codec has it
        "model.x0_limit=1.2",
    )
    told = refused("cf.fit", *asked, "model.prediction=x0")
    assert "model.x0_limit=1.2 clamps" in told
    assert "model.x0_limit=null" in told


@ONE_WORKER
def test_a_codec_is_found_from_another_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is relative when a run begins is whole in its settings."""
    monkeypatch.chdir(trained.parent)
    settings = RunFolder(tmp_path).begin({"codec": {"file": trained.name}})
    assert settings["codec"]["file"] == str(trained)


def test_a_file_that_is_missing_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere is not there: .*experiment=doom_codec"):
        VideoAutoencoder.from_file("nowhere")
