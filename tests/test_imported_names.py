"""Files of other tools find their prompts by name, or nothing is begun and both sides are named."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import give
from PIL import Image

from cf.bench.contestants.imported import Imported, export_vbench
from cf.bench.tasks.base import Request, Sample, VideoSpec
from cf.bench.tasks.prompts import Prompts
from cf.video.writer import VideoWriter

TEXTS = ["A red fox, running through the deep snow", "it's raining / snowing", "été 66", "x"]


def asked(folder: Path, texts: Sequence[str] = TEXTS, seeds: Sequence[int] = (0,)) -> list[Sample]:
    listed = folder / "prompts.txt"
    listed.write_text("\n".join(texts))
    return Prompts(str(listed), seeds=seeds).items()


def files(folder: Path, names: Sequence[str]) -> Path:
    place = folder / "theirs"
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    return place


def file_of(imported: Imported, items: Sequence[Sample], item: Sample) -> str:
    """The file that is played."""
    found = imported._file(Request(item, VideoSpec(8.0, (8, 8)), 8, others=tuple(items)))
    assert found is not None
    return found.relative_to(imported.folder).as_posix()


def name_as(how: str) -> Callable[[Sample], str]:
    text = lambda item: item.script[0][1].replace("/", "")  # noqa: E731
    return {
        "id": lambda item: f"{item.key}.mp4",
        "hash": lambda item: f"{item.identity}-{item.seed}.webm",
        "vbench": lambda item: f"{text(item)}-{item.seed}.mp4",
        "underlines": lambda item: f"{text(item).replace(' ', '_')}_{item.seed}.mp4",
        "plain": lambda item: f"{''.join(c for c in text(item) if c.isalnum() or c == ' ')}-0.mp4",
        "no suffix": lambda item: f"{text(item)}.mp4",
        "cut": lambda item: f"{text(item)[:20]}-{item.seed}.mp4",
        "seed": lambda item: f"{text(item)}_seed{item.seed}.mp4",
        "folder": lambda item: f"a/{text(item).lower()}-0.gif",
        "split": lambda item: f"{text(item).replace('é', 'é')}-0.mp4",
    }[how]


@pytest.mark.parametrize(
    "how",
    ["id", "hash", "vbench", "underlines", "plain", "no suffix", "cut", "seed", "folder", "split"],
)
def test_every_common_way_to_name_a_file_is_understood(tmp_path: Path, how: str) -> None:
    items, name = asked(tmp_path), name_as(how)
    imported = Imported(folder=str(files(tmp_path, [name(item) for item in items])))
    imported.check(items, "theirs")
    assert [file_of(imported, items, item) for item in items] == [name(item) for item in items]


def test_folders_of_pictures_are_found_by_name_and_played(tmp_path: Path) -> None:
    items = asked(tmp_path, ["a fox", "v1.5 of a cat"])
    for item in items:
        for number in range(1, 9):
            file = tmp_path / "theirs" / f"{item.script[0][1]}-0" / f"frame_{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 8), (30 * number, 0, 0)).save(file)
    imported = Imported(folder=str(tmp_path / "theirs"), pictures_fps=4)
    imported.check(items, "theirs")
    assert not imported.missing()
    terms = imported.terms(None)
    assert terms == VideoSpec(4.0, (8, 12))
    take = Request(items[1], terms, 8, others=tuple(items))
    assert not imported.available(take)
    played = torch.cat(list(imported.play(take, "cpu")))
    assert (255 * played[:, 0, 0, 0]).round().tolist() == [30 * n for n in range(1, 9)]
    other = Imported(folder=imported.folder, pictures_fps=8)
    assert imported.fingerprint() != other.fingerprint()


def test_seeds_are_told_apart(tmp_path: Path) -> None:
    items = asked(tmp_path, seeds=[0, 1])
    imported = Imported(folder=str(files(tmp_path, [f"{item.key}.mp4" for item in items])))
    imported.check(items, "theirs")
    assert [file_of(imported, items, one) for one in items] == [f"{one.key}.mp4" for one in items]


def test_numbers_are_taken_where_the_user_says_what_they_are(tmp_path: Path) -> None:
    items = asked(tmp_path)
    folder = str(files(tmp_path, [f"video_{i:03d}.mp4" for i in range(1, 5)]))
    with pytest.raises(ValueError, match=r"numbered_from=1"):
        Imported(folder=folder).check(items, "theirs")
    imported = Imported(folder=folder, numbered_from=1)
    imported.check(items, "theirs")
    assert file_of(imported, items, items[2]) == "video_003.mp4"
    with pytest.raises(ValueError, match="1 of 4 videos"):
        Imported(folder=folder, numbered_from=2).check(items, "theirs")


def test_a_pattern_reads_other_names(tmp_path: Path) -> None:
    items = asked(tmp_path, ["a", "b"])
    folder = str(files(tmp_path, ["s0 of a.mp4", "s0 of b.mp4"]))
    imported = Imported(folder=folder, pattern="s(?P<seed>[0-9]+) of (?P<prompt>.*)")
    imported.check(items, "theirs")
    assert file_of(imported, items, items[1]) == "s0 of b.mp4"
    for pattern, told in (("(", "no regular"), ("a", "needs a group"), ("(?P<prompt>x)", "match")):
        with pytest.raises(ValueError, match=told):
            Imported(folder=folder, pattern=pattern).check(items, "theirs")


@pytest.mark.parametrize(
    ("names", "seeds", "told"),
    [
        (
            ["A red fox, running through the deep snow-0.mp4"],
            [0],
            ["3 of 4", "it's raining", "seed 0"],
        ),
        (["one-0.mp4", "two-0.mp4"], [0], ["4 of 4", "not used: one-0.mp4, two-0.mp4", "listed="]),
        ([f"{t.replace('/', '')}-{3}.mp4" for t in TEXTS], [0], ["asked.seeds=[3]"]),
        (["it's raining  snowing-0.mp4", "it's_raining_snowing_0.webm"], [0], ["4 of 4", "may be"]),
        (["x-0.mp4", "x-0.webm"], [0], ["'x', seed 0 may be x-0.mp4 or x-0.webm"]),
        (["x.mp4"], [0, 1], ["8 of 8", "not used: x.mp4"]),
        (["A red fax, running through the deep snow-0.mp4"], [0], ["nearest is A red fax"]),
    ],
)
def test_a_miss_names_what_was_looked_for_and_what_lies_there(
    tmp_path: Path, names: list[str], seeds: list[int], told: list[str]
) -> None:
    imported = Imported(folder=str(files(tmp_path, names)))
    with pytest.raises(ValueError, match=r"contestants\.theirs") as refused:
        imported.check(asked(tmp_path, seeds=seeds), "theirs")
    assert all(one in str(refused.value) for one in told), refused.value


def test_a_beginning_that_two_prompts_share_belongs_to_neither(tmp_path: Path) -> None:
    items = asked(tmp_path, ["a very red fox in the snow", "a very red fox in the rain"])
    imported = Imported(folder=str(files(tmp_path, ["a very red fox in-0.mp4"])))
    with pytest.raises(ValueError, match="2 of 2"):
        imported.check(items, "theirs")


def test_a_prompt_of_thousands_of_digits_is_looked_for_at_once(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("fox\n")
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,prompt,seed\nlist.txt,thr{'9' * 20_000},0\n")
    items = Prompts(str(tmp_path / "list.txt")).items()
    began = time.process_time()
    with pytest.raises(ValueError, match="fox"):
        Imported(folder=str(tmp_path), listed=str(listed)).check(items, "theirs")
    assert time.process_time() - began < 2  # was 14 s


def test_names_of_the_export_never_collide(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.touch()
    texts = ["a / b", "a  b", "a /b", "A / b", "w" * 300 + "1", "w" * 300 + "2", "é" * 200]
    items = asked(tmp_path, texts, seeds=[0, 1])
    out = tmp_path / "out"
    assert export_vbench(dict.fromkeys(items, video), out) == 14
    rows = pd.read_csv(out / "prompts.csv")
    assert rows["path"].str.casefold().nunique() == 14
    assert all((out / name).is_symlink() and len(name.encode()) < 255 for name in rows["path"])
    listed = Imported(folder=str(out), listed=str(out / "prompts.csv"))
    listed.check(items, "theirs")
    assert [file_of(listed, items, one) for one in items] == rows["path"].tolist()
    (out / rows["path"][0]).unlink()
    (out / rows["path"][0]).write_text("mine")
    with pytest.raises(ValueError, match="no link"):
        export_vbench(dict.fromkeys(items, video), out)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,seed\na.mp4,0", "no column 'prompt'"),
        ("path,prompt,seed\na.mp4,x,0\nb.mp4,x,0", "line 3: 'x' with seed 0 is listed twice"),
        ("path,prompt,seed\na.mp4,x,first", "line 2: .*seed='first'"),
        ("path,prompt\n,x", "line 2: path=''"),
        ("path,prompt\na.mp4,x", "3 of 4"),
        ("path;prompt\n" + "\n".join(f"{i}.mp4;{t}" for i, t in enumerate(TEXTS)), "not one file"),
    ],
)
def test_a_broken_listing_names_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{told}|{told}.*list\.csv"):
        Imported(folder=str(tmp_path), listed=str(listed)).check(asked(tmp_path), "theirs")


@pytest.mark.whole
def test_missing_files_are_listed_and_the_rest_is_measured(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    items = asked(tmp_path, ["a red fox", "a blue fox"])
    folder = files(tmp_path, [])
    with VideoWriter(folder / "a red fox-0.mp4", 8.0, (32, 32)) as writer:
        writer.write(torch.rand(12, 3, 32, 32))
    listed = tmp_path / "list.csv"
    listed.write_text("path,prompt\na red fox-0.mp4,a red fox\ngone.mp4,a blue fox\n")
    flags = (
        "suite=moviegen",
        f"asked.file='{tmp_path / 'prompts.txt'}'",
        "contestants=none",
        "+contestant@contestants.theirs=imported",
        f"contestants.theirs.folder='{folder}'",
        "metrics=none",
        "+metrics.temporal_flickering._target_=cf.metrics.TemporalFlickeringVBench",
        "headline=[temporal_flickering]",
        "durations=[1]",
        "workers=0",
        "devices=cpu",
        "report=false",
        "tensorboard=false",
    )
    told = refused("cf.benchmark", *flags, f"hydra.run.dir='{tmp_path / 'out'}'")
    assert "1 of 2 videos" in told
    assert "'a blue fox', seed 0" in told
    assert not (tmp_path / "out" / "videos").exists()
    for i, more in enumerate(
        (f"contestants.theirs.listed='{listed}'", "contestants.theirs.partial=true")
    ):
        give("cf.benchmark", *flags, more, f"hydra.run.dir='{tmp_path / str(i)}'")
        rows = pd.read_csv(tmp_path / str(i) / "per_video.csv").set_index("video")
        assert rows.loc["a-red-fox-0", "status"] == "done"
        assert rows.loc["a-blue-fox-0", "status"] == "missing"
        reason = pd.read_csv(tmp_path / str(i) / "failures.csv")["reason"][0]
        assert ("gone.mp4" in reason) if i == 0 else ("'a blue fox', seed 0" in reason)
    assert len(items) == 2


@pytest.mark.whole
def test_another_size_is_refused_with_the_setting_that_reads_it_as_the_others(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    with VideoWriter(files(tmp_path, ["a.mp4"]) / "a red fox-0.mp4", 8.0, (64, 64)) as writer:
        writer.write(torch.rand(12, 3, 64, 64))
    told = refused(
        "cf.benchmark",
        "suite=smoke",
        "+contestant@contestants.theirs=imported",
        f"contestants.theirs.folder='{tmp_path / 'theirs'}'",
        f"hydra.run.dir='{tmp_path / 'out'}'",
    )
    assert "64 x 64: theirs" in told
    assert "theirs is read as contestants.theirs.fps and .size say" in told
