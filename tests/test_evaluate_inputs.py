"""What an evaluation is given: told before the work, listed, or refused by file and line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import give

from cf.evaluation.headers import _doubled, _numbered, _repeated, common_seconds, foreseen
from cf.evaluation.videos import list_videos
from cf.metrics.consistency.temporal_consistency import TemporalConsistency
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.video.writer import VideoWriter

FLICKER = (
    "metrics=none",
    "+metrics.temporal_flickering._target_=cf.metrics.TemporalFlickeringVBench",
)


def film(path: Path, frames: int = 8, fps: float = 8.0, size: tuple[int, int] = (32, 32)) -> Path:
    with VideoWriter(path, fps, size) as writer:
        writer.write(torch.rand(frames, 3, *size))
    return path


def test_folders_are_told_apart_after_the_dot_too(tmp_path: Path) -> None:
    for name in ("wan2.1", "wan2.2"):
        film(tmp_path / name / "a.mp4")
    found = list_videos([str(tmp_path / "wan2.1"), str(tmp_path / "wan2.2")])
    assert [one.contestant for one in found] == ["wan2.1", "wan2.2"]
    with pytest.raises(ValueError, match="is given twice"):
        list_videos([str(tmp_path / "wan2.1"), str(tmp_path / "wan2.2" / ".." / "wan2.1")])


def test_accents_of_macos_are_the_same_prompt(tmp_path: Path) -> None:
    for folder, name in (("ours", "\u00e9t\u00e9"), ("theirs", "e\u0301te\u0301")):
        film(tmp_path / folder / f"{name}.mp4")
    ours, theirs = list_videos([str(tmp_path / "ours"), str(tmp_path / "theirs")])
    assert ours.prompt_id == theirs.prompt_id


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,seed\na.mp4,1.5", "line 2: seed must be a whole number, not '1.5'"),
        ("path,boundaries\na.mp4,1 x", "line 2: boundaries must"),
        ("path,boundaries\na.mp4,9 3", "line 2: boundaries must be rising"),
        ("path,boundaries\na.mp4,-1 3", "line 2: boundaries must be rising"),
        ("path,promt\na.mp4,b", "'promt' is unknown.*prompt"),
        ("file\na.mp4", "no column 'path'.*'file'"),
        ('path,prompt\na.mp4,"b', "from line 2"),
        ("path,prompt\na.mp4,b,c", "line 2: it has 3 cells"),
        ("path,prompt\n,b", "line 2: the path is empty"),
    ],
)
def test_a_broken_listing_names_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{told}"):
        list_videos(str(tmp_path / "list.csv"))


def test_a_listing_is_read_as_excel_writes_it(tmp_path: Path) -> None:
    text = 'path;prompt;seed\r\na.mp4;"one\ntwo; é";3\r\n'
    (tmp_path / "list.csv").write_bytes(text.encode("utf-16"))
    (one,) = list_videos(str(tmp_path / "list.csv"))
    assert (one.name, one.prompt, one.seed) == ("a.mp4", "one\ntwo; é", 3)


def test_headers_tell_before_the_work_what_will_lack(tmp_path: Path) -> None:
    film(tmp_path / "ours" / "a.mp4")
    film(tmp_path / "ours" / "b.mp4", frames=16)
    film(tmp_path / "theirs" / "a.mp4", fps=4.0, size=(32, 48))
    (tmp_path / "theirs" / "c.mp4").write_bytes(b"no video")
    videos = list_videos([str(tmp_path / "ours"), str(tmp_path / "theirs")])
    told = "\n".join(foreseen(videos, [TemporalConsistency(Handcrafted())]))
    for part in (
        "from 1 s (ours/a.mp4) to 2 s",
        "seconds=1 looks at their common beginning",
        "frames per second: 8 (2, such as ours/a.mp4), 4 (1, such as theirs/a.mp4)",
        "pixels: 32 x 32 (2, such as ours/a.mp4), 32 x 48",
        "size=[height,width]",
        "has 2 prompts, too few for TemporalConsistency",
        "ours: 1 prompt not shared by all contestants",
        "'c'",
    ):
        assert part in told
    assert foreseen(videos[:1], []) == []
    lone = foreseen([videos[1], videos[2]], [])
    assert any("no prompt is shared" in one for one in lone)


@pytest.mark.whole
def test_one_short_video_does_not_end_an_evaluation(tmp_path: Path) -> None:
    """It is left without a value of what looks at whole seconds, as one that is damaged is."""
    for name in ("ours", "theirs"):
        film(tmp_path / name / "a.mp4", frames=1)
        film(tmp_path / name / "b.mp4", frames=16)
        film(tmp_path / name / "c.mp4", frames=24)
    videos = list_videos([str(tmp_path / "ours"), str(tmp_path / "theirs")])
    assert (common_seconds(videos), common_seconds(videos, 1.0)) == (0.125, 2)
    (told,) = (one for one in foreseen(videos, [], 2.0) if "last from" in one)
    assert "over the first 2 s, and 2 shorter videos have no value" in told
    both = f"videos=[{tmp_path / 'ours'},{tmp_path / 'theirs'}]"
    give("cf.evaluate", both, f"hydra.run.dir='{tmp_path / 'out'}'")
    rows = pd.read_csv(tmp_path / "out" / "per_video.csv")
    assert rows["video"].tolist() == ["a.mp4", "b.mp4", "c.mp4"] * 2
    assert rows[rows["video"] != "a.mp4"].filter(like="flicker").notna().any(axis=1).all()


def test_numbers_that_look_like_seeds_are_told_with_the_pattern_that_reads_them(
    tmp_path: Path,
) -> None:
    """Each would count as a prompt, and the intervals would be too narrow."""
    ways = [("-", ""), ("_seed", ""), ("/", ""), ("-", "_ema"), ("_", ".regular"), ("-", "_lora")]
    for number, (mark, end) in enumerate(ways):
        place = tmp_path / str(number)
        for text in ("a fox", "a hen, 2024"):
            for seed in range(4):
                path = place / f"{text}{mark}{seed}{end}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        (told,) = _numbered(list_videos(str(place)))
        assert "the numbers 0, 1, 2, ..." in told
        assert "for each of 2 texts, and every name counts as a prompt" in told
        pattern = told.partition("pattern='")[2].rstrip("'")
        read = list_videos(str(place), pattern)
        assert {(one.prompt, one.seed) for one in read} == {
            (text, seed) for text in ("a fox", "a hen, 2024") for seed in range(4)
        }
        assert _numbered(read) == []
        next(place.rglob(f"*0{end}.mp4")).unlink()
        assert _numbered(list_videos(str(place))) == []


def test_folders_of_seeds_and_of_contestants_are_told(tmp_path: Path) -> None:
    """The same names in each; every file would count as a prompt of one contestant."""
    for number, folders in enumerate((("seed_0", "seed_1"), ("ours", "theirs"), ("fox", "hen"))):
        for name in folders:
            for text in ("a fox", "a hen") if number < 2 else ("video",):
                path = tmp_path / str(number) / name / f"{text}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (told,) = _repeated(list_videos(str(tmp_path / "0")))
    pattern = told.partition("pattern='")[2].partition("'")[0]
    read = list_videos(str(tmp_path / "0"), pattern)
    assert {(one.prompt, one.seed) for one in read} == {
        (text, seed) for text in ("a fox", "a hen") for seed in (0, 1)
    }
    (told,) = _repeated(list_videos(str(tmp_path / "1")))
    assert f"videos='[{tmp_path}/1/ours,{tmp_path}/1/theirs]'" in told
    assert _repeated(list_videos(str(tmp_path / "2"))) == []  # a folder for each prompt


def test_a_copy_in_another_format_is_told(tmp_path: Path) -> None:
    for name in ("a fox.mp4", "a fox.webm", "a hen.mp4"):
        (tmp_path / name).touch()
    (told,) = _doubled(list_videos(str(tmp_path)))
    assert "a fox.mp4, a fox.webm" in told
    (tmp_path / "a fox.webm").unlink()
    assert _doubled(list_videos(str(tmp_path))) == []


def test_a_list_that_windows_wrote_is_read(tmp_path: Path) -> None:
    """A file whose name has a backslash stays itself."""
    (tmp_path / "made").mkdir()
    for name in ("made/a.mp4", "made/true.mp4", r"made\b.mp4"):
        (tmp_path / name).touch()
    rows = ["path,reference", r"made\a.mp4,.\made\true.mp4", r"made\b.mp4,", r"made\c.mp4,"]
    (tmp_path / "list.csv").write_bytes("\r\n".join(rows).encode())
    first, second, third = list_videos(str(tmp_path / "list.csv"))
    assert (first.path, first.reference) == (tmp_path / "made/a.mp4", tmp_path / "made/true.mp4")
    assert second.path == tmp_path / r"made\b.mp4"
    assert third.path == tmp_path / r"made\c.mp4"  # told as it is written


def test_several_files_with_commas_between_are_told_as_a_list(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c,d.mp4"):
        (tmp_path / name).touch()
    several = f"{tmp_path / 'a.mp4'},{tmp_path / 'b.mp4'}"
    with pytest.raises(ValueError, match=r"no file .*; several are a list: videos='\[") as told:
        list_videos(several)
    assert f"'[{several}]'" in str(told.value)
    assert len(list_videos([str(tmp_path / "c,d.mp4")])) == 1


@pytest.mark.parametrize("heading", ["Path,Prompt,SEED", "PATH, prompt ,Seed", "path,prompt,seed"])
def test_headings_may_have_capitals(tmp_path: Path, heading: str) -> None:
    (tmp_path / "a.csv").write_text(f"{heading}\na.mp4,fox,3\n")
    (one,) = list_videos(str(tmp_path / "a.csv"))
    assert (one.name, one.prompt, one.seed) == ("a.mp4", "fox", 3)
    (tmp_path / "b.csv").write_text("path,prompt,Prompt\na.mp4,fox,hen\n")
    with pytest.raises(ValueError, match="'prompt' comes twice"):
        list_videos(str(tmp_path / "b.csv"))


def test_one_seed_of_a_prompt_is_one_video(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("path\tprompt\tseed\na.mp4\tfox\t0\nb.mp4\tfox\t1\n")
    assert [one.seed for one in list_videos(str(tmp_path / "list.tsv"))] == [0, 1]
    (tmp_path / "list.csv").write_text("path,prompt,seed\nours/a.mp4,fox,0\ntheirs/a.mp4,fox,0\n")
    with pytest.raises(ValueError, match=r"list has ours/a.mp4 and theirs/a.mp4 .*'fox'.*seed 0"):
        list_videos(str(tmp_path / "list.csv"))


def test_a_home_opens_in_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list.csv").write_text("path,reference\n~/a.mp4,~/b.mp4\n")
    (one,) = list_videos(str(tmp_path / "list.csv"))
    assert (one.path, one.reference) == (tmp_path / "a.mp4", tmp_path / "b.mp4")
    (tmp_path / "list.csv").write_text("path,reference\n~nobody.mp4,~nobody.mov\n")
    (one,) = list_videos(str(tmp_path / "list.csv"))
    assert (one.path, one.reference) == (tmp_path / "~nobody.mp4", tmp_path / "~nobody.mov")


@pytest.mark.whole
def test_an_evaluation_goes_on_with_what_it_was_begun_with(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    film(tmp_path / "ours" / "a.mp4")
    (tmp_path / "list.csv").write_text("path,prompt\nours/a.mp4,fox\nours/gone.mp4,sea\n")
    out = tmp_path / "out"
    flags = (f"videos='{tmp_path / 'list.csv'}'", *FLICKER)
    give("cf.evaluate", *flags, f"hydra.run.dir='{out}'")
    assert "gone.mp4" in (out / "summary.md").read_text()  # listed, and the rest went on
    before = (out / "summary.md").read_text()
    give("cf.evaluate", *flags, f"resume='{out}'")
    assert (out / "summary.md").read_text() == before
    shutil.copy(tmp_path / "ours" / "a.mp4", tmp_path / "ours" / "b.mp4")
    told = refused("cf.evaluate", f"videos='{tmp_path / 'ours'}'", *FLICKER, f"resume='{out}'")
    assert "was begun with other videos" in told
    assert "ours/b.mp4 is new" in told
    told = refused("cf.evaluate", *flags, "size=[16,16]", f"resume='{out}'")
    assert "setting size.0 is new" in told
    assert (out / "summary.md").read_text() == before
    for kind in (".pt", ".facts.json"):
        kept = next(one for one in out.rglob("*") if one.name.endswith(kind))
        whole = kept.read_bytes()
        kept.write_bytes(whole[: len(whole) // 2])
        told = refused("cf.evaluate", *flags, f"resume='{out}'")
        assert f"{kept} is damaged" in told
        kept.unlink()
        give("cf.evaluate", *flags, f"resume='{out}'")
        assert (out / "summary.md").read_text() == before


def test_what_is_not_there_leaves_nothing_behind(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "list.csv").write_text("path\na.mp4\nb.mp4\n")
    assert "none of 2 videos" in refused("cf.evaluate", "videos=list.csv", *FLICKER)
    assert "not the folder of an evaluation" in refused(
        "cf.evaluate", "videos=list.csv", "resume=mistyped"
    )
    assert not (tmp_path / "mistyped").exists()
