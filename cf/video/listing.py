"""The videos of a folder: one walk, in which a folder of numbered pictures is one of them."""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cf.files.counts import so_many
from cf.video.naming import is_video, shown
from cf.video.numbered import (
    A_FOLDER_OF_THEM,
    PictureFolder,
    numbered,
    odd_one,
    pictures_among,
    sequence_among,
    sequence_in,
)

log = logging.getLogger(__name__)
_FASTEST = 1000.0  # pictures per second

_OF_SYSTEMS = frozenset(
    {"$recycle.bin", "recycler", "system volume information", "lost+found", "__macosx"}
    | {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"}
)
"""Folders that systems and their servers make, with what was deleted, or small copies."""


@dataclass(frozen=True)
class Folder:
    """What lies in a folder and the folders inside it, linked ones included.

    Attributes:
        videos: sorted by their path inside the folder; one of numbered pictures is a
            `PictureFolder`.
        others: how many files that are no videos, by their suffix.
    """

    path: Path
    videos: tuple[Path, ...]
    others: Counter[str]

    def told(self) -> str:
        """That there is no video, and what lies there instead, for a message."""
        kinds = [f"{n} {kind or 'without suffix'}" for kind, n in self.others.most_common(5)]
        counts = f" ({', '.join(kinds)})" if kinds else ""
        among = so_many(self.others.total(), "file")
        return f"{shown(self.path)} holds no video among its {among}{counts}"


def listed_in(
    folder: Path, pictures_fps: float | None = None, setting: str = "pictures_fps"
) -> Folder:
    """All videos under a folder; hidden files and folders, and waste bins, are passed over.

    Linked folders are entered like others, each real folder once: a loop of links ends, and a
    link to what lies in the folder anyway adds nothing. A folder whose pictures differ in one
    number, and that holds no video itself, is one video; a word is said of pictures that are not.

    Args:
        folder: to look into.
        pictures_fps: frames per second of numbered pictures, which no file tells; None: unknown.
        setting: which one tells it.

    Raises:
        ValueError: a folder cannot be opened, or all that there is are pictures of unknown rate.
    """
    videos: list[Path] = []
    others, rateless, notes = Counter[str](), dict[Path, int](), list[str]()
    for place, names in _folders(folder):
        one_video = sequence_among(place, names)
        if one_video and pictures_fps is not None:
            videos.append(PictureFolder.of(place, pictures_fps))
            names = sorted({*names}.difference(name for _, name in one_video))
        elif one_video:
            rateless[place] = len(one_video)
        video_names = [] if one_video else [name for name in names if is_video(place / name)]
        videos += [place / name for name in video_names]
        others.update(Path(name).suffix.lower() for name in {*names}.difference(video_names))
        if not one_video:
            notes += _passed_over(place, names, video_names, pictures_fps)
    if rateless and not videos:
        raise ValueError(_unknown_rate(folder, rateless, setting))
    for note in notes:
        log.warning("%s", note)
    if rateless:
        log.warning("%s; without it they are passed over", _unknown_rate(folder, rateless, setting))
    return Folder(folder, tuple(sorted(videos)), others)


def video_at(path: Path, pictures_fps: float | None, setting: str = "pictures_fps") -> Path:
    """A path as that of a video, which a folder of numbered pictures is as well.

    Args:
        path: of a file, or of a folder.
        pictures_fps: frames per second of numbered pictures; None: unknown.
        setting: which one tells it.

    Raises:
        ValueError: the pictures' rate is not known.
    """
    try:
        pictures = sequence_in(path) if path.is_dir() else []
    except OSError:
        pictures = []  # who reads it says why
    if not pictures:
        return path
    if pictures_fps is None:
        raise ValueError(_unknown_rate(path, {path: len(pictures)}, setting))
    return PictureFolder.of(path, pictures_fps)


def pictures_rate(cell: str, where: str) -> float | None:
    """Frames per second of numbered pictures as a table tells them; None: it does not.

    Args:
        cell: of the table.
        where: names file and line, for a message.

    Raises:
        ValueError: it is no rate.
    """
    if not cell:
        return None
    try:
        rate = float(cell)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= _FASTEST:
        raise ValueError(
            f"{where}: fps must be pictures per second up to {_FASTEST:g}, not {cell[:60]!r}"
        )
    return rate


def name_in(path: Path, folder: Path) -> Path:
    """A video's name inside a folder, which may be the video itself.

    Args:
        path: of the video.
        folder: where it was found.
    """
    if isinstance(path, PictureFolder) and os.path.realpath(path) == os.path.realpath(folder):
        return Path(path.name)
    return Path(path.relative_to(folder))


def stem_in(path: Path, name: Path) -> Path:
    """A video's name without its ending, which a folder has not: `v1.2` is one.

    Args:
        path: of the video.
        name: inside a folder.
    """
    return name if isinstance(path, PictureFolder) else name.with_suffix("")


def stamp(path: Path) -> tuple[int, int, float]:
    """Bytes, time of change in ns, and the rate that was told, by which videos are told apart.

    Args:
        path: of a video file, or of numbered pictures.

    Raises:
        OSError: it is not there.
    """
    state = path.stat()
    if not isinstance(path, PictureFolder):
        return state.st_size, state.st_mtime_ns, 0.0
    states = [os.stat(path / name) for _, name in sequence_in(path)]
    changed = max([state.st_mtime_ns, *(state.st_mtime_ns for state in states)])
    return sum(state.st_size for state in states), changed, path.fps


def _unknown_rate(folder: Path, rateless: dict[Path, int], setting: str) -> str:
    """That pictures do not tell how long each is shown, with the remedy."""
    first, count = next(iter(rateless.items()))
    if [folder] == [*rateless]:
        what = f"{shown(folder)} holds {count} numbered pictures"
    else:
        what = (
            f"{shown(folder)} has {so_many(len(rateless), 'folder')} of numbered pictures, such as "
            f"the {count} in {shown(first)}"
        )
    return (
        f"{what}; they do not tell how many are shown a second: give {setting}=24, or what it is, "
        f"to take each such folder as a video"
    )


def _passed_over(place: Path, names: list[str], videos: list[str], fps: float | None) -> list[str]:
    """A note on pictures that are no video, where one could take them for one."""
    video_names = {*videos, *(Path(name).stem for name in videos)}
    stills = [name for name in pictures_among(names) if not video_names & {name, Path(name).stem}]
    if videos and numbered(stills):
        return [
            f"{shown(place)} holds videos and {len(stills)} numbered pictures, which are passed "
            f"over; in a folder of their own they are a video"
        ]
    if videos or fps is None or len(stills) < 2:
        return []
    return [
        f"{shown(place)} holds {len(stills)} pictures that are passed over: {odd_one(stills)}; "
        f"{A_FOLDER_OF_THEM}"
    ]


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders with the names of their files; real ones first, so that no name depends on links."""
    visited: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            yield from _folders_once(start, visited, links)
        waiting = sorted(links)


def _folders_once(
    folder: Path, visited: set[tuple[int, int]], links: list[Path]
) -> Iterator[tuple[Path, list[str]]]:
    """Those that `visited` does not hold yet; links to folders are noted in `links`."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"{shown(folder)} cannot be opened: {error.strerror}") from None
    inside, names = [], []
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
            continue
        if entry.is_dir(follow_symlinks=False):
            inside.append(path)
        elif entry.is_symlink() and path.is_dir():
            links.append(path)
        elif path.is_file() or (entry.is_symlink() and is_video(path)):  # a broken link is told
            names.append(entry.name)
    yield folder, names
    for path in inside:
        yield from _folders_once(path, visited, links)
