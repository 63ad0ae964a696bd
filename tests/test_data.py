import itertools
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from joblib import Parallel, delayed
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from omegaconf import OmegaConf
from torch import Tensor, nn

import cf.data.clips as clips_module
from cf.data.clips import ClipBatch, Clips
from cf.data.shapes import draw_clips
from cf.data.sources import Source, split, survey
from cf.data.stream import EndlessData
from cf.data.videos import VideoFolder
from cf.data.world.module import WorldData
from cf.data.world.rooms import Rooms
from cf.video import lengths
from cf.video.reader import UnreadableVideo, probe, read_frames, read_video
from cf.video.writer import VideoWriter

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.*You're resuming from a checkpoint"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*This process .* is multi-threaded:DeprecationWarning"),
]


def video(path: Path, seconds: float = 3.0, shade: float = 0.2) -> Path:
    """A video whose brightness rises with time, from `shade` on."""
    frames = int(seconds * 12)
    rise = shade + torch.arange(frames)[:, None, None, None] / 12 * 0.1
    with VideoWriter(path, 12, (16, 16)) as writer:
        writer.write(rise.expand(frames, 3, 16, 16))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good videos, one of them in a folder inside, and one prompt."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(5):
        video(folder / f"clip_{i}.mp4", seconds=3 + 0.5 * i, shade=0.1 * i)
    video(folder / "more" / "deep.mp4")
    (folder / "clip_0.txt").write_text("a slow sunrise\n", "utf-8")
    (folder / "notes.md").write_text("not a video", "utf-8")
    return folder


def build(folder: Path, **options: Any) -> VideoFolder:
    defaults = {"clip_frames": 6, "fps": 4.0, "size": (8, 8), "batch_size": 2, "val_clips": 3}
    return VideoFolder(folder, **(defaults | options))


def batches(data: VideoFolder, count: int) -> list[ClipBatch]:
    data.setup("fit")
    made = itertools.islice(data.train_dataloader(), count)
    return [data.on_after_batch_transfer(batch, 0) for batch in made]


def same(first: list[ClipBatch], second: list[ClipBatch]) -> bool:
    return len(first) == len(second) and all(
        a["name"] == b["name"]
        and torch.equal(a["start"], b["start"])
        and torch.equal(a["video"], b["video"])
        for a, b in zip(first, second, strict=True)
    )


def test_a_batch_holds_the_clips_that_it_says(folder: Path) -> None:
    (batch, *_) = batches(build(folder, batch_size=6, val_fraction=0), 1)
    assert batch["video"].shape == (6, 6, 3, 8, 8)
    assert batch["number"].tolist() == list(range(6))
    assert batch["failures"] == {}
    for i, (name, start) in enumerate(zip(batch["name"], batch["start"].tolist(), strict=True)):
        assert torch.equal(
            batch["video"][i], (read_frames(folder / name, start, 6, 4, (8, 8)).float() / 255)
        )
        assert batch["prompt"][i] == ("a slow sunrise" if name == "clip_0.mp4" else "")


def test_bytes_pass_from_process_to_process_and_pixels_reach_the_network(folder: Path) -> None:
    data = build(folder)
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        held = next(iter(loader))
        batch = data.on_after_batch_transfer(held, 0)
        assert held["video"].dtype == torch.uint8
        assert torch.equal(batch["video"], held["video"].float() / 255)


