import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from commands import forked
from PIL import Image, ImageOps, features

from cf.video.container import decoded_frames, opened_video
from cf.video.reader import (
    UnreadableVideo,
    probe,
    read_frames,
    read_image,
    read_video,
)
from cf.video.sheet import contact_sheet, gif_bytes
from cf.video.writer import VideoWriter

FORMATS = {
    "plain.mp4": ("libx264", "yuv420p", {}),
    "b_frames.mp4": ("libx264", "yuv420p", {"bf": "3", "g": "12"}),
    "ten_bit.mp4": ("libx265", "yuv420p10le", {"x265-params": "log-level=none:keyint=12"}),
    "full_chroma.mkv": ("libx264", "yuv444p", {"g": "12"}),
    "browser.webm": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "g": "12"}),
    "old.avi": ("mpeg4", "yuv420p", {"g": "12", "b": "4000000"}),
    "stream.ts": ("libx264", "yuv420p", {"g": "12"}),
    "small.gif": ("gif", "gray", {}),
}

SIZE = (64, 96)  # x265 corrupts memory when it encodes less than one of its 64-pixel blocks


def read_clip(path: Path, start: float, frames: int, fps: float, size: Any = None) -> Any:
    return read_frames(path, start, frames, fps, size).float() / 255


def level(index: int) -> int:
    """The grey of frame `index`: far enough apart to survive compression."""
    return 20 + 12 * (index % 18)


def encode(
    path: Path,
    *,
    stamps: Sequence[int] = range(36),
    rate: int = 12,
    size: tuple[int, int] = (32, 48),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    mirror: bool = False,
    aspect: Fraction | None = None,
    movflags: str = "",
    corner: bool = False,
    noise: int = 0,
) -> Path:
    """A video whose frame `i` is shown at stamps[i] / rate and has the grey level(i)."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation or mirror:
            stream.set_display_rotation(rotation, hflip=mirror)
        for index, stamp in enumerate(stamps):
            picture = np.full((*size, 3), level(index), np.uint8)
            if noise:
                picture = np.random.default_rng(index).integers(0, noise, (*size, 3), np.uint8)
            if corner:
                picture[: size[0] // 2, : size[1] // 2] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seen(frames: torch.Tensor) -> list[int]:
    """Which of the 18 levels each frame shows."""
    grey = frames.float().mean((1, 2, 3)) * (1 if frames.dtype == torch.uint8 else 255)
    return ((grey - 20) / 12).round().int().tolist()


def cut(path: Path, part: float) -> Path:
    shorter = path.with_name("cut_" + path.name)
    shorter.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    return shorter


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_measured_and_read(name: str, tmp_path: Path) -> None:
    codec, pixels, options = FORMATS[name]
    path = encode(tmp_path / name, size=SIZE, codec=codec, pixels=pixels, options=options)
    info = probe(path)
    assert info.duration == pytest.approx(3.0, abs=0.05)
    assert info.fps == pytest.approx(12, abs=0.6)
    assert (info.height, info.width) == SIZE
    assert seen(read_video(path, fps=12)) == [i % 18 for i in range(36)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_clip_is_the_part_of_the_whole(name: str, tmp_path: Path) -> None:
    codec, pixels, options = FORMATS[name]
    path = encode(tmp_path / name, size=SIZE, codec=codec, pixels=pixels, options=options)
    whole = read_frames(path, 0, 24, 8)
    for first in (1, 5, 9, 10, 17, 20):
        assert torch.equal(read_frames(path, first / 8, 4, 8), whole[first : first + 4]), first


def test_frames_are_chosen_by_timestamp_not_by_number(tmp_path: Path) -> None:
    path = encode(tmp_path / "uneven.mp4", stamps=[0, 1, 2, 10, 11, 20, 21, 30])
    # At 4 fps pictures fall on stamps 0, 3, 6, ..., 30; the frame shown is the latest by then.
    assert seen(read_video(path, fps=4))[:11] == [0, 2, 2, 2, 4, 4, 4, 6, 6, 6, 7]
    assert seen(read_clip(path, 0.75, 3, 4)) == [2, 4, 4]


def test_rounded_timestamps_lose_no_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "thirty.mkv", rate=30)  # Matroska rounds to milliseconds
    assert seen(read_video(path, fps=30)) == [i % 18 for i in range(36)]


def test_more_pictures_than_frames_repeat_them(tmp_path: Path) -> None:
    path = encode(tmp_path / "slow.mp4", stamps=range(3), rate=2)
    assert seen(read_video(path, fps=6)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_late_first_frame_is_time_zero(tmp_path: Path) -> None:
    path = encode(tmp_path / "late.mkv", stamps=range(24, 48))
    assert probe(path).duration == pytest.approx(2.0, abs=0.05)
    assert seen(read_clip(path, 0.5, 3, 12)) == [6, 7, 8]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_and_mirroring_are_honoured(degrees: int, mirror: bool, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    encode(path, stamps=range(3), rotation=degrees, mirror=mirror, corner=True)
    upright = np.rot90(np.arange(4).reshape(2, 2) == 0, degrees // 90)
    upright = upright[:, ::-1] if mirror else upright
    info, frame = probe(path), read_clip(path, 0, 1, 12)[0]
    assert (info.height, info.width) == frame.shape[1:] == ((48, 32) if degrees % 180 else (32, 48))
    red = torch.nn.functional.adaptive_avg_pool2d((frame[:1] - frame[1:2]), 2)[0]
    assert ((red > 0.5).numpy() == upright).all()
    square = read_clip(path, 0, 1, 12, (16, 16))[0]
    assert square.shape == (3, 16, 16)
    red = torch.nn.functional.adaptive_avg_pool2d((square[:1] - square[1:2]), 2)[0]
    assert ((red > 0.5).numpy() == upright).all()


def test_a_title_in_another_encoding_hinders_nobody(tmp_path: Path) -> None:
    """With every PyAV that `pip` may choose."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "caf\u00e9s"
        stream: Any = container.add_stream("mpeg4", 8)
        stream.width, stream.height = 32, 32
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode()])
    path.write_bytes(path.read_bytes().replace("caf\u00e9s".encode(), b"caf\xe9ss"))
    assert len(read_video(path)) == 1


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = encode(tmp_path / "dvd.mp4", stamps=range(3), aspect=Fraction(3, 2))
    assert (probe(path).height, probe(path).width) == (32, 72)
    assert read_clip(path, 0, 1, 12).shape == (1, 3, 32, 72)


