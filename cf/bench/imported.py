"""Videos that were made elsewhere, as a contestant; and ours under the names VBench expects."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from cf.bench.asked import Item, Take, Terms
from cf.bench.contestant import Contestant, Piece
from cf.video.listing import listed_in, shown
from cf.video.probe import UnreadableVideo, probe
from cf.video.reader import read_frames

_SECONDS = 2.0
"""That are decoded at once."""


@dataclass(frozen=True)
class Imported(Contestant):
    """A folder of videos that somebody else made of the same prompts.

    A file belongs to a prompt and seed if a csv (`path, prompt, seed`, the prompt by its name or
    its text) says so, or by its name: `{name}-{seed}`, or `{prompt}-{seed}` as VBench has it.

    Attributes:
        folder: of the files.
        listed: the csv; paths in it are relative to the folder.
        fps, size: at which they are read; None: their own.
    """

    folder: str = ""
    listed: str | None = None
    fps: float | None = None
    size: tuple[int, int] | list[int] | None = None

    causal: ClassVar[bool | None] = None
    in_blocks: ClassVar[bool] = False

    def missing(self) -> str:
        """The folder, or any video in it."""
        if not Path(self.folder).is_dir():
            return f"folder {self.folder!r} not found"
        if self.listed is not None and not Path(self.listed).is_file():
            return f"{self.listed} not found"
        return "" if self._files() else listed_in(Path(self.folder)).told()

    def terms(self, asked: Terms | None) -> Terms:
        """Of the first file that can be read, unless told."""
        if self.fps is not None and self.size is not None:
            return Terms(self.fps, (self.size[0], self.size[1]))
        for file in self._files().values():
            try:
                info = probe(file)
            except UnreadableVideo:
                continue
            size = (info.height, info.width) if self.size is None else self.size
            return Terms(self.fps or info.fps, (size[0], size[1]))
        raise ValueError(f"not one video in {self.folder} can be read")

    def fingerprint(self) -> str:
        """Names, sizes and times of the files."""
        stats = [(name, p.stat()) for name, p in sorted(self._files().items())]
        told = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
        return hashlib.sha256(told.encode()).hexdigest()

    def available(self, take: Take) -> str:
        """Whether there is a file for it."""
        return "" if self._file(take.item) else f"{self.folder} has no video of {take.item.key}"

    def play(self, take: Take, device: str) -> Iterator[Piece]:
        """The file, a few seconds at a time, up to its end."""
        file = self._file(take.item)
        assert file is not None
        info, fps = probe(file), take.terms.fps
        total = max(int(info.duration * fps + 1e-6), 1)
        step = max(round(_SECONDS * fps), 1)
        for first in range(0, min(total, take.frames), step):
            count = min(step, total - first)
            yield read_frames(file, first / fps, count, fps, take.terms.size).float() / 255

    def _files(self) -> Mapping[str, Path]:
        return _files(self.folder, self.listed)

    def _file(self, item: Item) -> Path | None:
        files = self._files()
        texts = {text for _, text in item.script if text}
        names = [item.prompt, *(texts if len(item.script) == 1 else ())]
        found = (files.get(f"{name}-{item.seed}") for name in names)
        return next((file for file in found if file), None)


@lru_cache(8)
def _files(folder: str, listed: str | None) -> Mapping[str, Path]:
    if listed is None:
        return {shown(path.stem): path for path in listed_in(Path(folder)).videos}
    with Path(listed).open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for name in ("path", "prompt"):
        if rows and name not in rows[0]:
            raise ValueError(f"{listed} has no column {name!r}; it needs path, prompt and seed")
    return {f"{row['prompt']}-{row.get('seed') or 0}": Path(folder) / row["path"] for row in rows}


def export_vbench(videos: Mapping[Item, Path], folder: Path) -> int:
    """Link videos as `{prompt}-{seed}.mp4`, the names that VBench's own code looks for.

    Prompts are cut where a file name would be too long; `prompts.csv` has them whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for item, path in videos.items():
        text = item.script[0][1] or item.prompt
        name = "".join(c for c in text if c not in '/\0"')
        while len(f"{name}-{item.seed}.mp4".encode()) > 250:
            name = name[:-1]
        link = folder / f"{name}-{item.seed}.mp4"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(path.resolve(), folder.resolve()))
        rows.append({"path": link.name, "prompt": text, "seed": item.seed})
    with (folder / "prompts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "prompt", "seed"])
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)
