"""Videos that were made elsewhere, as a contestant; and ours under the names VBench expects."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from cf.bench.contestants.base import Contestant, Piece
from cf.bench.contestants.matching import Match, described, match, remedy_of, stems
from cf.bench.tasks.base import Request, Sample, VideoSpec
from cf.files.atomic import replacing
from cf.files.home import expanded
from cf.files.naming import composed, cut_to_bytes, folded, name_by, name_pattern
from cf.files.tables import safe
from cf.files.text import table_of
from cf.video.listing import listed_in, name_in, pictures_rate, stamp, video_at
from cf.video.naming import shown
from cf.video.numbered import PictureFolder
from cf.video.probe import UnreadableVideo, probe
from cf.video.reader import read_frames

_SECONDS = 2.0
"""That are decoded at once."""
_RATE = "contestants.NAME.pictures_fps"


@dataclass(frozen=True)
class Imported(Contestant):
    """A folder of videos that somebody else made of the same prompts.

    A file belongs to a prompt and seed if a csv (`path, prompt, seed`, the prompt by its name or
    its text) says so, or by its name: `{name}-{seed}`, or `{prompt}-{seed}` as VBench has it, or
    what other tools make of a prompt (`cf.bench.contestants.matching`).

    Attributes:
        folder: of the files.
        listed: the csv; paths in it are relative to the folder. A column `fps` tells the rate of
            folders of numbered pictures.
        fps, size: at which they are read; None: their own.
        pictures_fps: of folders of numbered pictures that the csv tells no rate of.
        pattern: a regular expression with groups `prompt` and, maybe, `seed`, for names of files.
        numbered_from: files are numbered in the order of the prompts, from this number on.
        partial: videos that are missing are listed, and the others are measured.
    """

    folder: str = ""
    listed: str | None = None
    fps: float | None = None
    size: tuple[int, int] | list[int] | None = None
    pattern: str | None = None
    numbered_from: int | None = None
    partial: bool = False
    pictures_fps: float | None = None

    causal: ClassVar[bool | None] = None
    in_blocks: ClassVar[bool] = False

    def missing(self) -> str:
        """Why there is no video to read; empty if there is."""
        if not Path(self.folder).is_dir():
            return f"folder {self.folder!r} not found"
        if self.listed is not None and not os.path.isfile(self.listed):
            return f"{self.listed} not found"
        return (
            "" if self._files() else listed_in(Path(self.folder), self.pictures_fps, _RATE).told()
        )

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """Frame rate and size of the settings, else of the first file that can be read."""
        if self.fps is not None and self.size is not None:
            return VideoSpec(self.fps, (self.size[0], self.size[1]))
        reasons = []
        for file in self._files().values():
            try:
                info = probe(file)
            except UnreadableVideo as error:
                reasons.append(str(error))
                continue
            size = (info.height, info.width) if self.size is None else self.size
            return VideoSpec(self.fps or info.fps, (size[0], size[1]))
        raise ValueError(f"not one video in {self.folder} can be read; the first: {reasons[0]}")

    def fingerprint(self) -> str:
        """A hash of the names, sizes and times of the files."""
        files = [(name, p) for name, p in sorted(self._files().items()) if _is_there(p)]
        stamps = [(name, *stamp(p)) for name, p in files]
        text = repr([entry if entry[-1] else entry[:-1] for entry in stamps])  # files have no rate
        return hashlib.sha256(text.encode()).hexdigest()

    def check(self, items: Sequence[Sample], name: str) -> None:
        """Check that every video has one file, unless `partial`.

        A row of the csv whose file is missing is one video that failed, and no reason to stop.

        Raises:
            ValueError: files are missing or cannot be told apart; says which, and what lies there.
        """
        matches = self._match(items)
        if matches.twice or not matches.files or (matches.missing and not self.partial):
            raise ValueError(remedy_of(matches, self.listed or self.folder, f"contestants.{name}"))
        files = [file for file in matches.files.values() if _is_there(self._files()[file])]
        if not files:
            first = self._files()[next(iter(matches.files.values()))]
            raise ValueError(f"not one file that {self.listed} lists exists; the first: {first}")

    def available(self, take: Request) -> str:
        """Why there is no file of this video; empty if there is."""
        file = self._file(take)
        if file is None:
            return f"{self.listed or self.folder} has no file for {described(take.item)}"
        return "" if _is_there(file) else f"{self.listed} lists {file}, which is not there"

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """The frames of the file, a few seconds at a time, up to its end."""
        file = self._file(take)
        assert file is not None
        info, fps = probe(file), take.terms.fps
        total = info.pictures(fps)
        step = max(round(_SECONDS * fps), 1)
        for first in range(0, min(total, take.frames), step):
            count = min(step, total - first)
            yield read_frames(file, first / fps, count, fps, take.terms.size).float() / 255

    def _file(self, take: Request) -> Path | None:
        name = self._match(take.others or (take.item,)).files.get(take.item.key)
        return None if name is None else self._files()[name]

    def _match(self, items: Sequence[Sample]) -> Match:
        files = _Files(self.folder, self.listed, self.pictures_fps)
        return _matched(files, self.pattern, self.numbered_from, tuple(items))

    def _files(self) -> Mapping[str, Path]:
        return _files(_Files(self.folder, self.listed, self.pictures_fps))


class _Files(NamedTuple):
    """Which files there are."""

    folder: str
    listed: str | None
    pictures_fps: float | None


def _is_there(path: Path) -> bool:
    return os.path.isfile(path) or isinstance(path, PictureFolder)


@lru_cache(8)
def _matched(
    place: _Files,
    pattern: str | None,
    numbered_from: int | None,
    items: tuple[Sample, ...],
) -> Match:
    files = _files(place)
    if place.listed is not None:
        return match(items, {name: (name,) for name in files})
    names = {name: stems(name, not isinstance(path, PictureFolder)) for name, path in files.items()}
    if pattern is None:
        return match(items, names, numbered_from)
    form, read = name_pattern(pattern), dict[str, Sequence[str]]()
    for name in files:
        prompt, seed = name_by(form, names[name][0], name)
        read[name] = (f"{prompt}-{items[0].seed if seed is None else seed}",)
    return match(items, read, numbered_from)


@lru_cache(8)
def _files(place: _Files) -> Mapping[str, Path]:
    """Files by their paths inside the folder, or by the csv's prompt and seed."""
    folder, listed = Path(place.folder), place.listed
    if listed is None:
        videos = listed_in(folder, place.pictures_fps, _RATE).videos
        return {shown(name_in(path, folder)): path for path in videos}
    table = table_of(listed, ("path", "prompt"), what="csv of imported videos")
    files: dict[str, Path] = {}
    for row in table.rows:
        path, prompt, seed = row.cells["path"], row.cells["prompt"], row.cells.get("seed") or "0"
        if not (path and prompt and seed.lstrip("-").isdecimal()):
            raise ValueError(
                f"{table.at(row)}: path={path!r}, prompt={prompt!r} and seed={seed!r} must be a "
                f"path, a text and a whole number"
            )
        name = f"{composed(prompt)}-{int(seed)}"
        if name in files:
            raise ValueError(f"{table.at(row)}: {prompt!r} with seed {seed} is listed twice")
        file, fps = folder / expanded(path), row.cells.get("fps") or ""
        rate = pictures_rate(fps, table.at(row)) if file.is_dir() else None
        files[name] = video_at(file, rate or place.pictures_fps, _RATE)
    return files


