"""Folders of numbered pictures, and pictures that move, are videos like others."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cf.bench.contestants.imported import Imported
from cf.data.sources import survey
from cf.data.videos import VideoFolder
from cf.evaluation.store import _stamp
from cf.evaluation.videos import list_videos
from cf.video.listing import listed_in, stamp, video_at
from cf.video.numbered import PictureFolder
from cf.video.probe import UnreadableVideo, is_steady, probe
from cf.video.reader import read_chunks, read_frames, read_image, read_video

HIGH, WIDE = 12, 20


def picture(value: int, size: tuple[int, int] = (HIGH, WIDE)) -> Image.Image:
    pixels = np.random.default_rng(value).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(pixels)


def pictures(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        picture(number).save(folder / name)
    return folder


def made(folder: Path, count: int = 12, form: str = "{:04d}.png") -> Path:
    return pictures(folder, [form.format(i + 1) for i in range(count)])


def whole(folder: Path, names: list[str]) -> Tensor:
    return torch.cat([read_image(folder / name) for name in names])


@pytest.mark.parametrize("form", ["{:05d}.png", "frame_{}.bmp", "take2_{}_left.PNG", "{}.webp"])
def test_numbered_pictures_are_a_video_in_the_order_of_their_numbers(
    form: str, tmp_path: Path
) -> None:
    names = [form.format(i) for i in range(1, 13)]
    if form.endswith("webp"):
        tmp_path.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            picture(number).save(tmp_path / name, lossless=True)
    else:
        pictures(tmp_path, names)
    for other in ("Thumbs.db", ".hidden.png", "._0001.png", "notes.txt"):
        (tmp_path / other).write_bytes(b"no picture")
    video = video_at(tmp_path, 24)
    info = probe(video)
    assert (info.fps, info.height, info.width, is_steady(video)) == (24, HIGH, WIDE, True)
    assert info.duration == pytest.approx(0.5)
    assert torch.equal(read_video(video), whole(tmp_path, names))
    assert len(read_video(video, fps=8)) == 4


@pytest.mark.parametrize("fps", [1, 7, 24, 30, 90])
@pytest.mark.parametrize("own", [8, 23.976, 60])
def test_any_picture_read_alone_is_the_one_of_a_whole_read(
    own: float, fps: float, tmp_path: Path
) -> None:
    video = video_at(made(tmp_path, 17), own)
    size = (8, 8)
    every = torch.cat([*read_chunks(video, 3, fps, size)])
    assert len(every) == probe(video).pictures(fps)
    for at in range(len(every)):
        assert torch.equal(read_frames(video, at / fps, 1, fps, size)[0], every[at])
    with pytest.raises(UnreadableVideo, match="too short"):
        read_frames(video, 0, len(every) + 1, fps)


def test_a_number_is_a_time_counted_in_the_step_of_all(tmp_path: Path) -> None:
    """As in a file that lost a picture, the one before stands where a number is missing."""
    names = [f"{n}.png" for n in (10, 15, 20, 30)]
    video = video_at(pictures(tmp_path, names), 5)
    assert probe(video).duration == pytest.approx(1.0)
    assert not is_steady(video)
    order = [0, 1, 2, 2, 3]
    assert torch.equal(read_video(video), whole(tmp_path, names)[order])


def test_numbers_that_no_video_is_long_are_refused(tmp_path: Path) -> None:
    video = video_at(pictures(tmp_path, ["1.png", "2.png", f"{10**30}.png"]), 24)
    with pytest.raises(UnreadableVideo, match="numbered 1 to"):
        probe(video)


def test_pictures_of_every_kind_are_read_as_single_pictures_are(tmp_path: Path) -> None:
    """Grey, of a palette, clear, of 16 bits, turned by EXIF, of another size."""
    grey = picture(0).convert("L")
    grey.save(tmp_path / "0.png")
    picture(1).convert("P").save(tmp_path / "1.png")
    picture(2).convert("RGBA").save(tmp_path / "2.png")
    Image.fromarray(np.arange(HIGH * WIDE, dtype=np.uint16).reshape(HIGH, WIDE) * 200).save(
        tmp_path / "3.png"
    )
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(4, (WIDE, HIGH)).save(tmp_path / "4.png", exif=turned)
    picture(5, (24, 30)).save(tmp_path / "5.jpg")
    size = (HIGH, WIDE)
    read = read_video(video_at(tmp_path, 2), size=size)
    alone = [read_image(tmp_path / f"{n}.{'jpg' if n == 5 else 'png'}", size) for n in range(6)]
    assert torch.equal(read, torch.cat(alone))


def test_a_damaged_picture_is_named_where_it_is_met(tmp_path: Path) -> None:
    video = video_at(made(tmp_path), 8)
    (tmp_path / "0006.png").write_bytes((tmp_path / "0006.png").read_bytes()[:100])
    assert len(read_frames(video, 0, 5, 8)) == 5
    with pytest.raises(UnreadableVideo, match=r"0006\.png: it is cut off or damaged") as met:
        read_video(video)
    assert met.value.path == video


def test_a_folder_of_folders_is_a_list_and_a_folder_of_videos_stays_one(tmp_path: Path) -> None:
    for name in ("bear", "a.b/dog"):
        made(tmp_path / name)
    found = listed_in(tmp_path, 24).videos
    assert [str(one.relative_to(tmp_path)) for one in found] == ["a.b/dog", "bear"]
    assert all(isinstance(one, PictureFolder) and one.fps == 24 for one in found)
    again = pickle.loads(pickle.dumps(found[1]))
    assert (again, again.fps, type(again)) == (found[1], 24, PictureFolder)
    assert listed_in(tmp_path / "bear", 24).videos == (found[1],)


def test_pictures_without_a_rate_are_told_and_what_tells_it(tmp_path: Path) -> None:
    made(tmp_path / "bear")
    remedy = "12 .*do not tell how many are shown a second: give {}=24"
    for place in (tmp_path, tmp_path / "bear"):
        with pytest.raises(ValueError, match=remedy.format("pictures_fps")):
            list_videos(str(place))
        with pytest.raises(ValueError, match=remedy.format(r"data\.pictures_fps")):
            VideoFolder(place).setup()
        with pytest.raises(ValueError, match=remedy.format(r"contestants\.NAME\.pictures_fps")):
            Imported(source="", folder=str(place)).missing()


def test_a_mixture_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(tmp_path / "mixed", 3)
    (tmp_path / "mixed" / "film.mp4").touch()
    assert [one.name for one in listed_in(tmp_path, 24).videos] == ["film.mp4"]
    assert "holds videos and 3 numbered pictures, which are passed over" in caplog.text
    caplog.clear()
    pictures(tmp_path / "odd", ["1.png", "2.png", "cover.png"])
    assert [one.name for one in listed_in(tmp_path, 24).videos] == ["film.mp4"]
    assert "cover.png is not numbered as 1.png is" in caplog.text
    caplog.clear()
    made(tmp_path / "bear", 3)
    listed_in(tmp_path)
    assert "give pictures_fps=24" in caplog.text
    assert "without it they are passed over" in caplog.text


def test_sheets_beside_videos_are_no_mixture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A contact sheet has its video's name."""
    made(tmp_path, 3, "video_{}.png")
    for number in range(1, 4):
        (tmp_path / f"video_{number}.mp4").touch()
    assert len(listed_in(tmp_path, 24).videos) == 3
    assert not caplog.text


