"""Videos that are damaged inside, encrypted or without a container: one reading, or one message."""

import random
from pathlib import Path

import pytest
import torch
from test_video_law import COUNT, H264, RATE, encoded

from cf.video.naming import is_video
from cf.video.reader import UnreadableVideo, read_frames, read_video

ENCRYPTED = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def differing(path: Path) -> list[int]:
    """Pictures that a clip shows otherwise than the whole video does."""
    whole = (read_video(path) * 255).round().to(torch.uint8)
    return [
        k
        for k in range(len(whole))
        if not torch.equal(read_frames(path, k / RATE, 1, RATE)[0], whole[k])
    ]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "flv"])
def test_a_clip_of_a_damaged_video_is_what_the_whole_one_shows(kind: str, tmp_path: Path) -> None:
    """A decoder fills in what it lacks by frames that a clip did not decode."""
    data = encoded(tmp_path / f"whole.{kind}", *H264).read_bytes()
    path, read = tmp_path / f"damaged.{kind}", 0
    for seed in range(6):
        draw, changed = random.Random(seed), bytearray(data)
        at = int(len(data) * draw.uniform(0.3, 0.8))
        for _ in range(4):
            changed[at + draw.randrange(2000)] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            assert differing(path) == [], seed
        except UnreadableVideo:
            continue
        read += 1
    assert read > 3


def test_an_avi_that_lost_a_picture_is_read_by_one_clock(tmp_path: Path) -> None:
    """Its index counts the picture, and a read of the whole file does not meet it."""
    path = encoded(tmp_path / "a.avi", "mjpeg", {})
    data = bytearray(path.read_bytes())
    at = data.find(b"00dc", len(data) // 2)
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    assert differing(path) == []


@pytest.mark.parametrize("fragments", [{}, {"movflags": "frag_keyframe+empty_moov"}])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_an_encrypted_video_is_told(codec: str, fragments: dict[str, str], tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mp4", codec, {}, container={**ENCRYPTED, **fragments})
    with pytest.raises(UnreadableVideo, match=r"a\.mp4: it is encrypted; give a copy") as refused:
        read_video(path)
    assert refused.value.path == path


def test_pictures_of_a_camera_without_a_container(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mjpeg", "mjpeg", {})
    path = path.rename(tmp_path / "a.MJPG")
    assert is_video(path)
    pictures, same = read_video(path), read_video(encoded(tmp_path / "a.mov", "mjpeg", {}))
    assert len(pictures) == COUNT
    assert torch.equal(pictures, same)
    assert torch.equal((pictures[30] * 255).round().byte(), read_frames(path, 30 / 25, 1, 25)[0])
