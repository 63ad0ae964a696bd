"""Footage whose files tell in odd ways how long pictures are shown, or which streams they hold."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from test_video_law import COUNT, FILES, RATE, encoded, holds, picture

from cf.video.probe import is_steady, probe
from cf.video.reader import read_chunks

SOUND = 8000  # samples per second


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_an_animation_is_as_fast_as_browsers_show_it(kind: str, tmp_path: Path) -> None:
    """Who claims less than 11 ms is shown for 100 ms: such files were made to be so slow."""
    claims, shown = [20, 0, 50, 10, 30, 10], [20, 100, 50, 100, 30, 100]
    first, *others = [Image.fromarray(picture(index)) for index in range(len(claims))]
    path = tmp_path / f"a.{kind}"
    first.save(path, save_all=True, append_images=others, duration=claims, disposal=1)
    assert probe(path).duration == pytest.approx(sum(shown) / 1000)
    assert probe(path).pictures(100) == sum(shown) / 10
    pictures = [one.numpy().mean() for one in torch.cat(list(read_chunks(path, 9, fps=100)))]
    changes = np.flatnonzero(np.diff(pictures)) + 1
    assert (10 * changes).tolist() == np.cumsum(shown)[:-1].tolist()


def test_a_packet_without_a_byte_shows_the_picture_before() -> None:
    """Theora has them where nothing moves; the file is FFmpeg's, since PyAV writes no Theora."""
    own = holds(Path(__file__).parent / "golden" / "still.ogv")
    assert len(own) == 26
    assert {i for i in range(1, 26) if torch.equal(own[i], own[i - 1])} == {4, 5, 6, 12, 24}


def with_sound(path: Path, begins: Sequence[float], ends: Sequence[float]) -> Path:
    """A WMV of which picture and sound begin and end at these seconds."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("wmv2", rate=RATE)
        video.height, video.width, video.pix_fmt = 64, 64, "yuv420p"
        audio = file.add_stream("pcm_s16le", rate=SOUND, layout="mono")
        made = []
        for index in range(round(RATE * begins[0]), round(RATE * ends[0])):
            frame = av.VideoFrame.from_ndarray(picture(index % 48), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            made += video.encode(frame)
        made += video.encode(None)
        for at in range(round(SOUND * begins[1]), round(SOUND * ends[1]), 1000):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), "s16", "mono")
            sound.sample_rate, sound.pts, sound.time_base = SOUND, at, Fraction(1, SOUND)
            made += audio.encode(sound)
        made += audio.encode(None)
        file.mux(sorted(made, key=lambda packet: packet.dts * packet.time_base))
    return path


@pytest.mark.parametrize(
    ("begins", "ends"), [((0, 0), (2, 5)), ((1.5, 0), (4, 4)), ((5, 5), (7, 7))]
)
def test_a_wmv_is_whole_whose_sound_is_longer_or_whose_picture_is_late(
    begins: tuple[float, float], ends: tuple[float, float], tmp_path: Path
) -> None:
    """Its header tells when all of it ends, not how long the picture is."""
    path = with_sound(tmp_path / "a.wmv", begins, ends)
    assert probe(path).duration == pytest.approx(ends[0] - begins[0], abs=0.01)
    holds(path)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mov", "hevc.mp4", "h264.mkv", "vp9.webm"])
def test_a_film_that_stands_for_minutes_keeps_the_rate_at_which_it_moves(
    name: str, tmp_path: Path
) -> None:
    """As of a screen; its mean of .1 pictures a second would show nothing that moves."""
    stamps = [*range(24), *range(24 + 180 * RATE, 48 + 180 * RATE)]
    assert probe(encoded(tmp_path / name, *FILES[name], stamps=stamps)).fps == RATE


def test_a_stream_that_begins_in_the_middle_of_a_file_is_no_error(tmp_path: Path) -> None:
    """As one wrong bit in the number of a packet's stream makes it, or a programme that changed."""
    data = bytearray(encoded(path := tmp_path / "tv.ts", *FILES["h264.ts"]).read_bytes())
    late = range(len(data) // 2 // 188 * 188, len(data), 188)
    begins = next(at for at in late if data[at + 1 : at + 3] == b"\x41\x00")  # of a picture
    data[begins + 2] ^= 0x41
    path.write_bytes(data)
    assert len(holds(path)) == COUNT
    assert not is_steady(path)
