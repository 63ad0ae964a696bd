import os
import sys
from pathlib import Path

import pytest
import torch

from cf.bench.contestants.imported import Imported
from cf.data.sources import survey
from cf.evaluation.videos import list_videos
from cf.video.listing import listed_in
from cf.video.naming import shown
from cf.video.writer import VideoWriter


def inside(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in listed_in(folder).videos]


def test_a_folder_gives_every_kind_of_video_in_a_stable_order(tmp_path: Path) -> None:
    names = ["b.M4V", "a.m2ts", "a/c.MTS", "a/d.3gp", "e.mpg", "e.mpeg", "f.ogv", "g.Mp4"]
    others = [".hidden.mp4", ".cache/x.mp4", "._a.mp4", "notes.txt", "a/x.jpg", "README"]
    for name in (*names, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert inside(tmp_path) == [str(p) for p in sorted(map(Path, names))]
    assert listed_in(tmp_path).others == {".txt": 1, ".jpg": 1, "": 1}


def test_waste_bins_and_copies_that_servers_make_are_no_footage(tmp_path: Path) -> None:
    for place in ("@eaDir/fox.mp4", "$RECYCLE.BIN/S-1", "__MACOSX", "a/#recycle", "lost+found"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "small.mp4").touch()
    (tmp_path / "a" / "fox.mp4").touch()
    assert inside(tmp_path) == ["a/fox.mp4"]


def test_whatever_can_be_read_is_listed(tmp_path: Path) -> None:
    """Of a folder, what is not listed would be left out without a word."""
    names = ["a.y4m", "b.ivf", "c.h264", "d.265", "e.hevc", "f.m2t", "g.mpe", "h.ogm", "i.dv"]
    for name in names:
        (tmp_path / name).touch()
    assert inside(tmp_path) == names


def test_linked_folders_are_entered_and_loops_end(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    for place in (folder / "z", elsewhere):
        place.mkdir(parents=True)
        (place / "one.mp4").touch()
    (folder / "a").symlink_to(elsewhere)
    (folder / "again").symlink_to("z")  # lies in the folder anyway
    (folder / "z" / "up").symlink_to("..")
    (elsewhere / "self").symlink_to("self")
    (elsewhere / "back").symlink_to(folder)
    (folder / "film.mp4").symlink_to(elsewhere / "one.mp4")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    assert inside(folder) == ["a/one.mp4", "film.mp4", "gone.mp4", "z/one.mp4"]


def test_every_command_finds_the_same_files(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "films"
    folder.mkdir()
    for name in ("plain-0.mp4", "phone-0.M4V"):
        with VideoWriter(elsewhere / "written.mp4", 8, (16, 16)) as writer:
            writer.write(torch.full((8, 3, 16, 16), 0.5))
        (elsewhere / "written.mp4").rename(elsewhere / name)
    (folder / "linked").symlink_to(elsewhere)
    expected = ["linked/phone-0.M4V", "linked/plain-0.mp4"]
    assert [one.name for one in survey(folder, 4, 8.0, progress=False)[0]] == expected
    assert [one.name for one in list_videos(str(folder))] == expected
    assert sorted(Imported(folder=str(folder))._files()) == expected


def test_where_no_video_is_the_message_counts_what_is(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPG", "c.xyz"):
        (tmp_path / name).touch()
    told = r"holds no video among its 3 files \(2 \.jpg, 1 \.xyz\)"
    for find in (lambda: survey(tmp_path, 4, 8.0), lambda: list_videos(str(tmp_path))):
        with pytest.raises(ValueError, match=told):
            find()
    assert "holds no video among its 3 files" in Imported(folder=str(tmp_path)).missing()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_a_name_that_is_no_utf_8_is_shown_and_used(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", 8, (16, 16)) as writer:
        writer.write(torch.full((8, 3, 16, 16), 0.5))
    odd = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / "film.mp4").rename(tmp_path / odd)
    sources, failures = survey(tmp_path, 4, 8.0, progress=False)
    assert not failures
    assert sources[0].name == shown(odd) == "caf\\xe9.mp4"
    assert sources[0].pictures == 8
    (one,) = list_videos(str(tmp_path))
    assert one.video_id != one.prompt_id
    assert one.path.is_file()