def test_names_captions_and_stamps_of_picture_folders(tmp_path: Path) -> None:
    made(tmp_path / "fox v1.2")
    (tmp_path / "fox v1.2.txt").write_text("a fox")
    for given in (str(tmp_path), str(tmp_path / "fox v1.2"), {"mine": str(tmp_path / "fox v1.2")}):
        [one] = list_videos(given, None, 24)
        assert (one.name, one.prompt, one.text) == ("fox v1.2", "fox v1.2", "a fox")
    [source], _ = survey(tmp_path, 4, 8, progress=False, pictures_fps=24)
    assert (source.name, source.pictures, source.prompt) == ("fox v1.2", 4, "a fox")
    [slow], _ = survey(tmp_path, 4, 8, progress=False, pictures_fps=12)
    assert slow.pictures == 8
    before = stamp(source.path)
    assert _stamp(source.path) != _stamp(slow.path)
    picture(77).convert("L").save(tmp_path / "fox v1.2" / "0003.png")
    assert stamp(source.path) != before


def test_a_table_of_videos_may_name_folders_of_pictures(tmp_path: Path) -> None:
    made(tmp_path / "bear")
    made(tmp_path / "true")
    (tmp_path / "list.csv").write_text("path,reference\nbear,true\n")
    [one] = list_videos(str(tmp_path / "list.csv"), None, 24)
    assert isinstance(one.path, PictureFolder)
    assert isinstance(one.reference, PictureFolder)