def test_scaling_covers_and_crops_without_distortion(tmp_path: Path) -> None:
    picture = torch.zeros(1, 3, 60, 120)
    picture[..., 30:90] = 1  # a white square in the middle
    with VideoWriter(tmp_path / "wide.mp4", 4, (60, 120)) as writer:
        writer.write(picture)
    for side in (30, 60, 90):
        frame = read_clip(tmp_path / "wide.mp4", 0, 1, 4, (side, side))
        assert frame.shape == (1, 3, side, side)
        assert frame.mean() > 0.97
    tall = read_clip(tmp_path / "wide.mp4", 0, 1, 4, (60, 40))
    assert tall.shape == (1, 3, 60, 40)
    assert tall.mean() > 0.99


def test_shrinking_averages_instead_of_picking(tmp_path: Path) -> None:
    board = (torch.arange(128)[:, None] + torch.arange(128)).remainder(2).float()
    with VideoWriter(tmp_path / "board.mp4", 4, (128, 128)) as writer:
        writer.write(board.expand(1, 3, 128, 128))
    small = read_clip(tmp_path / "board.mp4", 0, 1, 4, (16, 16))
    assert (small - 0.5).abs().max() < 0.06


def test_a_prefix_has_as_many_frames_as_its_seconds(tmp_path: Path) -> None:
    path = encode(tmp_path / "long.mp4")
    assert read_video(path, fps=8, size=(16, 16), max_seconds=1.5).shape == (12, 3, 16, 16)
    assert read_video(path).shape == (36, 3, 32, 48)
    assert read_video(path, max_seconds=100).shape[0] == 36


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.mp4", b"not a video\n" * 50, "cannot be decoded"),
        ("nothing.mp4", b"", "empty"),
        ("missing.mp4", None, "no such file"),
        ("lfs.mp4", b"version https://git-lfs.github.com/spec/v1\noid", "git -C '.*' lfs pull"),
    ],
)
def test_what_is_no_video_is_named_with_the_reason(
    name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for read in (probe, read_video, lambda path: read_clip(path, 0, 1, 8)):
        with pytest.raises(UnreadableVideo, match=f"{name}.*{reason}"):
            read(tmp_path / name)


def test_a_name_is_no_address_and_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """FFmpeg knows protocols: concat:a.mp4 is the file a.mp4, pipe:0 what comes in."""
    path = encode(tmp_path / "long.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for name in ("concat:long.mp4", "pipe:0.mp4", "file:x.mp4", "data:,a.mp4", "a|b%d.mp4"):
            path = path.rename(name)
            assert read_video(name).shape[0] == 36
            made = Path(f"{name}:made.mp4")
            with VideoWriter(made, 8.0, (32, 32)) as writer:
                writer.write(torch.rand(4, 3, 32, 32))
            assert len(read_video(made)) == 4
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "zero.mp4"):
        for read in (probe, read_video, read_image):
            with pytest.raises(UnreadableVideo, match="no regular file but a device or pipe"):
                read(tmp_path / name)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableVideo, match="no video stream"):
        probe(tmp_path / "song.mp4")


