"""Animated WebP, which Pillow decodes; FFmpeg and OpenCV read still ones alone."""

import warnings
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cf.video.container import MOST_SECONDS, UnreadableVideo, refuse_shape
from cf.video.line import EPSILON, StillFrame, Timeline, own_line, shown_for


def webp_line(path: Path) -> Timeline:
    """When the pictures of an animated WebP are shown, by its chunks; none is decoded but one.

    Args:
        path: of the file.

    Raises:
        UnreadableVideo: it is cut off or damaged, or of no usable shape.
    """
    ends = [milliseconds / 1000 for milliseconds in accumulate(_lengths(path))]
    if not ends or ends[-1] > MOST_SECONDS:
        lasts = ends[-1] if ends else 0
        raise UnreadableVideo(path, f"it has {len(ends)} pictures and lasts {lasts:,.0f} s")
    times = [0.0, *ends[:-1]]
    _, first = next(_decoded(str(path), times[:1]))
    size = first.shape[0], first.shape[1]
    line = own_line(times, len(times) / ends[-1], ends[-1], size)
    return line.read_by(partial(_from, str(path), times))


def _lengths(path: Path) -> list[float]:
    """Milliseconds of each picture, as the head of its chunk says."""
    lengths: list[float] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        declared = int.from_bytes(file.read(8)[4:], "little") + 8
        if declared > size:
            raise UnreadableVideo(path, f"it is cut off: {declared - size} bytes are missing")
        at = 12
        while at + 8 <= declared:
            file.seek(at)
            kind, length = file.read(4), int.from_bytes(file.read(4), "little")
            if kind == b"ANMF":
                milliseconds = int.from_bytes(file.read(16)[12:15], "little")
                lengths.append(shown_for(milliseconds))
            at += 8 + length + length % 2
    return lengths


def _from(path: str, times: list[float], start: float) -> Iterator[tuple[float, StillFrame]]:
    """Pictures from the one that is shown at `start` on; those before are decoded all the same."""
    first = max(0, bisect_right(times, start + EPSILON) - 1)
    for number, (time, picture) in enumerate(_decoded(path, times)):
        if number >= first:
            yield time, StillFrame(partial(np.asarray, picture))


def _decoded(path: str, times: list[float]) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """All pictures in order, as each builds on the one before."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=["WEBP"]) as image:
            refuse_shape(path, image.height, image.width)
            for number, time in enumerate(times):
                image.seek(number)
                yield time, np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError:
        raise UnreadableVideo(path, "it has too many pixels for a picture") from None
    except (OSError, SyntaxError, EOFError, OverflowError, ValueError) as error:
        if isinstance(error, UnreadableVideo):
            raise
        raise UnreadableVideo(path, f"it is cut off or damaged: {error}") from None
