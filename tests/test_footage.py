"""HDR and interlaced footage is read as pictures of SDR, a picture at a time; other bytes stay."""

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter

from cf.data.sources import survey
from cf.evaluation.headers import foreseen
from cf.evaluation.store import MeasurementStore
from cf.evaluation.videos import list_videos
from cf.metrics import TemporalFlicker
from cf.preparation.planned import plan_preparation
from cf.video.colour import compressed, hlg_scene, pq_code, pq_light
from cf.video.fields import deinterlaced
from cf.video.lengths import VideoLength
from cf.video.probe import UnreadableVideo, probe
from cf.video.reader import _EXACT, _GROWN, read_chunks, read_frames, read_video

PQ, HLG, BT2020, P3, ICTCP = 16, 18, 9, 12, 14
TO_2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)  # BT.2087
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
LUMA = np.array([0.2627, 0.6780, 0.0593])
FFV1 = ("ffv1", "yuv444p10le", {})
X265 = ("libx265", "yuv420p10le", {"x265-params": "log-level=none:keyint=8:bframes=3:open-gop=1"})
NEAR = (*X265[:2], {"x265-params": "log-level=none", "crf": "2"})
GREYS = [[0, 0, 0], [16, 16, 16], [64, 64, 64], [118, 118, 118], [180, 180, 180], [8, 3, 20]]
VIVID = [[175, 40, 40], [40, 170, 60], [30, 50, 178], [178, 130, 100], [90, 20, 120]]
BYTES = np.array([*GREYS, *VIVID, [120, 160, 175]])


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: codes in [0, 1] of cd/m2."""
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """BT.2100: codes in [0, 1] of what a display of 1,000 cd/m2 shows, colours last."""
    luminance = np.maximum((light / 1000) @ LUMA, 1e-12)[..., None]
    scene = light / 1000 / luminance ** (0.2 / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    log = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


def ten_bits(code: np.ndarray) -> np.ndarray:
    """Y, Cb and Cr of BT.2020 in limited range, by codes of red, green and blue, colours last."""
    luma = code @ LUMA
    blue, red = (code[..., 2] - luma) / 1.8814, (code[..., 0] - luma) / 1.4746
    return np.rint(np.stack([64 + 876 * luma, 512 + 896 * blue, 512 + 896 * red])).astype(np.uint16)


def film(
    path: Path,
    pictures: Sequence[Sequence[np.ndarray]],
    kind: tuple[str, str, dict[str, str]],
    tags: tuple[int, int, int] = (2, 2, 2),
    rate: int = 8,
) -> Path:
    """A file of planes as they are; `tags`: primaries, transfer and matrix."""
    codec, pixels, options = kind
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = pictures[0][0].shape
        stream.pix_fmt, stream.thread_count = pixels, 1
        for tagged in (stream.codec_context, None):
            for index, planes in enumerate(pictures if tagged is None else ()):
                frame = av.VideoFrame(stream.width, stream.height, pixels)
                frame.pts, frame.time_base = index, Fraction(1, rate)
                tag(frame, tags)
                for plane, values in zip(frame.planes, planes, strict=True):
                    wide = plane.line_size // values.itemsize
                    padded = np.zeros((plane.height, wide), values.dtype)
                    padded[:, : values.shape[1]] = values
                    plane.update(padded.tobytes())
                file.mux(stream.encode(frame))
            if tagged is not None:
                tag(tagged, tags)
        file.mux(stream.encode(None))
    return path


def tag(one: object, tags: tuple[int, int, int]) -> None:
    for name, value in zip(("color_primaries", "color_trc", "colorspace"), tags, strict=True):
        setattr(one, name, value)
    one.color_range = 1  # type: ignore[attr-defined]


def chart(codes: np.ndarray, side: int = 16) -> list[np.ndarray]:
    """Planes of 4:4:4 with a square of each code in a row of them."""
    return [np.kron(plane[None], np.ones((64, side), np.uint16)) for plane in ten_bits(codes)]


def halved(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [planes[0], *(plane[::2, ::2] for plane in planes[1:])]


def squares(frame: torch.Tensor, side: int = 16) -> np.ndarray:
    """The colours of the squares' middles."""
    return frame[:, 32, side // 2 :: side].T.numpy().astype(int)


def light_of(colours: np.ndarray) -> np.ndarray:
    """Light of SDR bytes in the primaries of BT.709, cd/m2."""
    return 203 * (colours / 255) ** 2.4


@pytest.mark.parametrize("kind", ["ffv1", "x265"])
@pytest.mark.parametrize(("transfer", "code"), [(PQ, pq), (HLG, hlg)])
def test_a_chart_in_hdr_is_read_as_its_sdr_bytes(
    transfer: int, code: Callable[[np.ndarray], np.ndarray], kind: str, tmp_path: Path
) -> None:
    """Colours up to 88 cd/m2, by the equations of the standards written once more."""
    planes = chart(code(light_of(BYTES) @ TO_2020.T))
    made = [planes] * 3 if kind == "ffv1" else [halved(planes)] * 3
    path = film(
        tmp_path / "chart.mkv", made, FFV1 if kind == "ffv1" else NEAR, (BT2020, transfer, BT2020)
    )
    assert probe(path).kinds == ("HDR",)
    read = squares(read_frames(path, 0, 1, 8)[0])
    # Ten bits of limited range hold the darkest greys and 4:2:0 colours to a few levels.
    assert np.abs(read - BYTES).max() <= (3 if kind == "ffv1" else 6)
    assert np.abs(read - BYTES).mean() <= (0.5 if kind == "ffv1" else 1.2)


@pytest.mark.parametrize(("transfer", "code"), [(PQ, pq), (HLG, hlg)])
def test_diffuse_white_and_highlights_land_where_they_are_documented(
    transfer: int, code: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    nits = np.array([0.0, 1, 26, 60, 203, 400, 700, 1000] + [4000.0] * (transfer == PQ))
    path = film(
        tmp_path / "greys.mkv", [chart(code(nits[:, None].repeat(3, 1)))] * 2, FFV1,
        (BT2020, transfer, BT2020),
    )  # fmt: skip
    read = squares(read_frames(path, 0, 1, 8)[0])
    assert np.ptp(read, axis=1).max() <= 1  # greys stay grey
    assert read[:4, 0] == pytest.approx(255 * (nits[:4] / 203) ** (1 / 2.4), abs=1)
    assert read[4, 0] == pytest.approx(230, abs=1)
    assert (np.diff(read[:7, 0]) > 0).all()
    assert (read[7:] == 255).all()


def test_the_curves_are_those_of_the_standards() -> None:
    """Values that BT.2408 and BT.2390 print."""
    assert pq_code(np.array([100.0, 203, 1000, 10000])) == pytest.approx(
        [0.508, 0.581, 0.752, 1], abs=5e-4
    )
    codes = np.linspace(0, 1, 99)
    assert pq_code(pq_light(codes)) == pytest.approx(codes, abs=1e-6)
    assert 1000 * hlg_scene(np.array([0.38, 0.75, 1])) ** 1.2 == pytest.approx(
        [26, 203, 1000], rel=0.01
    )
    light = np.linspace(0, 1000, 400)
    assert compressed(light[light < 87]) == pytest.approx(light[light < 87] / 203, rel=1e-9)
    steps = np.diff(compressed(light))
    assert (steps > 0).all()
    assert steps.max() / steps[0] < 1.001  # nowhere steeper than identity, nor with a step


@pytest.mark.parametrize(("primaries", "matrix"), [(BT2020, TO_2020), (P3, TO_P3)])
def test_sdr_of_wide_primaries_is_read_as_bt_709(
    primaries: int, matrix: np.ndarray, tmp_path: Path
) -> None:
    code = np.clip((light_of(BYTES) / 203) @ matrix.T, 0, 1) ** (1 / 2.4)
    path = film(tmp_path / "wide.mkv", [chart(code)] * 2, FFV1, (primaries, 1, BT2020))
    assert probe(path).kinds == ("wide gamut",)
    assert np.abs(squares(read_frames(path, 0, 1, 8)[0]) - BYTES).max() <= 3


def test_hdr_without_a_matrix_or_primaries_has_those_of_bt_2020(tmp_path: Path) -> None:
    planes = chart(pq(light_of(BYTES) @ TO_2020.T))
    told = film(tmp_path / "told.mkv", [planes] * 2, FFV1, (BT2020, PQ, BT2020))
    untold = film(tmp_path / "untold.mkv", [planes] * 2, FFV1, (2, PQ, 2))
    assert torch.equal(read_video(told), read_video(untold))


def moving(index: int, width: int = 100, height: int = 64) -> np.ndarray:
    """Grey with a bright bar that goes four pixels a field, over fine texture in its right half."""
    picture = np.full((height, width), 60, np.uint8)
    picture[:, width // 2 :] += np.random.default_rng(0).integers(
        0, 30, (height, width - width // 2), np.uint8
    )
    picture[8:-8, 4 * index : 4 * index + 14] = 220
    return picture


def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    picture = first.copy()
    picture[1::2] = second[1::2]
    return picture


def combing(grey: np.ndarray) -> float:
    """How far lines of the second field stick out of both neighbours, at most."""
    above, line, below = (grey[first::2].astype(int) for first in (0, 1, 2))
    count = len(below)
    above, line = above[:count], line[:count]
    out = np.maximum(line - np.maximum(above, below), np.minimum(above, below) - line)
    return float(np.maximum(out, 0).max())


def planar(grey: np.ndarray, bits: int = 8) -> list[np.ndarray]:
    """4:2:0, the chroma as interlaced as the luma."""
    kind, up = (np.uint8, 1) if bits == 8 else (np.uint16, 4)
    small = 128 + (grey[::2, ::2].astype(int) - 60) // 4
    small[1::2] = 128 + (grey[1::4, ::2].astype(int)[: len(small[1::2])] - 60) // 4
    return [(one.astype(int) * up).astype(kind) for one in (grey, small, 255 - small)]


LACED = {
    "libx264.mp4": ("libx264", "yuv420p", {"x264-params": "tff=1:keyint=8:bframes=2", "crf": "4"}),
    "deep.mp4": ("libx264", "yuv420p10le", {"x264-params": "bff=1:keyint=8", "crf": "4"}),
    "libx264.ts": ("libx264", "yuv420p", {"x264-params": "tff=1:keyint=8:bframes=2", "crf": "4"}),
}


@pytest.mark.parametrize("name", LACED)
def test_an_interlaced_moving_edge_has_no_comb(name: str, tmp_path: Path) -> None:
    kind = LACED[name]
    bits = 10 if "10" in kind[1] else 8
    frames = [woven(moving(2 * i), moving(2 * i + 1)) for i in range(8)]
    assert min(combing(one) for one in frames) > 100
    path = film(tmp_path / name, [planar(one, bits) for one in frames], kind)
    assert probe(path).kinds == ("interlaced",)
    for index, picture in enumerate(torch.cat(list(read_chunks(path, 3)))):
        still = moving(2 * index).astype(int)
        got = picture[1].numpy().astype(int)
        assert combing(got[:, :50]) < 30, index
        luma = np.clip((still - 16) * 255 / 219, 0, 255)
        assert np.abs(picture.float().mean(0).numpy() - luma).mean() < 6, index


def test_dv_is_deinterlaced(tmp_path: Path) -> None:
    """Its codec flags every frame; its chroma has 4:1:1 in NTSC."""
    frames = [woven(moving(2 * i, 720, 480), moving(2 * i + 1, 720, 480)) for i in range(2)]
    grey = np.full((480, 180), 128, np.uint8)
    kind = ("dvvideo", "yuv411p", {})
    path = film(tmp_path / "tape.avi", [[one, grey, grey] for one in frames], kind, rate=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cf.video.reader.deinterlaced", lambda frame, woven: frame)
        before = combing(read_frames(path, 0, 1, 30, (480, 720))[0, 1].numpy())
    after = combing(read_frames(path, 0, 1, 30, (480, 720))[0, 1].numpy())
    assert before > 100
    assert after < 30


def test_still_pictures_that_are_flagged_as_interlaced_keep_their_lines(tmp_path: Path) -> None:
    """As most of what is sold on discs: film in fields that show one time."""
    down, across = np.mgrid[:64, :100]
    picture = (128 + 60 * np.sin(across / 3 + down / 5) * np.cos(down / 4)).astype(np.uint8)
    picture[20], picture[41, 10:60], picture[5:60, 80] = 230, 20, 240  # lines of one pixel
    kind = ("libx264", "yuv420p", {"crf": "1", "x264-params": "tff=1"})
    planes = [picture, *[np.full((32, 50), 128, np.uint8)] * 2]
    path = film(tmp_path / "disc.mp4", [planes] * 3, kind)
    plain = ("libx264", "yuv420p", {"crf": "1"})
    true = read_video(film(tmp_path / "film.mp4", [planes] * 3, plain))
    differ = (read_video(path) - true)[:, :, :-1]  # the last line has none below
    assert differ.square().mean() < 2e-4  # 37 dB
    assert differ[:, :, 41, 12:58].abs().max() < 0.2


@pytest.mark.parametrize("name", ["hdr.mp4", "hlg.ts", "laced.mp4", "laced.ts"])
def test_a_clip_of_converted_footage_shows_what_the_whole_shows(name: str, tmp_path: Path) -> None:
    """At more pictures than frames too, where a frame is drawn again for the next piece."""
    if name.startswith("laced"):
        frames = [woven(moving(2 * i), moving(2 * i + 1)) for i in range(24)]
        path = film(tmp_path / name, [planar(one) for one in frames], LACED["libx264.mp4"])
    else:
        grey = [np.repeat(moving(i)[..., None], 3, 2) for i in range(24)]
        codes = [ten_bits((pq if name == "hdr.mp4" else hlg)(light_of(one))) for one in grey]
        tags = (BT2020, PQ if name == "hdr.mp4" else HLG, BT2020)
        path = film(tmp_path / name, [halved(one) for one in codes], X265, tags)
    for fps in (8.0, 20.0):
        whole = torch.cat(list(read_chunks(path, 1, fps)))
        assert torch.equal(torch.cat(list(read_chunks(path, 50, fps))), whole)
        for first in (0, 1, 9, len(whole) // 2, len(whole) - 3):
            assert torch.equal(read_frames(path, first / fps, 3, fps), whole[first : first + 3])


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        (("libx264", "yuv420p", {}), (2, 2, 2)),
        (("libx264", "yuv420p", {}), (1, 1, 1)),
        (("mpeg2video", "yuv420p", {}), (5, 4, 5)),
        (("libx265", "yuv420p10le", X265[2]), (6, 6, 6)),
        (("ffv1", "yuv420p10le", {}), (1, 13, 9)),
    ],
)
def test_progressive_sdr_has_the_bytes_that_ffmpeg_gives_it(
    kind: tuple[str, str, dict[str, str]], tags: tuple[int, int, int], tmp_path: Path
) -> None:
    deep = "10" in kind[1]
    pictures = [planar(moving(i), 10 if deep else 8) for i in range(5)]
    path = film(tmp_path / "plain.mkv", pictures, kind, tags, rate=25)
    assert probe(path).kinds == ()
    with av.open(str(path)) as file:
        scaler, made = VideoReformatter(), []
        for frame in file.decode(video=0):
            same = scaler.reformat(frame, format="rgb24", interpolation=_GROWN, threads=1)
            made.append(torch.from_numpy(same.to_ndarray()).permute(2, 0, 1))
    assert _EXACT & _GROWN == _EXACT
    assert torch.equal(torch.cat(list(read_chunks(path, 50, 25.0))), torch.stack(made))


def test_fields_of_hevc_are_pictures_of_their_own(tmp_path: Path) -> None:
    """A frame of it is one field, although it is flagged."""
    kind = ("libx265", "yuv420p", {"x265-params": "log-level=none:interlace=tff"})
    path = film(tmp_path / "fields.mp4", [planar(moving(i)) for i in range(8)], kind)
    with av.open(str(path)) as file:
        assert next(file.decode(video=0)).interlaced_frame
    assert probe(path).kinds == ()


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_what_is_flagged_as_interlaced_is_scaled_as_one_picture(codec: str, tmp_path: Path) -> None:
    """Field by field, each line of a small picture would come from every second one."""
    down = np.where(np.arange(128) < 70, 20, 230)[:, None] + np.zeros(96)
    grey = [np.full((64, 48), 128, np.uint8)] * 2
    flag = {"libx264": {"x264-params": "tff=1", "crf": "1"}}.get(
        codec, {"x265-params": "log-level=none:interlace=tff", "crf": "1"}
    )
    pictures = [[down.astype(np.uint8), *grey]] * 4
    path = film(tmp_path / "laced.mp4", pictures, (codec, "yuv420p", flag))
    plain = film(tmp_path / "plain.mp4", pictures, ("libx264", "yuv420p", {"crf": "1"}))
    small = [read_frames(one, 0, 1, 8, (32, 24)).int() for one in (path, plain)]
    assert (small[0] - small[1])[:, :, :-1].abs().max() <= 3


@pytest.mark.parametrize(
    "pixels", ["uyvy422", "nv12", "rgb24", "p010le", "yuv422p10be", "x2rgb10le"]
)
def test_lines_are_told_apart_in_every_layout(pixels: str, tmp_path: Path) -> None:
    """Of a frame that a decoder flagged, in the layouts that raw and hardware formats have."""
    frames = [woven(moving(2 * i), moving(2 * i + 1)) for i in range(2)]
    path = film(tmp_path / "a.mp4", [planar(one) for one in frames], LACED["libx264.mp4"])
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
    other = frame.reformat(format=pixels)
    made = deinterlaced(other)
    assert other.interlaced_frame
    assert made.interlaced_frame == (pixels == "x2rgb10le")
    grey = made.reformat(format="gray").to_ndarray()
    assert (combing(grey[:, :50]) < 40) == (pixels != "x2rgb10le")


def test_colours_that_cannot_be_converted_are_refused_with_their_name(tmp_path: Path) -> None:
    grey = np.full((64, 96), 500, np.uint16)
    for number, name in ((8, "YCgCo"), (ICTCP, "ICtCp"), (10, "BT.2020 with constant luminance")):
        path = film(tmp_path / f"{number}.mkv", [[grey] * 3] * 2, FFV1, (BT2020, PQ, number))
        for read in (probe, read_video):
            with pytest.raises(UnreadableVideo, match=f"stored as {name}, which is not read"):
                read(path)


RPU = bytes.fromhex(
    "7c01190809004061b6504f003ff801ffc00fffd0000008000006800000400000340000030200000300e8afe09e80"
)
"""A unit of type 62 with metadata of Dolby Vision, of profile 5 where nothing else is told."""


def dolby(path: Path, out: Path, tag_of_codec: bytes | None) -> Path:
    """With a tag of Dolby Vision, or its metadata (RPU) in a unit of type 62 at each picture."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if not packet.size:
                continue
            more = b"" if tag_of_codec else len(RPU).to_bytes(4, "big") + RPU
            fresh = av.Packet(bytes(packet) + more)
            fresh.pts, fresh.dts, fresh.time_base = packet.pts, packet.dts, packet.time_base
            fresh.is_keyframe, fresh.stream = packet.is_keyframe, copy
            target.mux(fresh)
    if tag_of_codec:
        out.write_bytes(out.read_bytes().replace(b"hev1", tag_of_codec))
    return out


@pytest.mark.parametrize("tag_of_codec", [b"dvh1", b"dvhe", None])
def test_colours_of_dolby_vision_alone_are_refused(
    tag_of_codec: bytes | None, tmp_path: Path
) -> None:
    """Profile 5 tags no colours; profile 8 is HLG or HDR10 for those who know no more."""
    planes = halved(chart(hlg(light_of(BYTES) @ TO_2020.T)))
    ending = "mp4" if tag_of_codec else "mkv"
    alone = film(tmp_path / "a.mp4", [planes] * 3, X265)
    with pytest.raises(UnreadableVideo, match=r"Dolby Vision alone \(profile 5\).*convert it"):
        probe(dolby(alone, tmp_path / f"five.{ending}", tag_of_codec))
    base = film(tmp_path / "b.mp4", [planes] * 3, X265, (BT2020, HLG, BT2020))
    path = dolby(base, tmp_path / f"eight.{ending}", tag_of_codec)
    assert torch.equal(read_video(path), read_video(base))


def test_a_mixed_folder_is_used_and_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planes = halved(chart(hlg(light_of(BYTES) @ TO_2020.T)))
    for name in ("one", "two"):
        film(tmp_path / f"{name}.mp4", [planes] * 8, X265, (BT2020, HLG, BT2020))
    frames = [woven(moving(2 * i), moving(2 * i + 1)) for i in range(8)]
    film(tmp_path / "tape.mp4", [planar(one) for one in frames], LACED["libx264.mp4"])
    film(tmp_path / "plain.mp4", [planar(moving(i)) for i in range(8)], ("libx264", "yuv420p", {}))
    grey = np.full((64, 96), 500, np.uint16)
    film(tmp_path / "odd.mkv", [[grey] * 3] * 8, FFV1, (BT2020, PQ, ICTCP))
    line = "of 4 videos, 2 are HDR and read as SDR of BT.709; 1 is interlaced and deinterlaced"
    for _ in range(2):  # looked at, and then from what was kept of it
        caplog.clear()
        with caplog.at_level(logging.INFO):
            sources, failures = survey(tmp_path, 8, 8.0)
        assert [one.name for one in sources] == ["one.mp4", "plain.mp4", "tape.mp4", "two.mp4"]
        assert "ICtCp" in failures["odd.mkv"]
        assert [one.getMessage() for one in caplog.records] == [line]
    assert line in foreseen(list_videos(str(tmp_path)), [])


def test_what_was_measured_before_it_was_converted_is_measured_again(tmp_path: Path) -> None:
    """And nothing else is."""
    frames = [woven(moving(2 * i), moving(2 * i + 1)) for i in range(8)]
    film(tmp_path / "tape.mp4", [planar(one) for one in frames], LACED["libx264.mp4"])
    film(tmp_path / "plain.mp4", [planar(moving(i)) for i in range(8)], ("libx264", "yuv420p", {}))
    store, metric = MeasurementStore(tmp_path / "states"), TemporalFlicker()
    plain, tape = list_videos(str(tmp_path))
    now = [store._states(video, metric) for video in (plain, tape)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cf.evaluation.store.header", lambda path: None)
        before = [store._states(video, metric) for video in (plain, tape)]
    assert now[0] == before[0]
    assert now[1] != before[1]


def test_hdr_that_is_stored_as_rgb_is_read_as_well(tmp_path: Path) -> None:
    code = np.rint(1023 * pq(light_of(BYTES) @ TO_2020.T)).astype(np.uint16)
    planes = [np.kron(code[None, :, one], np.ones((64, 16), np.uint16)) for one in (1, 2, 0)]
    path = film(tmp_path / "rgb.mkv", [planes] * 2, ("ffv1", "gbrp10le", {}), (BT2020, PQ, 0))
    assert np.abs(squares(read_frames(path, 0, 1, 8)[0]) - BYTES).max() <= 2


def test_a_preparation_of_footage_that_was_not_converted_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one of any other footage is the same."""
    settings: dict[str, object] = {"text": {"_target_": "cf.models.text.NoText"}, "cuts": "keep"}
    settings |= dict.fromkeys(("pictures_fps", "prompts_file", "codec", "dtype", "pictures"))
    settings |= {"clip_frames": 4, "stride": 4, "fps": 8.0, "size": [16, 16], "shard_megabytes": 1}
    monkeypatch.setattr("cf.preparation.planned.clips_in_a_file", lambda settings: 1)
    for name, laced in (("tape", True), ("plain", False)):
        frames = [woven(moving(2 * i), moving(2 * i + 1)) for i in range(8)]
        kind = LACED["libx264.mp4"] if laced else ("libx264", "yuv420p", {})
        (tmp_path / name).mkdir()
        film(tmp_path / name / "a.mp4", [planar(one) for one in frames], kind)
        settings |= {"videos": str(tmp_path / name), "negative_prompt": ""}
        now = plan_preparation(settings).identity
        with monkeypatch.context() as patch:
            patch.setattr("cf.data.sources.Lengths", lambda folder: Unconverted())
            before = plan_preparation(settings).identity
        assert (now == before) != laced


class Unconverted:
    """Lengths as they were kept before."""

    def of(self, path: Path) -> VideoLength:
        info = probe(path)
        return VideoLength(info.duration, info.slack)

    def keep(self) -> None:
        """Nothing."""