@pytest.mark.parametrize("name", ["index_first.mp4", "index_last.mp4", "film.mkv", "old.avi"])
def test_a_file_that_is_cut_off_is_found_before_it_is_used(name: str, tmp_path: Path) -> None:
    movflags = "faststart" if name == "index_first.mp4" else ""
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = encode(tmp_path / name, codec=codec, options={"g": "6"}, movflags=movflags, noise=255)
    with pytest.raises(UnreadableVideo, match="cut off"):
        probe(cut(path, 0.6))


def test_a_clip_beyond_the_end_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "short.mp4")
    assert read_clip(path, 2.0, 8, 8).shape[0] == 8
    with pytest.raises(UnreadableVideo, match=r"too short: 9 frames at 8 fps from 2\.00 s"):
        read_clip(path, 2.0, 9, 8)
    with pytest.raises(UnreadableVideo, match="too short"):
        read_clip(path, 50.0, 1, 8)
    with pytest.raises(ValueError, match="start >= 0"):
        read_clip(path, -1.0, 1, 8)


def test_the_error_survives_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(UnreadableVideo("clip.mp4", "it is torn")))
    assert str(error) == "clip.mp4: it is torn"
    assert error.reason == "it is torn"


def test_a_picture_is_read_upright(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0] = 255  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    photo = read_image(tmp_path / "photo.jpg")
    assert photo.shape == (1, 3, 40, 20)
    assert photo[0, 0, :18].mean() > 0.9
    assert photo[0, 0, 22:].mean() < 0.1
    assert read_image(tmp_path / "photo.jpg", (16, 32)).shape == (1, 3, 16, 32)
    (tmp_path / "fake.png").write_text("no picture")
    with pytest.raises(UnreadableVideo, match="not a picture"):
        read_image(tmp_path / "fake.png")


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif"])
def test_every_way_to_turn_a_picture_is_honoured(kind: str, tmp_path: Path) -> None:
    """AVIF says it in its container, the others in EXIF."""
    if kind == "avif" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:12, :20] = 255, 0, 0
    pixels[12:, 20:] = 0, 0, 255
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = tmp_path / f"{orientation}.{kind}"
        Image.fromarray(pixels).save(file, exif=exif, quality=95)
        with Image.open(file) as image:
            upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        shown = 255 * read_image(file)[0].permute(1, 2, 0).numpy()
        assert shown.shape == upright.shape
        assert np.abs(shown - upright).mean() < 8, orientation


def test_a_picture_with_transparency_or_sixteen_bits_is_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8, 3), 32768, np.uint16))
    assert read_image(tmp_path / "deep.png").mean() == pytest.approx(0.5, abs=0.01)
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "glass.png")
    assert read_image(tmp_path / "glass.png").shape == (1, 3, 8, 8)


# --- writing


def test_colours_and_frame_count_survive_the_file(tmp_path: Path) -> None:
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0.5, 0.5, 0.5]])
    frames = colours[:, :, None, None].expand(5, 3, 32, 32).repeat(4, 1, 1, 1)
    path = tmp_path / "new" / "folder" / "colours.mp4"
    with VideoWriter(path, 10, (32, 32)) as writer:
        for part in frames.split([1, 7, 12]):
            writer.write(part)
    back = read_video(path)
    assert back.shape == (20, 3, 32, 32)
    assert (back - frames).abs().max() < 0.02
    assert probe(path).duration == pytest.approx(2.0)
    assert os.listdir(path.parent) == ["colours.mp4"]
    with av.open(str(path)) as container:
        video = container.streams.video[0].codec_context
        assert (video.name, video.pix_fmt, video.colorspace) == ("h264", "yuv420p", 1)


