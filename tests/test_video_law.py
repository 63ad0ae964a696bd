"""One law: a clip from second s is what one read of the whole file shows from second s on."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from cf.data.clips import Clips
from cf.data.sources import survey
from cf.video.probe import probe
from cf.video.reader import read_chunks, read_frames
from cf.video.timeline import _running, timeline

RATE, COUNT = 16, 48
H264 = ("libx264", {"g": "20", "bf": "3", "preset": "ultrafast", "x264-params": "open-gop=1"})
HEVC = (
    "libx265",
    {"preset": "ultrafast", "x265-params": "log-level=none:keyint=20:bframes=3:open-gop=1"},
)
MPEG4 = ("mpeg4", {"g": "20", "bf": "2", "b": "2000000"})
MPEG2 = ("mpeg2video", {"g": "12", "bf": "2", "b": "4000000"})
SMALL = ("mpeg2video", {"g": "12", "bf": "2", "qmin": "31"})  # several pictures in one packet
VP8 = ("libvpx", {"g": "20", "deadline": "realtime", "cpu-used": "8", "b": "2000000"})
VP9 = ("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8", "b": "2000000"})
FILES = {
    **{f"h264.{kind}": H264 for kind in ("mp4", "mov", "m4v", "mkv", "ts", "m2ts", "flv", "avi")},
    **{f"hevc.{kind}": HEVC for kind in ("mp4", "ts")},
    **{f"mpeg4.{kind}": MPEG4 for kind in ("mp4", "mkv", "avi")},
    **{f"mpeg2.{kind}": MPEG2 for kind in ("mpg", "ts")},
    **{f"small.{kind}": SMALL for kind in ("mpg", "vob")},
    "vp8.webm": VP8,
    "vp9.webm": VP9,
    "vp9.mp4": VP9,
    "intra.mov": ("mjpeg", {}),
    "old.flv": ("flv", {"g": "20"}),
    "old.wmv": ("wmv2", {"g": "20"}),
    "h264.asf": H264,
    "h264.h264": H264,
    "hevc.hevc": HEVC,
    "small.gif": ("gif", {}),
    "small.apng": ("apng", {}),
}
CUT_LATE = {
    "small.mpg",
    "small.vob",
    "small.gif",
    "small.apng",
    "h264.avi",
    "mpeg4.avi",
    "h264.asf",
    "h264.h264",
    "hevc.hevc",
}  # made whole only


def picture(index: int) -> np.ndarray:
    """No two alike: a bar whose place tells the number, over a texture."""
    made = np.random.default_rng(index).integers(0, 60, (64, 64, 3), np.uint8)
    made[:, index : index + 6] = 230
    made[: index + 1, 56:] = 120
    return made


def encoded(
    path: Path,
    codec: str,
    options: dict[str, str],
    stamps: Sequence[int] = range(COUNT),
    rate: Any = RATE,
    container: dict[str, str] | None = None,
) -> Path:
    kinds = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24"}
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25 if codec == "mpeg2video" else rate, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 64, kinds.get(codec, "yuv420p")
        stream.thread_count = 1
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            rates = 25 if codec == "mpeg2video" else rate
            frame.pts, frame.time_base = stamp, Fraction(1, rates)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def cut(path: Path, out: Path, after: float, drop: int = 0, **container: str) -> Path:
    """What `ffmpeg -ss after -c copy` makes: from the key frame before, which it shows not."""
    with av.open(str(path)) as source, av.open(str(out), "w", options=container) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [p for p in source.demux(stream) if p.size]
        known = next(i for i, p in enumerate(packets) if p.dts is not None)
        for i in range(known):  # Matroska keeps display times only
            packets[i].dts = packets[known].dts - known + i
        shift = round(after / stream.time_base) + packets[0].dts
        keys = [i for i, p in enumerate(packets) if p.is_keyframe and (not i or p.dts <= shift)]
        for packet in packets[keys[-1] + drop :]:
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            target.mux(packet)
    return out


def holds(path: Path, rates: Sequence[float] = (8.0, 24.0)) -> torch.Tensor:
    """Check the law for a file; its pictures at its own rate."""
    info = probe(path)
    own = torch.cat(list(read_chunks(path, 50)))
    assert len(own) == info.pictures(info.fps)
    for fps in (info.fps, *rates):
        whole = torch.cat(list(read_chunks(path, 50, fps)))
        there = len(whole)
        assert there == info.pictures(fps)
        for first in sorted({0, 1, there // 3, there // 2, 2 * there // 3, there - 1}):
            count = min(5, there - first)
            clip = read_frames(path, first / fps, count, fps)
            assert torch.equal(clip, whole[first : first + count]), (fps, first)
    return own


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_gives_every_picture_once_from_anywhere(name: str, tmp_path: Path) -> None:
    own = holds(encoded(tmp_path / name, *FILES[name]))
    assert len(own) == COUNT
    assert not any(torch.equal(a, b) for a, b in pairwise(own))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "disabled") for name in sorted(FILES.keys() - CUT_LATE)),
        *(
            pytest.param(
                name,
                "make_zero",
                marks=[] if name.startswith("h264.") else pytest.mark.exhaustive,
            )
            for name in sorted(FILES.keys() - CUT_LATE)
        ),
    ],
)
def test_a_cut_file_shows_the_same_from_anywhere(name: str, how: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, *FILES[name])
    own = holds(cut(path, tmp_path / f"cut_{name}", 1.6, avoid_negative_ts=how))
    assert len(own) >= 9
    repeated = sum(torch.equal(a, b) for a, b in pairwise(own))
    assert repeated <= 1


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.ts", "mpeg2.ts", "mpeg4.mp4"])
def test_a_file_that_begins_between_key_frames(name: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, *FILES[name])
    own = holds(cut(path, tmp_path / f"cut_{name}", 0.0, drop=5, avoid_negative_ts="make_zero"))
    assert 20 <= len(own) < COUNT


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.ts", "mpeg2.mpg", "h264.flv", "h264.h264"])
def test_a_file_that_was_cut_off(name: str, tmp_path: Path) -> None:
    """A decoder guesses the rest of the last picture, from what it has seen before."""
    whole = encoded(tmp_path / name, *FILES[name]).read_bytes()
    for part in (0.83, 0.87, 0.91, 0.95):
        late = tmp_path / f"{part}_{name}"
        late.write_bytes(whole[: round(part * len(whole))])
        assert len(holds(late, (8.0,))) <= COUNT
        if name == "h264.ts":  # pictures between those that are there are lost, not the rate
            assert probe(late).fps == probe(tmp_path / name).fps


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.ts", "mpeg2.mpg"])
def test_joined_files_show_all_their_pictures(name: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, *FILES[name])
    late = cut(path, tmp_path / f"late_{name}", 1.6, avoid_negative_ts="make_zero")
    joined = tmp_path / f"joined_{name}"
    joined.write_bytes(path.read_bytes() + late.read_bytes() + path.read_bytes())
    own = holds(joined)
    leading = len(own) - 2 * COUNT - len(holds(late, ()))
    assert 0 <= leading <= 3  # B-frames before a key frame find pictures of the file before
    assert torch.equal(own[:COUNT], own[-COUNT:])


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm", "small.gif"])
def test_uneven_and_late_pictures(name: str, tmp_path: Path) -> None:
    stamps = [20 + 2 * i + 5 * (i > 9) + (i % 3 == 1) * (i > 20) for i in range(40)]
    holds(encoded(tmp_path / name, *FILES[name], stamps=stamps))


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "frag_every_frame+empty_moov"])
def test_a_file_of_fragments(flags: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / "live.mp4", *H264, container={"movflags": flags})
    assert len(holds(path)) == COUNT


@pytest.mark.parametrize(
    "name", ["h264.mp4", "h264.flv", "small.gif", "vp9.webm", "mpeg4.avi", "h264.h264"]
)
@pytest.mark.parametrize("rate", [15, pytest.param(24, marks=pytest.mark.exhaustive), 30])
def test_the_rate_of_a_file_shows_each_picture_once(name: str, rate: int, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, *FILES[name], rate=rate)
    assert probe(path).fps == pytest.approx(rate, rel=0.02)
    own = torch.cat(list(read_chunks(path, 50)))
    assert len(own) == COUNT
    assert not any(torch.equal(a, b) for a, b in pairwise(own))


SLOW = ("h264.mp4", "h264.mkv", "h264.ts", "h264.flv", "vp9.webm", "mpeg4.avi", "old.wmv")


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("rate", [Fraction(1, 4), 1, 2])
def test_slow_pictures_are_all_there_and_stand_to_the_end(
    name: str, rate: Any, tmp_path: Path
) -> None:
    """As of a camera that takes one every few seconds: headers err by a picture, not by .25 s."""
    path = encoded(tmp_path / name, *FILES[name], stamps=range(12), rate=rate)
    own = holds(path)
    assert (len(own), probe(path).fps) == (12, pytest.approx(rate))


def test_a_last_picture_of_unknown_length_stands_as_long_as_the_others(tmp_path: Path) -> None:
    for name in ("h264.mp4", "h264.mov", "h264.ts", "h264.flv", "mpeg4.avi"):
        holds(encoded(tmp_path / name, *FILES[name], stamps=[0, 16, 64]))


def test_clips_of_any_file_never_fail_and_are_the_same_from_a_cache(tmp_path: Path) -> None:
    for name in ("h264.mp4", "h264.ts", "old.flv", "mpeg4.avi", "small.gif"):
        encoded(tmp_path / name, *FILES[name])
    cut(tmp_path / "h264.mp4", tmp_path / "cut.mp4", 1.6, avoid_negative_ts="disabled")
    sources, failures = survey(tmp_path, 8, 10.0, progress=False)
    assert (len(sources), failures) == (6, {})
    fresh, kept = (Clips(sources, 8, 10.0, (16, 16), cache_bytes=size) for size in (0, 2**24))
    for number in range(36):
        assert not fresh[number].failures
        assert torch.equal(fresh[number].frames, kept[number].frames), fresh[number].source.name


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "mpeg4.mp4", "h264.mkv"])
@pytest.mark.parametrize("seed", range(4))
def test_a_film_of_uneven_frames_has_as_many_at_its_own_rate(
    name: str, seed: int, tmp_path: Path
) -> None:
    """Its header counts to the end of the last that is decoded, which is not the last shown."""
    lengths = np.random.default_rng(seed).integers(1, 4, COUNT)
    stamps = np.cumsum(lengths) - lengths[0]
    path = encoded(tmp_path / name, *FILES[name], stamps=stamps.tolist(), rate=50)
    line = timeline(path)
    assert line.fps == pytest.approx(COUNT / line.end, rel=1 / COUNT)
    assert line.pictures(line.fps) == COUNT
    assert sum(len(one) for one in read_chunks(path, 9)) == COUNT


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4"])
@pytest.mark.parametrize("rate", [16, 24, 30])
def test_a_cut_in_an_open_group_leaves_the_rate_of_a_steady_film(
    name: str, rate: int, tmp_path: Path
) -> None:
    """The index of what was cut counts pictures that lack what they refer to."""
    whole = encoded(tmp_path / name, *FILES[name], rate=rate)
    cut(whole, path := tmp_path / f"cut {name}", 21 / rate)
    line = timeline(path)
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames > line.pictures(line.fps)
    assert line.fps == rate
    assert sum(len(one) for one in read_chunks(path, 9)) == line.pictures(rate)


def test_a_clock_of_any_size_that_was_set_anew_is_steady() -> None:
    """As in Theora that FFmpeg cut by copying: until the last page, a clock of 2^58 ticks."""
    stamps = [*range(2**58 - 6, 2**58 + 9), 57, 58, 59]
    times = _running(stamps, 1001 / 30000, 1001 / 30000, streamed=True)
    assert times == pytest.approx([i * 1001 / 30000 for i in range(18)])


def test_files_that_can_be_trusted_are_not_decoded_to_be_measured(tmp_path: Path) -> None:
    for name in ("h264.mp4", "h264.mkv", "h264.ts", "vp9.webm", "h264.flv", "intra.mov"):
        assert timeline(encoded(tmp_path / name, *FILES[name])).times is None, name


@pytest.mark.parametrize("name", ["edit_list_cut.mp4", "late_seek.ts", "last_frame_twice.flv"])
def test_files_that_users_reported(name: str, shared: Path) -> None:
    if not (shared / "reports" / name).exists():
        pytest.skip(f"no {name}")
    own = holds(shared / "reports" / name, (8.0,))
    assert len(own) == {"edit_list_cut.mp4": 66, "late_seek.ts": 79}.get(name, 32)
