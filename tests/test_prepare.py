"""Preparations: what a folder holds, how it is resumed and mended, what trainings make of it."""

import hashlib
import json
import shlex
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOMS, STUDENT, begin, fit, give, let_workers_be_forks, run
from safetensors.torch import load_file
from tiny_text import published
from training_memory import settings_of

from cf.data.latents import LatentFolder
from cf.data.order import ShuffledOrder
from cf.data.shapes import draw_clips
from cf.data.shard_index import ShardIndex
from cf.data.shard_place import ShardPlace
from cf.data.shards import ShardFolder
from cf.models.checkpoints import read_export
from cf.models.codec import PixelCodec
from cf.models.prepared_text import PreparedText
from cf.preparation.planned import clips_in_a_file
from cf.runs.training_plan import planned_training
from cf.video.reader import read_frames

CAPTIONS = ["a red cat", "a cat runs", "a red cat", ""]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of a clip each, one that is damaged, and a text encoder."""
    folder = tmp_path_factory.mktemp("videos")
    for path, caption in zip(draw_clips(folder, 4, 2.0, 6, (16, 16)), CAPTIONS, strict=True):
        path.with_suffix(".txt").write_text(caption)
    (folder / "broken.mp4").write_bytes(b"no video")
    published(folder / "encoder")
    return folder


def settings(videos: Path, *more: str) -> list[str]:
    text = ("text=umt5", f"text.folder='{videos / 'encoder'}'", "+text.text_len=8")
    clips = ("clip_frames=12", "fps=6", "size=[16,16]", "shard_megabytes=0.08")
    return [f"videos='{videos}'", *clips, *text, *more]


@pytest.fixture(scope="module")
def prepared(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The videos, prepared."""
    folder = tmp_path_factory.mktemp("prepared") / "folder"
    give("cf.prepare", *settings(videos), f"hydra.run.dir='{folder}'")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    kept = [p for p in folder.iterdir() if p.suffix in (".json", ".safetensors")]
    return {path.name: path.read_bytes() for path in kept}


def test_a_folder_holds_latents_states_and_where_they_come_from(
    videos: Path, prepared: Path
) -> None:
    shards = ShardFolder(str(prepared))
    index = shards.index
    assert shards.count("latents") == 4
    assert index.shape == (12, 3, 16, 16)
    assert index.text_shape == (8, 16)
    assert list(index.left_out) == ["broken.mp4"]
    assert "1 of 4 videos have no caption" in (prepared / "prepare.log").read_text()
    assert index.made["prompts"] == 3  # "a red cat" twice, and none
    for shard in (*index.latents, *index.texts):
        assert hashlib.sha256((prepared / shard.file).read_bytes()).hexdigest() == shard.sha256
    assert index.made["text"]["_target_"] == "cf.models.text.UMT5.from_folder"
    names = shards.sources()
    for number, name in enumerate(names):
        clip = shards.clip(number)
        frames = read_frames(videos / name, clip.start, 12, 6, (16, 16)).float() / 255
        assert torch.equal(clip.latents, PixelCodec().encode(frames[None])[0])
        beside = (videos / name).with_suffix(".txt")
        assert clip.prompt == (beside.read_text() if beside.exists() else "")
        assert clip.text is not None
        assert shards.text(clip.text).prompt == clip.prompt


def test_states_of_prepared_texts_are_those_of_the_encoder(videos: Path, prepared: Path) -> None:
    from cf.models.text import UMT5

    text, encoder = (
        PreparedText.from_folder(str(prepared)),
        UMT5.from_folder(str(videos / "encoder"), 8),
    )
    for prompt in ("a red cat", ""):
        assert torch.equal(text.encode([prompt]), encoder.encode([prompt]))
    assert text.encode(["a red cat", ""]).shape == (2, 8, 16)
    with pytest.raises(ValueError, match="no states of the prompt 'another'"):
        text.encode(["another"])