def test_a_closed_file_has_its_index_first_and_is_not_fragmented(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 24, (16, 16)) as writer:
        writer.write(torch.rand(60, 3, 16, 16))
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


@pytest.mark.parametrize(
    ("size", "scale", "shape"), [((33, 47), 1, (34, 48)), ((9, 8), 4, (36, 32))]
)
def test_odd_sizes_grow_by_one_and_small_ones_by_a_factor(
    size: tuple[int, int], scale: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    frames = torch.rand(1, 3, 1, 1).expand(3, 3, *size)
    with VideoWriter(tmp_path / "a.mp4", 24, size, scale) as writer:
        writer.write(frames)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape == (3, 3, *shape)
    assert (back - frames[:1, :, :1, :1]).abs().max() < 0.03


def test_enlarged_pixels_stay_sharp(tmp_path: Path) -> None:
    frames = torch.zeros(2, 3, 8, 8)
    frames[..., 4:] = 1
    with VideoWriter(tmp_path / "a.mp4", 24, (8, 8), scale=8) as writer:
        writer.write(frames)
    back = read_video(tmp_path / "a.mp4")
    assert back[..., :30].max() < 0.1
    assert back[..., 34:].min() > 0.9


def test_wrong_frames_and_empty_videos_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 24, (16, 16)) as writer:
        with pytest.raises(ValueError, match=r"frames of \(16, 16\); got \(8, 16\)"):
            writer.write(torch.rand(1, 3, 8, 16))
        with pytest.raises(ValueError, match="not finite"):
            writer.write(torch.full((1, 3, 16, 16), float("nan")))
        writer.write(torch.full((1, 3, 16, 16), 1.5))
    with pytest.raises(ValueError, match="closed"):
        writer.write(torch.rand(1, 3, 16, 16))
    assert read_video(tmp_path / "a.mp4").min() > 0.98
    with (
        pytest.raises(ValueError, match="no frames"),
        VideoWriter(tmp_path / "b.mp4", 24, (16, 16)),
    ):
        pass
    assert not (tmp_path / "b.mp4").exists()


def test_an_error_keeps_what_was_written_and_is_the_one_seen(tmp_path: Path) -> None:
    def write() -> None:
        with VideoWriter(tmp_path / "a.mp4", 24, (16, 16)) as writer:
            writer.write(torch.rand(30, 3, 16, 16))
            raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        write()
    assert read_video(tmp_path / "a.mp4").shape[0] == 30


