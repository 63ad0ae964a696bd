"""Which video files are to be measured, whose they are, and which of them belong together."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cf.video.listing import is_video, listed_in, shown

_COLUMNS = ("path", "contestant", "prompt", "seed", "reference", "boundaries")


@dataclass(frozen=True)
class Listed:
    """A video file to be measured.

    Attributes:
        contestant: who made it.
        name: of the file, within what was given.
        prompt: what it shares with other videos of the same prompt; the unit of statistics.
        reference: the true video, shown at the same times.
        boundaries: frames at which a block of the generator begins.
    """

    contestant: str
    name: str
    path: Path
    prompt: str
    seed: int | None = None
    reference: Path | None = None
    boundaries: tuple[int, ...] = ()

    @property
    def video_id(self) -> int:
        """Tells it from every other."""
        return number(f"{self.contestant}\n{self.name}")

    @property
    def prompt_id(self) -> int:
        """Equal for all contestants."""
        return number(self.prompt)

    @property
    def text(self) -> str:
        """What the video was to show: a .txt file beside it, of the same name, else its prompt."""
        beside = self.path.with_suffix(".txt")
        return beside.read_text("utf-8").strip() if beside.is_file() else self.prompt


def number(text: str) -> int:
    """A whole number that follows from a text, below 2^62."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


def listed(
    videos: str | Sequence[str] | Mapping[str, str], pattern: str | None = None
) -> list[Listed]:
    """Every video of every contestant.

    Attributes:
        videos: folders and csv files, a contestant each; video files, all of one contestant; or a
            mapping from a contestant's name to one of these.
        pattern: a regular expression with groups `prompt` and, maybe, `seed`, that reads them from
            a file's name in its folder, without its ending; None: the name is the prompt.

    Raises:
        ValueError: nothing is there, a column is unknown, or two videos have one name.
    """
    matcher = _matcher(pattern)
    if isinstance(videos, Mapping):
        found = [one for name, place in videos.items() for one in _at(Path(place), name, matcher)]
    else:
        places = [Path(place) for place in ([videos] if isinstance(videos, str) else videos)]
        files = [p for p in places if is_video(p) and not p.is_dir()]
        sources = [p for p in places if p not in files]
        found = [_file(path, "videos", matcher) for path in files]
        for place, name in zip(sources, _names(sources), strict=True):
            found += _at(place, name, matcher)
    if not found:
        raise ValueError(f"videos={videos!r} holds no video; give a folder, video files or a csv")
    twice = Counter((one.contestant, one.name) for one in found)
    for (contestant, name), times in twice.items():
        if times > 1:
            raise ValueError(f"{contestant} has {times} videos named {name}; give each once")
    return found


def _matcher(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        matcher = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern={pattern!r} is no regular expression: {error}") from None
    if "prompt" not in matcher.groupindex:
        raise ValueError(f"pattern={pattern!r} needs a group: '(?P<prompt>.*)-(?P<seed>[0-9]+)'")
    return matcher


def _names(places: Sequence[Path]) -> list[str]:
    """As short as tells them apart."""
    parts = [place.resolve().with_suffix("").parts for place in places]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    if parts:
        raise ValueError(f"{places[0]} or another is given twice; give every folder once")
    return []


def _at(place: Path, contestant: str, matcher: re.Pattern[str] | None) -> Iterator[Listed]:
    """The videos of a folder, a csv file, or the one video file."""
    if place.is_dir():
        files = listed_in(place)
        if not files.videos:
            raise ValueError(f"{files.told()}; give a folder of videos, video files or a csv")
        for path in files.videos:
            yield _file(path, contestant, matcher, path.relative_to(place))
    elif place.suffix.lower() == ".csv" and place.is_file():
        yield from _rows(place, contestant)
    elif is_video(place):
        yield _file(place, contestant, matcher)
    else:
        raise ValueError(f"{place} is neither a folder, nor a video, nor a csv file that exists")


def _file(
    path: Path, contestant: str, matcher: re.Pattern[str] | None, inside: Path | None = None
) -> Listed:
    name = shown((inside or Path(path.name)).as_posix())
    stem = shown((inside or Path(path.name)).with_suffix("").as_posix())
    if matcher is None:
        return Listed(contestant, name, path, stem)
    found = matcher.fullmatch(stem)
    if found is None:
        raise ValueError(f"pattern={matcher.pattern!r} does not match {stem!r}, from {path}")
    seed = found.groupdict().get("seed")
    return Listed(contestant, name, path, found["prompt"], None if seed is None else int(seed))


def _rows(table: Path, contestant: str) -> Iterator[Listed]:
    """The videos of a csv file; paths in it count from its own folder."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        unknown = [column for column in columns if column not in _COLUMNS]
        if "path" not in columns or unknown:
            raise ValueError(
                f"{table} has columns {', '.join(columns)}; it must have path, and may have "
                f"{', '.join(_COLUMNS[1:])}"
            )
        for row in reader:
            reference = row.get("reference")
            name = Path(row["path"])
            try:
                seed = int(row["seed"]) if row.get("seed") else None
                boundaries = tuple(int(mark) for mark in (row.get("boundaries") or "").split())
            except ValueError as error:
                raise ValueError(f"{table}, line {reader.line_num}: {error}") from None
            yield Listed(
                contestant=row.get("contestant") or contestant,
                name=name.as_posix(),
                path=table.parent / name,
                prompt=row.get("prompt") or name.with_suffix("").as_posix(),
                seed=seed,
                reference=table.parent / reference if reference else None,
                boundaries=boundaries,
            )
