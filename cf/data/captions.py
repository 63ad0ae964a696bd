"""What a video shows: the text file beside it, or its row in a table of the folder."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cf.data.prompt_list import TEXTS
from cf.data.script import text_from
from cf.files.naming import composed
from cf.files.text import json_lines_of, table_of, text_of
from cf.video.listing import name_in, stem_in

_SHOWN = 3
_TABLES = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
"""As folders of videos are published (https://huggingface.co/docs/datasets/video_dataset)."""
_WHAT = "table of captions"
_VIDEOS = ("file_name", "video", "video_path", "path", "file")
"""Columns that name the video, seen from the table; the first that is there counts."""


def caption_of(video: Path, folder: Path) -> str:
    """The text of `fox.txt` for `fox.mp4`, or a folder `fox` of pictures; empty if there is none.

    The ending may have capitals, and an accent may be spelt in either way: folders that went over
    several systems have one in the video's name and the other in the text's. A video without
    such a file has the text of its row in the nearest `metadata.csv`, `.tsv` or `.jsonl`.

    Args:
        video: the file, or the folder of pictures.
        folder: in which videos are looked for, and tables too.

    Raises:
        ValueError: the file or the table cannot be read as text; the table says two things of it.
    """
    return _beside(video) or _in_table(video, folder)


def _beside(video: Path) -> str:
    stem = stem_in(video, Path(video.name)).name
    file = video.with_name(f"{stem}.txt")
    if not file.is_file():
        try:
            changed = video.parent.stat().st_mtime_ns
            name = _texts(str(video.parent), changed).get(composed(stem))
        except OSError:
            return ""
        if name is None:
            return ""
        file = video.with_name(name)
    return text_from(text_of(file, "caption"), str(file), may_be_empty=True)


def uncaptioned(captions: Mapping[str, str]) -> str:
    """That some videos have no caption, as a sentence; empty if all have one.

    Args:
        captions: of each video by its name.
    """
    without = [name for name, text in captions.items() if not text]
    if not without:
        return ""
    named = ", ".join(without[:_SHOWN]) + ", ..." * (len(without) > _SHOWN)
    return (
        f"{len(without)} of {len(captions)} videos have no caption and are shown with the empty "
        f"text: {named}; a caption is the text of the .txt file of the same name beside a "
        f"video, or of its row in {_TABLES[0]} (columns {_VIDEOS[0]} and {TEXTS[0]})"
    )


@lru_cache(256)
def _texts(folder: str, changed: int) -> Mapping[str, str]:
    """Text files of a folder by their names without ending, accents composed."""
    files = sorted(one.name for one in Path(folder).iterdir() if one.suffix.lower() == ".txt")
    return {composed(Path(name).stem): name for name in files}


def _in_table(video: Path, folder: Path) -> str:
    for place in name_in(video, folder).parents:
        try:
            tables = _tables(str(folder / place), (folder / place).stat().st_mtime_ns)
        except OSError:
            continue
        for table in tables:
            status = table.stat()
            told = _rows(str(table), status.st_size, status.st_mtime_ns)
            if text := told.get(composed(name_in(video, table.parent).as_posix())):
                return text
    return ""


@lru_cache(256)
def _tables(folder: str, changed: int) -> list[Path]:
    """Those of a folder that name videos and texts; others of these names tell something else."""
    found = [one for name in _TABLES if (one := Path(folder, name)).is_file()]
    return [one for one in found if one.suffix == ".jsonl" or _has_columns(one)]


def _has_columns(table: Path) -> bool:
    heading = text_of(table, _WHAT).partition("\n")[0]
    names = {one.strip("\"' ") for one in re.split("[,;\t]", heading)}
    return not names.isdisjoint(_VIDEOS) and not names.isdisjoint(TEXTS)


@lru_cache(256)
def _rows(table: str, size: int, changed: int) -> Mapping[str, str]:
    """Texts by the path of their video, seen from the table.

    Raises:
        ValueError: the table is malformed, or says two things of a video.
    """
    told: dict[str, str] = {}
    for where, row in _entries(Path(table)):
        video, text = (
            next((row[one] for one in columns if isinstance(row.get(one), str)), "")
            for columns in (_VIDEOS, TEXTS)
        )
        text = text_from(text, where, may_be_empty=True)
        if not video or not text:
            continue
        name = composed(posixpath.normpath(video.replace("\\", "/")))
        if told.setdefault(name, text) != text:
            raise ValueError(f"{where}: {video} has another text above; leave one")
    return told


def _entries(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each stands, for messages, and what it says."""
    if table.suffix != ".jsonl":
        rows = table_of(table, what=_WHAT)
        yield from ((rows.at(row), row.cells) for row in rows.rows)
        return
    for line, value in json_lines_of(table, _WHAT):
        if isinstance(value, dict):
            yield f"{table}, line {line}", value