@pytest.mark.whole
def test_a_killed_preparation_ends_with_the_same_bytes_on_more_processes(
    videos: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "killed"
    given = settings(videos, f"hydra.run.dir='{folder}'")
    with begin(("cf.prepare", given), tmp_path / "log") as running:
        running.until(lambda: any(folder.glob("*-*.json")), 120)
        running.send(signal.SIGKILL, group=True)
        running.ended(60)
    assert any(folder.glob("*-*.json")), (tmp_path / "log").read_text()
    (folder / "index.json").unlink(missing_ok=True)  # it may have been too quick
    with pytest.raises(ValueError, match="is no prepared folder"):
        ShardFolder(str(folder))
    let_workers_be_forks(monkeypatch)
    (folder / "latents-000001.json").unlink(missing_ok=True)
    give("cf.prepare", *given, "workers=2")
    assert contents(folder) == contents(prepared)
    with pytest.raises(SystemExit):
        give("cf.prepare", *given, "clip_frames=6")


def test_a_damaged_sample_is_replaced_and_told_and_the_folder_is_mended(
    videos: Path, prepared: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(prepared, folder)
    file = folder / "latents-000000.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-5] ^= 1
    file.write_bytes(damaged)
    data = LatentFolder(str(folder), batch_size=4, val_fraction=0)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert list(batch["failures"]) == ["latents-000000.safetensors, sample 1"]
    data.on_after_batch_transfer(batch, 0)
    with pytest.warns(UserWarning, match="SHA-256"):
        data.teardown()
    give("cf.prepare", *settings(videos, f"hydra.run.dir='{folder}'", "verify=true"))
    assert contents(folder) == contents(prepared)


def test_files_are_fetched_from_an_object_store_and_few_are_kept(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here, there = ShardFolder(str(prepared)), ShardFolder(f"file://{prepared}", cache_bytes=1)
    for number in range(4):
        assert torch.equal(here.clip(number).latents, there.clip(number).latents)
    assert len(list((tmp_path / "cf" / "shards").rglob("*.safetensors"))) == 1
    place, shard = ShardPlace(f"file://{prepared}"), here.index.latents[0]
    with pytest.raises(ValueError, match="SHA-256"):
        place.local(shard.file, "0" * 64, shard.size)


@pytest.mark.parametrize("mixed", [0, 2])
@pytest.mark.parametrize(("ranks", "size"), [(1, 1), (2, 3), (5, 2)])
def test_an_epoch_holds_every_sample_once_under_any_number_of_ranks(
    ranks: int, size: int, mixed: int
) -> None:
    groups = [np.arange(10 * i, 10 * i + 10) for i in range(3)]
    order = ShuffledOrder(groups, seed=4, mixed=mixed)
    batches = -(-60 // (ranks * size))
    numbers = [
        (batch * ranks + rank) * size + j
        for batch in range(batches)
        for rank in range(ranks)
        for j in range(size)
    ]
    places = [order.place(number) for number in numbers]
    assert Counter(places[:30]) == Counter(places[30:60]) == Counter(range(30))
    assert places[:30] != places[30:60]
    assert (len({place // 10 for place in places[:20]}) == 2) == (mixed == 2)


def test_a_run_that_goes_on_with_other_ranks_takes_the_next_sample(prepared: Path) -> None:
    def data(batch_size: int, **state: Any) -> LatentFolder:
        made = LatentFolder(str(prepared), batch_size=batch_size, val_fraction=0)
        made.setup()
        if state:
            made.load_state_dict(state)
        return made

    first = data(3)
    first.load_state_dict({**first.state_dict(), "samples": 15})
    later = data(2, **first.state_dict())
    batch = next(iter(later.train_dataloader()))
    assert batch["number"].tolist() == [15, 16]
    again = data(5, **later.state_dict())
    assert next(iter(again.train_dataloader()))["number"][0] == 15


def test_a_folder_of_other_clips_is_refused(prepared: Path) -> None:
    for wrong, said in (
        ({"fps": 8.0}, "prepared with fps=6"),
        ({"size": [8, 8]}, "prepared with size"),
        ({"latent_shape": [16, 2, 2]}, "model.latent_shape"),
        ({"clip_frames": 13}, "clip_frames=12"),
    ):
        with pytest.raises(ValueError, match=said):
            LatentFolder(str(prepared), **wrong).setup()  # type: ignore[arg-type]
    text = (prepared / "index.json").read_text()
    for old, new in (
        ('"latents-000000.safetensors"', '"../network.safetensors"'),
        ('"count": 2', '"count": -2'),
        ('"format": 1', '"format": 9'),
    ):
        with pytest.raises(ValueError, match="no index of a prepared folder"):
            ShardIndex.read(text.replace(old, new, 1), "index.json")


def test_a_size_that_the_codec_does_not_take_is_refused_before_anything_is_read() -> None:
    codec = {"_target_": "cf.models.vae.WanVAE.from_folder", "folder": "nowhere"}
    sizes: dict[str, Any] = {
        "codec": codec,
        "clip_frames": 81,
        "size": [480, 832],
        "dtype": "bfloat16",
        "pictures": False,
    }
    assert clips_in_a_file({**sizes, "shard_megabytes": 42}) == 10  # of 21 x 16 x 60 x 104 numbers
    beside = {**sizes, "shard_megabytes": 42, "pictures": True}
    assert clips_in_a_file(beside) == 7  # of 4.2 MB and a picture of 1.2
    for wrong in ({"clip_frames": 80}, {"size": [480, 830]}):
        with pytest.raises(ValueError, match="the nearest that"):
            clips_in_a_file({**sizes, "shard_megabytes": 42, **wrong})


def network(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "network.safetensors")


@pytest.mark.whole
def test_a_training_on_latents_equals_one_on_the_videos(videos: Path, tmp_path: Path) -> None:
    """Where each video is one clip, so that both take the same."""
    drawn = draw_clips(tmp_path / "clips", 5, 2.0, 6, (16, 16))
    assert len(drawn) == 5
    clips = ("clip_frames=12", "fps=6", "size=[16,16]")
    give(
        "cf.prepare", f"videos='{tmp_path / 'clips'}'", *clips, f"hydra.run.dir='{tmp_path / 'p'}'"
    )
    rest = [one for one in ROOMS if not one.startswith(("data", "model=rooms"))]
    rest += ["model=tiny", *(f"data.{one}" for one in clips), "data.batch_size=2"]
    rest += ["callbacks.samples.every_steps=4", "trainer.val_check_interval=2"]
    runs = [
        fit(tmp_path / kind, f"data={kind}", f"data.folder='{tmp_path / within}'", *rest)
        for kind, within in (("videos", "clips"), ("latents", "p"))
    ]
    one, other = map(network, runs)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (runs[1] / "samples" / "step_00000004.png").read_bytes() == (
        runs[0] / "samples" / "step_00000004.png"
    ).read_bytes()


@pytest.mark.whole
@pytest.mark.parametrize(
    "given",
    [
        ("clip_frames=12", "fps=6", "size=[16,16]", "text=umt5"),
        ("clip_frames=6", "fps=6", "size=[16,24]", "codec=doom"),
        ("clip_frames=6", "fps=6", "size=[16,16]", "codec=trained", "codec.file=shipped:codec"),
    ],
)
def test_the_command_that_a_preparation_ends_with_trains_on_it(
    given: tuple[str, ...], videos: Path, tmp_path: Path
) -> None:
    """Once it named neither size nor rate nor codec, and was refused for all but the defaults."""
    encoder = [f"text.folder='{videos / 'encoder'}'", "+text.text_len=8"] * ("text=umt5" in given)
    folder = tmp_path / "a folder"
    done = run("cf.prepare", f"videos='{videos}'", *given, *encoder, f"hydra.run.dir='{folder}'")
    words = shlex.split(done.told.rpartition("train on it: ")[2].splitlines()[0])
    assert words[:3] == ["python", "-m", "cf.fit"]
    one = ("trainer.max_steps=1", "data.batch_size=1", "callbacks.samples.every_steps=1")
    made = read_export(fit(tmp_path / "run", *words[3:], *one) / "network.safetensors")[0]
    height, width = (int(side) for side in given[2][6:-1].split(","))
    assert made["size"] == [height, width]


@pytest.mark.whole
def test_a_distillation_on_prompts_alone(videos: Path, prepared: Path, tmp_path: Path) -> None:
    """Prepared, and encoded by the training: the same student."""
    listed, folder = tmp_path / "list.txt", tmp_path / "p"
    listed.write_text("a red cat\na cat runs\nred\nruns\na cat\n")
    text = ("text=umt5", f"text.folder='{videos / 'encoder'}'", "+text.text_len=8")
    give("cf.prepare", f"prompts_file='{listed}'", *text, f"hydra.run.dir='{folder}'")
    rest = [one for one in ROOMS if not one.startswith(("data", "model=rooms"))]
    rest += ["model=tiny", "+model.text_dim=16", "+model.text_len=8", "data.size=[16,16]"]
    rest += ["data.batch_size=1", "trainer.max_steps=2"]
    clips = ("data=latents", f"data.folder='{prepared}'", "text=prepared", "data.fps=6")
    start = fit(tmp_path / "start", *clips, *rest)
    rest += [*STUDENT, "module.prefix_blocks=[0,0]", "objective=dmd", "module.real_share=0"]
    rest += ["callbacks.samples.every_steps=2", "callbacks.samples.count=1"]
    rest += [f"start.{role}.path='{start}'" for role in ("student", "teacher")]
    runs = [
        fit(tmp_path / name, "data=prompts", *more, *rest)
        for name, more in (
            ("encoded", (f"data.file='{listed}'", *text)),
            ("stored", (f"data.folder='{folder}'", "text=prepared")),
        )
    ]
    one, other = map(network, runs)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (runs[1] / "samples" / "step_00000002.png").is_file()
    told = read_export(runs[1] / "network.safetensors")[0]["text"]
    assert told["_target_"] == "cf.models.text.UMT5.from_folder"
    assert json.loads((runs[1] / "summary.json").read_text())["steps"] == 2


@pytest.mark.whole
def test_a_plan_counts_prepared_clips_that_are_taken_whole(prepared: Path, tmp_path: Path) -> None:
    rooms = ("experiment=rooms_teacher", "data=latents", "data.size=[16,16]", "data.fps=6")
    small = ("model.latent_shape=[3,16,16]", "model.num_layers=1", "data.batch_size=2")
    there = f"data.folder='{prepared}'"
    said = planned_training(settings_of(*rooms, *small, there, "data.clip_frames=12"))
    whole = planned_training(settings_of(*rooms, *small, there))
    assert whole.activations == said.activations
    fewer = planned_training(settings_of(*rooms, *small, there, "data.clip_frames=6"))
    assert fewer.peak < whole.peak
    nowhere = settings_of(*rooms, *small, f"data.folder='{tmp_path}'")
    with pytest.raises(ValueError, match=r"clip_frames is null.*give data\.clip_frames"):
        planned_training(nowhere)
