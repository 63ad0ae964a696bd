"""Which files are videos, by their names; of pictures, by their first bytes."""

import os
from pathlib import Path
from typing import BinaryIO

SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".apng", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif"}
    | {
        ".h264",
        ".h265",
        ".hevc",
        ".ivf",
        ".m1v",
        ".m2t",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mjpeg",
        ".mjpg",
    }
    | {
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".obu",
        ".ogm",
        ".ogv",
    }
    | {".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""In lower case; a file's own may be in any."""
MOVING = frozenset({".avif", ".png", ".webp"})
"""Of pictures, which may move: then they are videos as well."""
_HEAD = 32  # bytes
_MOST_CHUNKS = 64  # of a PNG, before its pixels


def is_video(path: Path) -> bool:
    """Whether its name says so, or the first bytes of a picture that moves.

    Args:
        path: of a file, which may be missing.
    """
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return False
    return suffix in SUFFIXES or (suffix in MOVING and moves(path))


def shown(name: str | Path) -> str:
    """A file's name as text that can be printed; bytes that are no UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def moves(path: Path) -> bool:
    """Whether a file is an animated PNG, WebP or AVIF.

    Args:
        path: of a file, which may be missing.
    """
    head = _head(path)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        with path.open("rb") as file:
            return _has_control(file)
    return moving_webp(path) or head[4:12] == b"ftypavis"


def joined_jpegs(path: Path) -> bool:
    """Whether a file is a camera's stream of JPEG pictures, which FFmpeg takes for a still one.

    Args:
        path: of a file, which may be missing.
    """
    return path.suffix.lower() in (".mjpeg", ".mjpg") and _head(path)[:3] == b"\xff\xd8\xff"


def moving_webp(path: Path) -> bool:
    """Whether a file is an animated WebP, whatever its name says.

    Args:
        path: of a file, which may be missing.
    """
    head = _head(path)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def _head(path: Path) -> bytes:
    """The first bytes of a file, zeros where there are fewer."""
    try:
        if not path.is_file():
            return bytes(_HEAD)
        with path.open("rb") as file:
            return file.read(_HEAD).ljust(_HEAD, b"\0")
    except (OSError, ValueError):
        return bytes(_HEAD)


def _has_control(file: BinaryIO) -> bool:
    """Whether a PNG says before its pixels how it moves."""
    file.seek(8)
    for _ in range(_MOST_CHUNKS):
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if kind == b"acTL":
            return True
        if kind in (b"IDAT", b""):
            return False
        file.seek(length + 4, os.SEEK_CUR)
    return False
