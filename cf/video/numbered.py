"""Folders of numbered pictures that are one video each, and pictures that move by themselves."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PosixPath
from typing import Self

from cf.video.naming import is_video, shown

PICTURES = frozenset(
    {".avif", ".bmp", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm"}
    | {".ppm", ".tif", ".tiff", ".webp"}
)
"""Suffixes in lower case; a file's own may be in any."""
A_FOLDER_OF_THEM = "a video of pictures is a folder of them whose names differ in one number"
"""As the end of a message."""
_DIGITS = re.compile("([0-9]+)")


class PictureFolder(PosixPath):
    """A folder of numbered pictures as the path of one video; paths made of it have no rate.

    Attributes:
        fps: of its pictures, which no file of it tells; those that a number lacks count as well.
    """

    fps: float = 0.0

    @classmethod
    def of(cls, folder: Path, fps: float) -> Self:
        """The folder as a video.

        Args:
            folder: that has a name of its own, once it is absolute.
            fps: pictures per second.
        """
        video = cls(folder if folder.name not in ("", "..") else os.path.realpath(folder))
        video.fps = fps
        return video

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (str(self), self.fps)


def _again(folder: str, fps: float) -> PictureFolder:
    return PictureFolder.of(Path(folder), fps)


def numbered(names: Sequence[str]) -> list[tuple[int, str]]:
    """Names that differ in one number alone, by that number; none if they differ otherwise.

    Args:
        names: of the pictures of a folder.

    >>> numbered(["frame_10.jpg", "frame_9.jpg"])
    [(9, 'frame_9.jpg'), (10, 'frame_10.jpg')]
    >>> numbered(["1.png", "2.png", "cover.png"]), numbered(["1.png", "01.png"])
    ([], [])
    """
    parts = [_DIGITS.split(name.rpartition(".")[0]) for name in names]
    if len(parts) < 2 or len({tuple(part[::2]) for part in parts}) > 1:
        return []
    columns = [list(map(int, column)) for column in list(zip(*parts, strict=True))[1::2]]
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) != 1 or len(set(varying[0])) < len(names):
        return []
    return sorted(zip(varying[0], names, strict=True))


def odd_one(names: Sequence[str]) -> str:
    """Why pictures are not numbered, as the end of a sentence.

    Args:
        names: of the pictures of a folder, which `numbered` refuses.
    """
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(_DIGITS.sub("0", name.rpartition(".")[0]), []).append(name)
    ordered = sorted(forms.values(), key=len)
    if len(ordered) > 1:
        return f"{shown(ordered[0][0])} is not numbered as {shown(ordered[-1][0])} is"
    return f"{shown(names[0])} and {shown(names[-1])} differ in more than one number, or in none"


def pictures_among(names: Iterable[str]) -> list[str]:
    """Names of pictures, hidden ones left out.

    Args:
        names: of the files of a folder.
    """
    return [
        name
        for name in names
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURES
    ]


def sequence_in(folder: Path) -> list[tuple[int, str]]:
    """The numbered pictures that make a folder one video; none if it is not one.

    Args:
        folder: that is looked into, but not the folders inside it.

    Raises:
        OSError: it cannot be opened.
    """
    names = [entry.name for entry in os.scandir(folder) if not entry.is_dir()]
    return sequence_among(folder, names)


def sequence_among(folder: Path, names: Sequence[str]) -> list[tuple[int, str]]:
    """The same, of a folder whose files are known.

    Args:
        folder: that holds them.
        names: of all its files.
    """
    pictures = numbered(pictures_among(names))
    if not pictures or is_video(folder / pictures[0][1]):  # those that move are videos themselves
        return []
    others = set(names).difference(name for _, name in pictures)
    return [] if any(is_video(folder / name) for name in others) else pictures