def test_every_file_comes_once_before_any_comes_again(folder: Path) -> None:
    data = build(folder, val_fraction=0)
    names = [name for batch in batches(data, 9) for name in batch["name"]]
    rounds = [names[i : i + 6] for i in (0, 6, 12)]
    assert all(len(set(one)) == 6 for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1  # shuffled anew
    starts = {float(s) for batch in batches(data, 9) for s in batch["start"]}
    assert len(starts) > 5


def test_the_seed_decides_what_is_seen(folder: Path) -> None:
    first = batches(build(folder), 3)
    assert same(first, batches(build(folder), 3))
    assert not same(first, batches(build(folder, seed=1), 3))
    sources = survey(folder, 6, 4.0)[0][-1:]
    one, other = (Clips(sources, 6, 4.0, (8, 8), seed=seed) for seed in (0, 1))
    assert [one[i].start for i in range(9)] != [other[i].start for i in range(9)]


def test_a_file_is_measured_once_until_it_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path, size and time; other processes read what the first has found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened: list[str] = []
    monkeypatch.setattr(lengths, "probe", lambda path: opened.append(path.name) or probe(path))
    data = build(folder)
    data.prepare_data()
    assert len(opened) == 6
    for fps in (4.0, 7.0):
        opened.clear()
        known = survey(folder, 6, fps)
        assert opened == []
        (kept,) = (tmp_path / "cache" / "cf" / "lengths").glob("*.json")
        kept.unlink()
        assert survey(folder, 6, fps) == known
        assert len(opened) == 6
    other = build(folder)
    opened.clear()
    other.setup("fit")
    assert opened == []
    assert other.identity() == data.identity()
    changed = folder / "clip_1.mp4"
    changed.touch()
    survey(folder, 6, 4.0)
    assert opened == ["clip_1.mp4"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": 1}', "\0", '{"format": 1, "reader": "%s", "files": {"a": 3}}'],
)
def test_a_damaged_file_of_kept_lengths_is_made_anew(
    text: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = survey(folder, 6, 4.0)
    (kept,) = (tmp_path / "cf" / "lengths").glob("*.json")
    whole = kept.read_text()
    kept.write_text(text.replace("%s", lengths._reader()))
    assert survey(folder, 6, 4.0) == expected
    assert kept.read_text() == whole
    odd = json.loads(whole)
    odd["files"]["clip_0.mp4"][2] = -1.0
    kept.write_text(json.dumps(odd))
    assert survey(folder, 6, 4.0) == expected


def test_lengths_are_kept_of_so_many_folders(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lengths, "_FOLDERS", 2)
    for name in ("a", "b", "c"):
        video(tmp_path / name / "one.mp4", seconds=2)
        survey(tmp_path / name, 6, 4.0)
    assert len(list((tmp_path / "cache" / "cf" / "lengths").glob("*.json"))) == 2


@pytest.mark.parametrize("options", [{"num_workers": 1}, {"num_workers": 3}, {"cache_bytes": 0}])
def test_workers_and_cache_change_nothing(options: dict[str, int], folder: Path) -> None:
    assert same(batches(build(folder), 7), batches(build(folder, **options), 7))


def test_ranks_share_one_sequence(folder: Path) -> None:
    alone = batches(build(folder, batch_size=2), 6)
    clips = build(folder)
    clips.setup()
    for rank in (0, 1):
        stream = clips.train_dataloader().dataset
        stream.rank, stream.ranks = rank, 2  # type: ignore[attr-defined]
        ours = [clips.on_after_batch_transfer(b, 0) for b in itertools.islice(stream, 3)]
        assert same(ours, alone[rank::2])
        assert [b["number"].tolist() for b in ours] == [
            [4 * n + 2 * rank, 4 * n + 2 * rank + 1] for n in range(3)
        ]


def test_the_split_is_by_file_and_stays_when_files_are_added() -> None:
    sources = [Source(f"{i}.mp4", Path(f"{i}.mp4"), 99, "") for i in range(40)]
    train, val = split(sources, 0.25)
    assert (len(train), len(val)) == (30, 10)
    assert not set(train) & set(val)
    assert split(list(reversed(sources)), 0.25) == (train, val)
    more = [*sources, Source("new.mp4", Path("new.mp4"), 99, "")]
    assert len(set(split(more, 0.25)[1]) & set(val)) >= 9
    assert len(split(sources[:2], 0.01)[1]) == 1
    assert len(split(sources[:2], 0.99)[0]) == 1
    assert split(sources, 0) == (sources, [])


def test_validation_sees_other_files_and_the_same_clips_every_time(folder: Path) -> None:
    first, second = build(folder), build(folder, seed=5)
    passes = []
    for data in (first, first, second):
        data.setup()
        passes.append(list(data.val_dataloader()))
    assert [len(b["name"]) for b in passes[0]] == [2, 1]
    assert same(passes[0], passes[1])
    assert same(passes[0], passes[2])
    trained_on = {name for batch in batches(first, 6) for name in batch["name"]}
    assert not trained_on & {name for batch in passes[0] for name in batch["name"]}


def test_one_file_serves_both_with_a_warning(tmp_path: Path) -> None:
    video(tmp_path / "only.mp4")
    data = build(tmp_path)
    with pytest.warns(UserWarning, match=r"only\.mp4.*cannot show overfitting"):
        data.setup()
    assert next(iter(data.val_dataloader()))["name"] == ["only.mp4"] * 2


def test_without_validation_there_is_no_loader(folder: Path) -> None:
    data = build(folder, val_fraction=0)
    data.setup()
    assert data.val_dataloader() == []
    assert len(data.train_sources) == 6


def test_the_cache_decodes_once_and_keeps_to_its_bound(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    read = clips_module.read_frames

    def counted(path: Path, *rest: Any) -> Tensor:
        decoded.append(path.name)
        return read(path, *rest)

    monkeypatch.setattr(clips_module, "read_frames", counted)
    sources, _ = survey(folder, 6, 4.0)
    held = [s.pictures * 3 * 8 * 8 for s in sources]
    cached = Clips(sources, 6, 4.0, (8, 8), cache_bytes=sum(held))
    for i in range(600):
        cached[i]
    warm, decoded[:] = len(decoded), []
    for i in range(600, 700):
        cached[i]
    assert warm < 100
    assert decoded == []
    tight = Clips(sources, 6, 4.0, (8, 8), cache_bytes=sum(held) - 1)
    for i in range(600):
        tight[i]
    assert len(set(decoded)) == 6
    decoded.clear()
    for i in range(600, 606):
        tight[i]
    assert len(decoded) == 1  # the one file for which there was no room


# --- what users' folders hold


def test_unusable_files_are_left_out_and_named_once(tmp_path: Path) -> None:
    for i in range(3):
        video(tmp_path / f"good_{i}.mp4")
    video(tmp_path / "brief.mp4", seconds=0.5)
    (tmp_path / "fake.mp4").write_text("no video")
    (tmp_path / "empty.mkv").touch()
    (tmp_path / ".hidden.mp4").write_text("left alone")
    data = build(tmp_path)
    assert {n for b in batches(data, 6) for n in b["name"]} <= {f"good_{i}.mp4" for i in range(3)}
    with pytest.warns(UserWarning, match="left out") as caught:
        data.teardown("fit")
    (message,) = (str(w.message) for w in caught)
    assert "3 videos" in message
    assert "brief.mp4: it lasts 0.50 s and a clip 1.50 s" in message
    assert "fake.mp4: it cannot be decoded" in message
    assert "empty.mkv: the file is empty" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.teardown("fit")


@pytest.mark.parametrize("kind", ["missing", "a file", "empty", "no videos", "broken", "short"])
def test_a_hopeless_folder_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    if kind == "a file":
        folder.touch()
    elif kind != "missing":
        folder.mkdir()
    if kind == "no videos":
        (folder / "a.jpg").touch()
    if kind == "broken":
        (folder / "a.mp4").write_text("no video")
        (folder / "b.mp4").touch()
    if kind == "short":
        video(folder / "a.mp4", seconds=0.5)
    expected = {
        "missing": "is not a folder; give",
        "a file": "is not a folder; give",
        "empty": "holds no video among its 0 files; put videos",
        "no videos": r"holds no video among its 1 file \(1 \.jpg\); put videos",
        "broken": r"(?s)no video of 2 in.*a\.mp4.*b\.mp4.*replace damaged files",
        "short": r"(?s)no video of 1 in.*0\.50 s and a clip 1\.50 s.*ask for fewer frames",
    }[kind]
    with pytest.raises(ValueError, match=expected) as error:
        build(folder).setup()
    assert str(folder) in str(error.value)


class Slow(EndlessData):
    """Batches that take their time."""

    batch_size = 1

    def maker(self) -> Callable[[list[int]], Any]:
        return slowly

    def identity(self) -> object:
        return "slow"


def slowly(numbers: list[int]) -> list[int]:
    time.sleep(0.05)
    return numbers


def test_the_time_for_which_a_step_waits_for_its_batch_is_known() -> None:
    data = Slow(num_workers=0)
    batches = iter(data.train_dataloader())
    for number in range(3):
        assert next(batches) == [number]
        time.sleep(0.2)  # a step
    assert 0.15 <= data.waited < 0.5


@pytest.mark.parametrize("num_workers", [-1, 10**6])
def test_a_number_of_workers_that_no_machine_bears_is_refused(
    num_workers: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"num_workers lies in 0\.\.256; got {num_workers}"):
        build(tmp_path, num_workers=num_workers)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_file_that_breaks_later_is_replaced_and_reported(
    num_workers: int, tmp_path: Path
) -> None:
    for i in range(4):
        video(tmp_path / f"clip_{i}.mp4")
    data = build(tmp_path, val_fraction=0, num_workers=num_workers)
    before = batches(data, 6)
    (tmp_path / "clip_2.mp4").write_bytes(b"overwritten")
    after, again = batches(data, 6), batches(data, 6)
    assert same(after, again)
    names = [name for batch in after for name in batch["name"]]
    assert "clip_2.mp4" not in names
    for old, new in zip(before, after, strict=True):
        untouched = torch.tensor([name != "clip_2.mp4" for name in old["name"]])
        assert torch.equal(old["video"][untouched], new["video"][untouched])
    for batch in after:
        data.on_after_batch_transfer(batch, 0)
    with pytest.warns(UserWarning, match=r"(?s)1 video of.*clip_2\.mp4: from .* cannot be decoded"):
        data.teardown("fit")


def test_when_all_files_vanish_the_error_says_so(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    data = build(tmp_path, val_fraction=0)
    data.setup()
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(ValueError, match=r"(?s)in a row could not be decoded.*no such file"):
        next(iter(data.train_dataloader()))


def test_damage_in_the_middle_costs_only_the_clips_that_meet_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = clips_module.read_frames

    def torn(path: Path, start: float, *rest: Any) -> Tensor:
        if path.name == "clip_4.mp4" and start > 1:
            raise UnreadableVideo(path, "it is torn")
        return read(path, start, *rest)

    monkeypatch.setattr(clips_module, "read_frames", torn)
    sources, _ = survey(folder, 6, 4.0)
    clips = Clips(sources, 6, 4.0, (8, 8))
    seen = [clips[i] for i in range(120)]
    starts = [clip.start for clip in seen if clip.source.name == "clip_4.mp4"]
    assert starts
    assert max(starts) <= 1
    assert any("clip_4.mp4" in clip.failures for clip in seen)


@pytest.mark.parametrize(
    "options",
    [{"clip_frames": 0}, {"fps": 0}, {"size": (8,)}, {"batch_size": 0}, {"val_fraction": 1.0}],
)
def test_impossible_settings_are_refused(options: dict[str, Any], folder: Path) -> None:
    with pytest.raises(ValueError, match="got"):
        build(folder, **options)


def test_the_configuration_file_builds_it(folder: Path) -> None:
    file = Path(__file__).parents[1] / "configs" / "data" / "videos.yaml"
    config = OmegaConf.merge(OmegaConf.load(file), {"folder": str(folder), "seed": 3})
    data = instantiate(config, _convert_="all")
    assert (data.clip_frames, data.fps, data.size, data.batch_size) == (24, 8, (32, 32), 8)
    assert data.folder == folder


# --- resuming


class Watcher(LightningModule):
    """Notes which samples it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []
        self.validated: list[str] = []

    def training_step(self, batch: ClipBatch) -> Tensor:
        self.seen.append(batch["number"].tolist())
        return self.weight * batch["video"].mean()

    def validation_step(self, batch: ClipBatch) -> None:
        self.validated += batch["name"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Dies(Callback):
    """Stops a run hard, in the middle of step `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


def train(
    data: VideoFolder, root: Path, *callbacks: Callback, resume: Path | None = None, **options: Any
) -> Watcher:
    module = Watcher()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=root,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            *callbacks,
            ModelCheckpoint(root, "{step}", every_n_train_steps=2, save_top_k=-1),
        ],
        **({"max_steps": 8, "max_epochs": -1} | options),
    )
    trainer.fit(module, data, ckpt_path=resume)
    return module


def test_the_state_alone_places_the_stream(folder: Path) -> None:
    data = build(folder)
    data.setup()
    state = data.state_dict()
    assert state["samples"] == 0
    data.load_state_dict(state | {"samples": 6})
    assert data.state_dict()["batches"] == 3
    assert next(iter(data.train_dataloader()))["number"].tolist() == [6, 7]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_run_continues_with_the_next_sample(
    num_workers: int, folder: Path, tmp_path: Path
) -> None:
    whole = train(build(folder, num_workers=num_workers), tmp_path / "whole")
    assert whole.seen == [[2 * n, 2 * n + 1] for n in range(8)]
    with pytest.raises(RuntimeError, match="killed"):
        train(build(folder, num_workers=num_workers), tmp_path / "killed", Dies(5))
    checkpoint = tmp_path / "killed" / "step=4.ckpt"
    state = torch.load(checkpoint, weights_only=True)["VideoFolder"]
    assert state["batches"] == 4
    resumed = train(build(folder, num_workers=num_workers), tmp_path / "rest", resume=checkpoint)
    assert resumed.seen == whole.seen[4:]


def test_epochs_continue_the_stream_and_resume_in_their_middle(
    folder: Path, tmp_path: Path
) -> None:
    options = {"limit_train_batches": 3}
    whole = train(build(folder), tmp_path / "whole", **options)
    assert whole.seen == [[2 * n, 2 * n + 1] for n in range(8)]
    assert set(whole.validated) == {s.name for s in split(survey(folder, 6, 4.0)[0], 0.1)[1]}
    for step in (2, 4, 6):
        checkpoint = tmp_path / "whole" / f"step={step}.ckpt"
        resumed = train(build(folder), tmp_path / f"rest_{step}", resume=checkpoint, **options)
        assert resumed.seen == whole.seen[step:], step


def test_another_folder_or_other_sampling_is_noticed(folder: Path, tmp_path: Path) -> None:
    train(build(folder), tmp_path, max_steps=2)
    with pytest.warns(UserWarning, match="have changed since the checkpoint"):
        resumed = train(
            build(folder, seed=9), tmp_path, resume=tmp_path / "step=2.ckpt", max_steps=4
        )
    assert resumed.seen == [[4, 5], [6, 7]]


def test_a_run_reports_damage_that_workers_met(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for i in range(4):
        video(videos / f"clip_{i}.mp4")
    data = build(videos, num_workers=2)
    data.setup()
    torn = data.train_sources[0]
    torn.path.write_bytes(b"overwritten")
    with pytest.warns(UserWarning, match=f"(?s)1 video of.*{torn.name}: from"):
        train(data, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_see_one_sequence(folder: Path, tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_data import *
data = build(Path({str(folder)!r}))
module = Watcher()
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_steps=3, max_epochs=-1,
    logger=False, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False, default_root_dir={str(tmp_path)!r})
trainer.fit(module, data)
Path({str(tmp_path)!r}, f"rank_{{trainer.global_rank}}").write_text(json.dumps(module.seen))
"""
    script = tmp_path / "two.py"
    script.write_text(code)
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, str(script)], check=True, cwd=root, capture_output=True)
    seen = [json.loads((tmp_path / f"rank_{rank}").read_text()) for rank in (0, 1)]
    assert seen == [[[4 * n + 2 * r, 4 * n + 2 * r + 1] for n in range(3)] for r in (0, 1)]


# --- drawn clips


def test_drawn_clips_are_real_moving_videos_and_the_same_again(tmp_path: Path) -> None:
    options = {"count": 2, "seconds": 1.5, "fps": 12.0, "size": (48, 64), "seed": 3}
    first, again = (draw_clips(tmp_path / name, **options) for name in ("a", "b"))
    assert [path.name for path in first] == ["shapes_000.mp4", "shapes_001.mp4"]
    info = probe(first[0])
    assert info.duration == pytest.approx(1.5)
    assert (info.fps, info.height, info.width) == (12.0, 48, 64)
    frames = [read_video(path) for path in first]
    assert torch.equal(frames[0], read_video(again[0]))
    assert (frames[0] - frames[1]).abs().mean() > 0.03
    steps = frames[0].diff(dim=0).abs().mean((1, 2, 3))
    assert steps.min() > 0.001
    assert steps.max() < 0.1
    assert "bounce" in first[0].with_suffix(".txt").read_text("utf-8")
    other = draw_clips(tmp_path / "c", **{**options, "count": 1, "seed": 4})
    assert not torch.equal(read_video(other[0]), frames[0])


def test_drawn_clips_feed_training(tmp_path: Path) -> None:
    draw_clips(tmp_path, count=3, seconds=2, fps=12, size=(32, 32))
    (batch,) = batches(build(tmp_path), 1)
    assert all("bounce" in prompt for prompt in batch["prompt"])


def test_real_clips_can_be_a_folder(shared: Path) -> None:
    if not (shared / "videos").is_dir():
        pytest.skip("no sample clips")
    data = build(shared / "videos", clip_frames=8, size=(32, 32), batch_size=5)
    (batch,) = batches(data, 1)
    assert batch["video"].std() > 0.1
    assert data.val_dataloader() != []


def _read_by_a_worker() -> tuple[int, ...]:
    """The shape of a batch that a loader's worker made."""
    world = WorldData(partial(Rooms, room_cells=3, view_cells=2), (16, 16), 3, num_workers=1)
    return tuple(next(iter(world.train_dataloader()))["video"].shape)


@pytest.mark.slow
def test_a_job_of_a_sweep_reads_by_workers() -> None:
    """joblib begins jobs, and would have their workers begun, in a way of its own."""
    jobs = Parallel(n_jobs=2, backend="loky")
    assert jobs(delayed(_read_by_a_worker)() for _ in range(2)) == [(8, 3, 3, 16, 16)] * 2