def test_a_table_tells_the_rate_of_each_folder_of_pictures(tmp_path: Path) -> None:
    """Videos of several rates are one table; a file tells its own."""
    for name in ("bear", "fox", "true"):
        made(tmp_path / name)
    (tmp_path / "a.mp4").touch()
    listed = tmp_path / "list.csv"
    listed.write_text("path,reference,prompt,fps\nbear,true,b,8\nfox,,f,\na.mp4,,a,\n")
    bear, fox, _ = list_videos(str(listed), None, 24)
    assert [one.fps for one in (bear.path, bear.reference, fox.path)] == [8, 8, 24]  # type: ignore[union-attr]
    files = Imported(folder=str(tmp_path), listed=str(listed), pictures_fps=24)._files()
    assert [getattr(one, "fps", None) for one in files.values()] == [8, 24, None]
    for text, told in (
        ("path,fps\nbear,fast", "line 2: fps must be pictures per second up to 1000, not 'fast'"),
        ("path,fps\nbear,0", "line 2: fps must be"),
        ("path,fps\na.mp4,24", "line 2: fps=24 is for a folder of numbered pictures, and a.mp4"),
    ):
        listed.write_text(text)
        with pytest.raises(ValueError, match=told):
            list_videos(str(listed))


MOVING = ["gif", "png", "apng", "webp", "avif"]
LENGTHS = [40, 80, 120, 40, 200, 40]


@pytest.mark.parametrize("kind", MOVING)
def test_pictures_that_move_are_videos_with_times_of_their_own(kind: str, tmp_path: Path) -> None:
    first, *others = [picture(i) for i in range(len(LENGTHS))]
    file = tmp_path / f"moves.{kind}"
    options = {"webp": {"lossless": True}, "apng": {"format": "PNG"}}.get(kind, {})
    first.save(file, save_all=True, append_images=others, duration=LENGTHS, **options)
    first.save(tmp_path / f"still.{'png' if kind in ('gif', 'apng') else kind}")
    assert listed_in(tmp_path).videos == (file,)
    assert list_videos(str(file))[0].path == file
    assert probe(file).duration == pytest.approx(sum(LENGTHS) / 1000, abs=0.01)
    every = torch.cat([*read_chunks(file, 4, 25)])
    runs = [i for i, length in enumerate(LENGTHS) for _ in range(length // 40)]
    assert len(every) == len(runs)
    changes = [i for i in range(1, len(every)) if not torch.equal(every[i], every[i - 1])]
    assert changes == [i for i in range(1, len(runs)) if runs[i] != runs[i - 1]]
    for at in range(len(every)):
        assert torch.equal(read_frames(file, at / 25, 1, 25)[0], every[at])
    if kind in ("png", "apng", "webp"):
        assert torch.equal(every[0].permute(1, 2, 0), torch.from_numpy(np.array(first)))


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a"])
def test_an_animated_webp_is_read_under_any_name(name: str, tmp_path: Path) -> None:
    """Servers hand it out under the name of the GIF that it was made from."""
    first, *others = [picture(i) for i in range(3)]
    options = {"duration": 100, "lossless": True}
    first.save(tmp_path / name, "WEBP", save_all=True, append_images=others, **options)
    assert probe(tmp_path / name).pictures(10) == len(read_video(tmp_path / name)) == 3


def test_pictures_that_move_and_have_numbers_are_videos_each(tmp_path: Path) -> None:
    for number in range(3):
        frames = [picture(number + i) for i in range(3)]
        frames[0].save(tmp_path / f"{number}.webp", save_all=True, append_images=frames[1:])
    assert [one.name for one in listed_in(tmp_path, 24).videos] == ["0.webp", "1.webp", "2.webp"]


def test_an_animated_webp_that_is_cut_off_or_damaged_is_told(tmp_path: Path) -> None:
    frames = [picture(i) for i in range(4)]
    file = tmp_path / "a.webp"
    frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
    data = file.read_bytes()
    for bad in (data[: len(data) // 2], data[:40], data[:60] + bytes(200) + data[260:]):
        file.write_bytes(bad)
        with pytest.raises(UnreadableVideo):
            read_video(file)


def test_a_still_picture_and_a_folder_are_told_for_what_they_are(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "still.png")
    (tmp_path / "empty").mkdir()
    remedy = "a video of pictures is a folder of them whose names differ in one number"
    for place, told in (("still.png", "it is a still picture, or damaged"), ("empty", "a folder")):
        with pytest.raises(UnreadableVideo, match=f"{told}.*; {remedy}"):
            probe(tmp_path / place)
    with pytest.raises(ValueError, match=rf"still\.png is a still picture; {remedy}"):
        list_videos(str(tmp_path / "still.png"))