def export_vbench(videos: Mapping[Sample, Path], folder: Path) -> int:
    """Link videos as `{prompt}-{seed}.mp4`, the names that VBench's own code looks for.

    Prompts are cut where a file name would be too long; where two would then have one name, all
    but the first are told apart by a hash. `prompts.csv` has them whole.

    Raises:
        ValueError: a file that is no link has one of the names; it is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, link_names = [], set()
    for item, path in videos.items():
        text = item.script[0][1] or item.prompt
        name = "".join(c for c in text if c not in '/\0"\n')
        link = folder / f"{cut_to_bytes(name, 230 - len(str(item.seed)))}-{item.seed}.mp4"
        if folded(link.name) in link_names:
            digest = hashlib.sha256(f"{item.prompt}\n{text}".encode()).hexdigest()[:8]
            link = (
                folder / f"{cut_to_bytes(name, 220 - len(str(item.seed)))} {digest}-{item.seed}.mp4"
            )
        link_names.add(folded(link.name))
        if link.exists() and not link.is_symlink():
            raise ValueError(f"{link} is no link of an earlier export; give another export_vbench")
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(path.resolve(), folder.resolve()))
        rows.append({"path": link.name, "prompt": text, "seed": item.seed})
    with replacing(folder / "prompts.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "prompt", "seed"])
        writer.writeheader()
        writer.writerows({name: safe(str(cell)) for name, cell in row.items()} for row in rows)
    return len(rows)
