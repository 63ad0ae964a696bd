"""What a file claims of itself is bounded before anything is made of it."""

import re
import resource
import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import NonCallableMagicMock

import av
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.fuzz_video import rounds
from cf.data.sources import survey
from cf.evaluation.decoding import Ended, decode
from cf.evaluation.videos import list_videos
from cf.generation.prefix import prefix_of
from cf.runs.generator import Generator
from cf.video.probe import UnreadableVideo, probe
from cf.video.reader import read_frames, read_image, read_video
from cf.video.writer import VideoWriter


def film(path: Path, size: tuple[int, int] = (32, 32), stamps: tuple[int, ...] = (0, 1, 2)) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("gif" if path.suffix == ".gif" else "libx264", rate=8)
        stream.height, stream.width = size
        stream.pix_fmt = "rgb8" if path.suffix == ".gif" else "yuv420p"
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 99, np.uint8), "rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 8)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("size", [(1, 10000), (4000, 2), (16, 1000)])
def test_pictures_of_no_useful_shape_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    path = film(tmp_path / "wide.gif", size)
    with pytest.raises(UnreadableVideo, match=rf"{size[1]} x {size[0]} pixels; no side"):
        probe(path)
    film(tmp_path / "good.mp4")
    sources, failures = survey(tmp_path, 2, 8.0, progress=False)
    assert [source.name for source in sources] == ["good.mp4"]
    assert "no side" in failures["wide.gif"]
    ends = [one for one in decode(list_videos(str(tmp_path)), 2**20) if isinstance(one, Ended)]
    assert [bool(one.failure) for one in ends] == [False, True]


def test_a_header_of_huge_pictures_takes_no_memory(tmp_path: Path) -> None:
    path = film(tmp_path / "huge.gif")
    data = bytearray(path.read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableVideo, match="huge"):
        probe(path)
    Image.new("L", (8, 8)).save(tmp_path / "huge.png")
    data = bytearray((tmp_path / "huge.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(UnreadableVideo, match="huge"):
        read_image(tmp_path / "huge.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB


def test_a_video_that_claims_to_last_for_years_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mkv", stamps=(0, 1, 10**9))
    with pytest.raises(UnreadableVideo, match=r"claims to last 125,000,000 seconds"):
        probe(path)


def test_more_than_fits_in_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = film(tmp_path / "slow.mkv", stamps=(0, 1, 8 * 80000))
    began = time.monotonic()
    for read in (
        lambda: read_frames(path, 0, 600_000, 8.0, (64, 64)),
        lambda: read_video(path, 1000.0),
    ):
        with pytest.raises(UnreadableVideo, match=r"more than fit in memory.*fewer seconds"):
            read()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_that_was_cut_off_is_not_filled_with_grey(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / f"photo.{kind.lower()}"
    Image.fromarray(noise).save(path, kind)
    assert read_image(path).shape == (1, 3, 64, 64)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableVideo, match="cut off or damaged"):
        read_image(path)


def test_a_prompt_that_was_cut_off_is_told_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "prompt.mp4"
    with VideoWriter(path, 8, (32, 32)) as writer:
        writer.write(torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    generator = NonCallableMagicMock(Generator, fps=8.0, size=(16, 16))
    generator.codec = SimpleNamespace(time_stride=1)
    settings: dict[str, object] = {"video": str(path), "image": None, "given_seconds": None}
    settings["pictures_fps"] = None
    assert prefix_of(settings, generator).shape[1] == 24
    settings["given_seconds"] = 3.1
    with pytest.raises(ValueError, match=r"3.1 is more than it has; given_seconds=3 uses the 24"):
        prefix_of(settings, generator)
    settings["given_seconds"] = None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut off.*given_seconds=(\S+) uses the \d+") as told:
        prefix_of(settings, generator)
    found = re.search(r"given_seconds=(\S+) uses the (\d+)", str(told.value))
    assert 0 < int(found[2]) < 24
    settings["given_seconds"] = float(found[1])
    assert prefix_of(settings, generator).shape[1] == int(found[2])


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    film(tmp_path / "good.mp4")
    for text in ("ffconcat version 1.0\nfile good.mp4\n", "#EXTM3U\n#EXTINF:1,\ngood.mp4\n"):
        (tmp_path / "list.mp4").write_text(text)
        with pytest.raises(UnreadableVideo, match="cannot be decoded"):
            probe(tmp_path / "list.mp4")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
@pytest.mark.whole
def test_spoiled_files_give_pictures_or_one_known_error(tmp_path: Path) -> None:
    av.logging.set_level(None)
    seen = {outcome for _, outcome, _, _ in islice(rounds(tmp_path, seed=0), 150)}
    assert seen == {"pictures", "refused"}
