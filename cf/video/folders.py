"""A folder of numbered pictures read as a video: a number is a time, any picture is read alone."""

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import pairwise
from math import gcd
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from cf.video.container import MOST_SECONDS, UnreadableVideo
from cf.video.line import EPSILON, StillFrame, Timeline, own_line
from cf.video.numbered import PictureFolder, sequence_in
from cf.video.stills import decoded_picture


def folder_line(folder: PictureFolder) -> Timeline:
    """When its pictures are shown, measured once as long as no picture is added or removed.

    Numbers count in the largest step that all of them share. Where one is missing, the picture
    before it stands, as in a video file that lost a picture.

    Args:
        folder: of numbered pictures.

    Raises:
        UnreadableVideo: it is not there, or its first picture cannot be read.
    """
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        raise UnreadableVideo(folder, "there is no such folder") from None
    return _line(str(folder), folder.fps, changed)


@lru_cache(4096)
def _line(folder: str, fps: float, changed: int) -> Timeline:
    path = PictureFolder.of(Path(folder), fps)
    numbers = [number for number, _ in _pictures(folder, changed)]
    if not numbers:
        raise UnreadableVideo(path, "its pictures are not numbered, or are not there any more")
    step = gcd(*(after - before for before, after in pairwise(numbers)))
    if (numbers[-1] - numbers[0]) // step > MOST_SECONDS * fps:
        raise UnreadableVideo(
            path, f"its pictures are numbered {numbers[0]} to {numbers[-1]}, which no video is long"
        )
    times = [(number - numbers[0]) // step / fps for number in numbers]
    first = _picture(folder, _pictures(folder, changed)[0][1])
    line = own_line(times, fps, times[-1] + 1 / fps, (first.shape[0], first.shape[1]))
    return line.read_by(partial(_from, folder, changed, times))


@lru_cache(256)
def _pictures(folder: str, changed: int) -> list[tuple[int, str]]:
    try:
        return sequence_in(Path(folder))
    except OSError as error:
        raise UnreadableVideo(folder, f"it cannot be opened: {error.strerror}") from None


def _from(
    folder: str, changed: int, times: list[float], start: float
) -> Iterator[tuple[float, StillFrame]]:
    """Pictures from the one that is shown at `start` on; each is read when it is drawn."""
    names = [name for _, name in _pictures(folder, changed)]
    first = max(0, bisect_right(times, start + EPSILON) - 1)
    for time, name in zip(times[first:], names[first:], strict=True):
        yield time, StillFrame(partial(_picture, folder, name))


def _picture(folder: str, name: str) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return decoded_picture(Path(folder, name))
    except UnreadableVideo as error:
        raise UnreadableVideo(folder, f"{error.path.name}: {error.reason}") from None