@pytest.mark.whole
def test_a_killed_writer_leaves_all_but_its_last_fragment(tmp_path: Path) -> None:
    path = tmp_path / "killed.mp4"
    code = (
        "import sys, time, torch\n"
        "from cf.video.writer import VideoWriter\n"
        "writer = VideoWriter(sys.argv[1], 8, (32, 32))\n"
        "for i in range(60):\n"
        "    writer.write(torch.full((1, 3, 32, 32), (20 + 12 * (i % 18)) / 255))\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    left = seen(read_video(path))
    assert len(left) >= 60 - 8
    assert left == [i % 18 for i in range(len(left))]
    assert probe(path).duration == pytest.approx(len(left) / 8)


def test_the_intact_part_of_a_broken_fragment_is_read(tmp_path: Path) -> None:
    flags = "frag_keyframe+empty_moov"
    path = encode(
        tmp_path / "a.mp4",
        options={"g": "6", "tune": "zerolatency", "crf": "30"},
        movflags=flags,
        noise=255,
    )
    whole = read_video(path)
    for part in (0.62, 0.7, 0.77, 0.85):
        broken = cut(path, part)
        frames = read_video(broken)
        assert part * 36 - 8 < len(frames) < part * 36 + 2
        assert torch.equal(frames, whole[: len(frames)])
        assert probe(broken).duration == pytest.approx(len(frames) / 12)


# --- showing


def test_a_sheet_shows_evenly_spread_frames_and_their_times(tmp_path: Path) -> None:
    video = torch.linspace(0, 1, 25)[:, None, None, None].expand(25, 3, 32, 32)
    sheet = contact_sheet(video, tmp_path / "sheet.png", fps=8, columns=3, count=7)
    assert (np.asarray(Image.open(tmp_path / "sheet.png")) == sheet).all()
    cell = 128  # four times 32: legible
    height, width = (sheet.shape[0] - 4) // 3, (sheet.shape[1] - 4) // 3
    assert (height, width) == (cell + 18 + 4, cell + 4)
    centres = [sheet[4 + 64 + i // 3 * height, 4 + 64 + i % 3 * width, 0] for i in range(7)]
    assert np.allclose(centres, np.array([0, 4, 8, 12, 16, 20, 24]) / 24 * 255, atol=1)
    labels = [sheet[4 + cell : 4 + cell + 18, 4 + i * width :][:, :cell] for i in (0, 1)]
    assert all((label < 128).sum() > 60 for label in labels)  # there is ink
    assert (labels[0] != labels[1]).any()


def test_a_sheet_wants_a_label_for_each_frame() -> None:
    video = torch.rand(3, 3, 400, 500)
    assert contact_sheet(video, labels=["a", "b", "c"]).shape[1] == 3 * 324 + 4  # made smaller
    with pytest.raises(ValueError, match="3 frames are shown but 1 labels"):
        contact_sheet(video, labels=["a"])
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet(video[:0])


@pytest.mark.parametrize("fps", [8.0, 24.0, 29.97])
def test_a_gif_moves_at_the_right_speed(fps: float) -> None:
    video = torch.rand(24, 3, 16, 16)
    data = gif_bytes(video, fps)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 24
        assert image.info["loop"] == 0
        total = 0
        for index in range(24):
            image.seek(index)
            total += image.info["duration"]
    assert total / 1000 == pytest.approx(24 / fps, abs=0.01)


def test_a_gif_keeps_the_colours_of_every_frame() -> None:
    across = torch.linspace(0, 1, 48)
    video = torch.stack([across.expand(48, 48), across.expand(48, 48).T, torch.zeros(48, 48)])
    video = video * torch.linspace(0.3, 1, 20)[:, None, None, None]
    video[13] = torch.tensor([0.1, 0.2, 1.0])[:, None, None]  # a flash, blue nowhere else
    with Image.open(io.BytesIO(gif_bytes(video, 8.0))) as image:
        for index, frame in enumerate(video):
            image.seek(index)
            shown = torch.from_numpy(np.asarray(image.convert("RGB")) / 255).permute(2, 0, 1)
            assert (shown - frame).abs().mean() < 0.03, index


# --- real files


@pytest.mark.parametrize(
    ("name", "seconds", "size"),
    [
        ("bikes.mp4", 10.0, (272, 640)),
        ("carphone_pristine.mp4", 4.004, (144, 193)),  # pixels of 128:117
        ("h265_10bits.mp4", 1.0, (200, 200)),
        ("nasa_13013.mp4", 13.013, (270, 480)),  # the larger of two streams
    ],
)
def test_real_files(name: str, seconds: float, size: tuple[int, int], shared: Path) -> None:
    path = shared / "videos" / name
    if not path.exists():
        pytest.skip(f"no {name}")
    info = probe(path)
    assert info.duration == pytest.approx(seconds, abs=0.05)
    assert (info.height, info.width) == size
    whole = read_frames(path, 0, int(seconds * 8), 8, (16, 16))
    first = int(seconds * 8) - 5
    assert torch.equal(read_frames(path, first / 8, 5, 8, (16, 16)), whole[first:])
    assert whole.float().std() > 20


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_a_fork_does_not_free_the_codecs_of_its_parent(kind: str, tmp_path: Path) -> None:
    """Their threads are not in the fork, which would wait for them."""
    path = tmp_path / "large.mp4"
    large = torch.rand(4, 3, 320, 480)
    with VideoWriter(path, 8, (320, 480)) as writer:
        writer.write(large)

    def left_behind() -> None:
        cycle: list[Any] = []
        cycle.append(cycle)
        if kind == "writer":
            cycle.append(VideoWriter(tmp_path / "unfinished.mp4", 8, (320, 480)))
            cycle[1].write(large)
        else:
            cycle.append(opened_video(path))
            cycle.append(decoded_frames(*cycle[1].__enter__()))
            next(cycle[2])

    def collects() -> None:
        signal.alarm(20)
        gc.collect()

    gc.collect()
    gc.disable()
    try:
        left_behind()
        status = forked(collects)
    finally:
        gc.enable()
    assert status == 0
