"""The video files to measure, their contestants, and which of them share a prompt."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cf.data.captions import caption_of
from cf.files.home import expanded
from cf.files.naming import composed, name_by, name_pattern, number_of
from cf.files.text import table_of
from cf.video.listing import listed_in, name_in, pictures_rate, stem_in, video_at
from cf.video.naming import is_video, shown
from cf.video.numbered import A_FOLDER_OF_THEM, PICTURES, PictureFolder

_COLUMNS = ("path", "contestant", "prompt", "seed", "reference", "boundaries", "fps")


@dataclass(frozen=True)
class Listed:
    """A video file to be measured.

    Attributes:
        contestant: who made it.
        name: of the file, within what was given.
        prompt: what it shares with other videos of the same prompt; the unit of statistics.
        reference: the true video, shown at the same times.
        boundaries: frames at which a block of the generator begins.
        folder: that was given, in which tables of captions are looked for; None: the file's own.
    """

    contestant: str
    name: str
    path: Path
    prompt: str
    seed: int | None = None
    reference: Path | None = None
    boundaries: tuple[int, ...] = ()
    folder: Path | None = None

    @property
    def video_id(self) -> int:
        """A number that no other video has."""
        return number_of(f"{self.contestant}\n{self.name}")

    @property
    def prompt_id(self) -> int:
        """A number of the prompt, equal for all contestants."""
        return number_of(self.prompt)

    @property
    def text(self) -> str:
        """What the video was to show: its caption, else its prompt."""
        return caption_of(self.path, self.folder or self.path.parent) or self.prompt


def list_videos(
    videos: str | Sequence[str] | Mapping[str, str],
    pattern: str | None = None,
    pictures_fps: float | None = None,
) -> list[Listed]:
    """Every video of every contestant.

    Args:
        videos: folders and csv files, a contestant each; video files, all of one contestant; or a
            mapping from a contestant's name to one of these.
        pattern: a regular expression with groups `prompt` and, maybe, `seed`, that reads them from
            a file's name in its folder, without its ending; None: the name is the prompt.
        pictures_fps: of folders of numbered pictures, each of which is a video, where a csv's
            column `fps` does not tell it.

    Raises:
        ValueError: nothing is there, a column is unknown, or two videos have one name.
    """
    reading = _Reading(None if pattern is None else name_pattern(pattern), pictures_fps)
    if isinstance(videos, Mapping):
        listed = [
            video for name, place in videos.items() for video in _at(Path(place), name, reading)
        ]
    else:
        paths = [Path(place) for place in ([videos] if isinstance(videos, str) else videos)]
        places = [reading.video(place) for place in paths]
        files = [
            p for p in places if isinstance(p, PictureFolder) or (is_video(p) and not p.is_dir())
        ]
        for path in files:
            _refuse_commas(path)
        sources = [p for p in places if p not in files]
        listed = [_file(path, "videos", reading) for path in files]
        for place, name in zip(sources, _names(sources), strict=True):
            listed += _at(place, name, reading)
    if not listed:
        raise ValueError(f"videos={videos!r} holds no video; give a folder, video files or a csv")
    twice = Counter((video.contestant, video.name) for video in listed)
    for (contestant, name), times in twice.items():
        if times > 1:
            raise ValueError(f"{contestant} has {times} videos named {name}; give each once")
    _refuse_equal_seeds(listed)
    return listed


@dataclass(frozen=True)
class _Reading:
    """How names and folders are read."""

    matcher: re.Pattern[str] | None
    pictures_fps: float | None

    def video(self, place: Path, fps: float | None = None) -> Path:
        """A path; of a folder of numbered pictures, with their rate, which `fps` tells first."""
        return video_at(place, fps or self.pictures_fps)


def _refuse_commas(path: Path) -> None:
    """Several names in one text, as shells and other programs take them."""
    parts = [part.strip() for part in str(path).split(",")]
    if len(parts) > 1 and not os.path.lexists(path) and any(map(os.path.lexists, parts)):
        raise ValueError(
            f"there is no file {path}; several are a list: videos='[{','.join(parts)}]'"
        )


def _refuse_equal_seeds(videos: Sequence[Listed]) -> None:
    """Two videos of one prompt, seed and contestant are of two contestants, as a rule."""
    first: dict[tuple[str, str, int], Listed] = {}
    for video in videos:
        if video.seed is None:
            continue
        before = first.setdefault((video.contestant, video.prompt, video.seed), video)
        if before is not video:
            raise ValueError(
                f"{video.contestant} has {before.name} and {video.name} of the prompt "
                f"{video.prompt[:60]!r} and the seed {video.seed}; give each prompt and seed once, "
                f"and a column contestant where several made them"
            )


def _names(places: Sequence[Path]) -> list[str]:
    """The shortest names that differ."""
    resolved = [Path(os.path.realpath(place)) for place in places]  # also of links in a circle
    twice = [
        place for place, path in zip(places, resolved, strict=True) if resolved.count(path) > 1
    ]
    if twice:
        raise ValueError(f"{twice[0]} is given twice; give each once")
    # Only a file has an ending: the folders wan2.1 and wan2.2 are two.
    parts = [(path if os.path.isdir(path) else path.with_suffix("")).parts for path in resolved]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(map(str, places))


def _at(place: Path, contestant: str, reading: _Reading) -> Iterator[Listed]:
    """The videos of a folder, a csv file, or the one video file."""
    if os.path.isdir(place):
        files = listed_in(place, reading.pictures_fps)
        if not files.videos:
            raise ValueError(f"{files.told()}; give a folder of videos, video files or a csv")
        for path in files.videos:
            yield _file(path, contestant, reading, place)
    elif place.suffix.lower() in (".csv", ".tsv") and os.path.isfile(place):
        yield from _rows(place, contestant, reading)
    elif is_video(place):
        yield _file(place, contestant, reading)
    else:
        if place.suffix.lower() in PICTURES and os.path.isfile(place):
            raise ValueError(f"{place} is a still picture; {A_FOLDER_OF_THEM}")
        raise ValueError(f"{place} is neither a folder, nor a video, nor a csv file that exists")


def _file(path: Path, contestant: str, reading: _Reading, folder: Path | None = None) -> Listed:
    inside = name_in(path, folder) if folder else Path(path.name)
    matcher = reading.matcher
    name, stem = shown(inside.as_posix()), shown(stem_in(path, inside).as_posix())
    prompt, seed = (composed(stem), None) if matcher is None else name_by(matcher, stem, path)
    return Listed(contestant, name, path, prompt, seed, folder=folder)


def _rows(place: Path, contestant: str, reading: _Reading) -> Iterator[Listed]:
    """The videos of a csv file; paths in it count from its own folder."""
    table = table_of(place, _COLUMNS[:1], _COLUMNS[1:], "csv of videos")
    for row in table.rows:
        cells = row.cells
        if not cells["path"]:
            raise ValueError(f"{table.at(row)}: the path is empty")
        name = _path_in(place, cells["path"])
        where = table.at(row)
        fps = pictures_rate(cells.get("fps", ""), where)
        path = reading.video(place.parent / name, fps)
        if fps is not None and os.path.isfile(path):
            raise ValueError(
                f"{where}: fps={fps:g} is for a folder of numbered pictures, and {path.name} tells "
                "its own rate; leave the cell empty"
            )
        marks = [_whole(mark, "boundaries", where) for mark in cells.get("boundaries", "").split()]
        if any(a >= b for a, b in pairwise([-1, *marks])):
            raise ValueError(f"{where}: boundaries must be rising frame numbers, got {marks[:9]}")
        yield Listed(
            contestant=cells.get("contestant") or contestant,
            name=name.as_posix(),
            path=path,
            prompt=composed(cells.get("prompt") or stem_in(path, name).as_posix()),
            seed=_whole(cells["seed"], "seed", where) if cells.get("seed") else None,
            reference=_beside(place, cells.get("reference"), reading, fps),
            boundaries=tuple(marks),
        )


def _beside(place: Path, cell: str | None, reading: _Reading, fps: float | None) -> Path | None:
    return reading.video(place.parent / _path_in(place, cell), fps) if cell else None


def _path_in(place: Path, cell: str) -> Path:
    """The path in a cell; as Windows writes it where the file is there under that."""
    path, slashed = expanded(cell), expanded(cell.replace("\\", "/"))
    if os.path.lexists(place.parent / path) or not os.path.lexists(place.parent / slashed):
        return path
    return slashed


def _whole(text: str, column: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{where}: {column} must be a whole number, not {text[:60]!r}") from None
