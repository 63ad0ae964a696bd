"""Which files of a folder are videos: one list of suffixes, one walk, names that can be printed."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".apng", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif"}
    | {".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv"}
    | {".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""In lower case; a file's own may be in any."""
_OF_SYSTEMS = frozenset(
    {"$recycle.bin", "recycler", "system volume information", "lost+found", "__macosx"}
    | {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"}
)
"""Folders that systems and their servers make, with what was deleted, or small copies."""


@dataclass(frozen=True)
class Folder:
    """What lies in a folder and the folders inside it, linked ones included.

    Attributes:
        videos: sorted by their path inside the folder.
        others: how many files that are no videos, by their suffix.
    """

    path: Path
    videos: tuple[Path, ...]
    others: Counter[str]

    def told(self) -> str:
        """That there is no video, and what lies there instead, for a message."""
        kinds = [f"{n} {kind or 'without suffix'}" for kind, n in self.others.most_common(5)]
        told = f" ({', '.join(kinds)})" if kinds else ""
        return f"{shown(self.path)} holds no video among its {self.others.total()} files{told}"


def is_video(path: Path) -> bool:
    """Whether its name says so."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def listed_in(folder: Path) -> Folder:
    """All videos under a folder; hidden files and folders, and waste bins, are passed over.

    Linked folders are entered like others, each real folder once: a loop of links ends, and a
    link to what lies in the folder anyway adds nothing.

    Raises:
        ValueError: a folder cannot be opened.
    """
    videos, others = [], Counter[str]()
    for path in _files(folder):
        if is_video(path):
            videos.append(path)
        else:
            others[path.suffix.lower()] += 1
    return Folder(folder, tuple(sorted(videos)), others)


def shown(name: str | Path) -> str:
    """A file's name as text that can be printed; bytes that are no UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _files(folder: Path) -> Iterator[Path]:
    """Real folders come first, so that no name depends on the links to them."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            yield from _files_once(start, seen, links)
        waiting = sorted(links)


def _files_once(folder: Path, seen: set[tuple[int, int]], links: list[Path]) -> Iterator[Path]:
    """Those that `seen` does not hold yet; links to folders are noted in `links`."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"{shown(folder)} cannot be opened: {error.strerror}") from None
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_once(path, seen, links)
        elif entry.is_symlink() and path.is_dir():
            links.append(path)
        elif path.is_file() or (entry.is_symlink() and is_video(path)):  # a broken link is told
            yield path
