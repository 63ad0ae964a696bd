"""Videos of texts: prompt lists as they are published, or of one's own, with switches."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cf.bench.tasks.base import Sample, Task, VideoSpec
from cf.data.script import Script, script_of, text_from
from cf.files.naming import composed, cut, folded, slug
from cf.files.text import json_lines_of, json_of, lines_of, table_of, yaml_of

log = logging.getLogger("cf.benchmark")

_TEXTS = ("text", "prompt_en", "prompt")
_MOST_NAME = 80


@dataclass(frozen=True)
class Prompts(Task):
    """Videos of the prompts in a file.

    The file is VBench's json (`prompt_en` or `prompt`), plain text (a prompt a line, without
    comments), csv or tsv (a column `prompt` or `text`, and perhaps `prompt_id`), or jsonl or yaml
    (`text`, or `segments` of `[seconds, text]`). A prompt that comes twice is taken once.

    Attributes:
        file: where the list is.
        count: how many are drawn from it, with a fixed seed; None: all.
        seeds: each prompt is made once for each.
        fps, size: that every contestant must have; None: that which they have in common.
    """

    file: str
    count: int | None = None
    draw_seed: int = 0
    seeds: Sequence[int] = (0,)
    fps: float | None = None
    size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"asked.seeds={list(self.seeds)} must name at least one, each once")
        if (self.fps is None) != (self.size is None):
            raise ValueError(
                f"asked.fps={self.fps} and asked.size={self.size}: give both, or neither"
            )
        if self.fps is not None and self.size is not None:
            sides = len(self.size) == 2 and min(self.size) > 0
            if not (sides and 0 < self.fps < float("inf")):
                raise ValueError(
                    f"asked.fps={self.fps} and asked.size={list(self.size)} must be a rate above 0 "
                    f"and a height and a width in pixels"
                )

    def items(self) -> list[Sample]:
        """Prompts in the order of the file, seeds within.

        Raises:
            ValueError: if the file holds fewer prompts than are asked for.
        """
        prompts = _named(self.file)
        if self.count is not None:
            if not 0 < self.count <= len(prompts):
                raise ValueError(
                    f"{self.file} holds {len(prompts)} prompts, of which count={self.count} cannot "
                    f"be drawn; give a count between 1 and {len(prompts)}"
                )
            drawn = np.random.default_rng(self.draw_seed).choice(
                len(prompts), self.count, replace=False
            )
            prompts = [prompts[i] for i in sorted(drawn)]
        return [
            Sample(f"{one.name}-{seed}", one.name, seed, one.script, identity=one.identity)
            for one in prompts
            for seed in self.seeds
        ]

    def terms(self) -> VideoSpec | None:
        """As configured."""
        if self.fps is None or self.size is None:
            return None
        return VideoSpec(self.fps, (self.size[0], self.size[1]))


@dataclass(frozen=True)
class Prompt:
    """An entry of a list.

    Attributes:
        where: file and line, for messages.
        named: by the list itself; otherwise the name is made of the text.
    """

    where: str
    name: str
    script: Script
    named: bool

    @property
    def identity(self) -> str:
        """From which numbers follow: the name, or a hash of the script where that has none."""
        return "" if self.named else f"p{_digest(self.script)[:11]}"


def read_prompts(file: str | Path) -> dict[str, Script]:
    """Names and scripts of the prompts in a file, each once.

    Raises:
        ValueError: if the file cannot be read, holds no prompt, or an entry of it is none; names
            the line.
    """
    return {one.name: one.script for one in _named(file)}


def name_of(script: Script) -> str:
    """A name for files and tables: the first text in small letters, and a hash if it lost more.

    >>> name_of(((0.0, "a red fox"),)), name_of(((0.0, "A red fox!"),))
    ('a-red-fox', 'a-red-fox-47976d3b')
    """
    words = cut(slug(script[0][1])).strip("-")
    if len(script) == 1 and script[0][1] == words.replace("-", " "):
        return words
    return f"{words or 'prompt'}-{_digest(script)[:8]}"


def _digest(script: Script) -> str:
    text = json.dumps([list(act) for act in script])
    return hashlib.sha256(text.encode()).hexdigest()


def _named(file: str | Path) -> list[Prompt]:
    """The prompts in order, each once."""
    path = Path(file)
    suffix = path.suffix.lower()
    if not os.path.lexists(path):
        raise ValueError(
            f"there is no prompt list {path}; give asked.file=... (docs/benchmark.md says where "
            f"each published list is had)"
        )
    if suffix not in _READERS and path.is_file():
        raise ValueError(f"{path} must be one of {', '.join(_READERS)}, to be read as prompts")
    prompts: dict[str, Prompt] = {}
    for where, row in _READERS.get(suffix, _lines)(path):
        one = _prompt(where, row)
        before = prompts.setdefault(folded(one.name), one)
        if (before.name, before.script) != (one.name, one.script):
            raise ValueError(
                f"{one.where}: two prompts would have one name, {before.name!r} (of "
                f"{before.where}) and {one.name!r}; case does not count, since some file systems "
                f"ignore it. Give each prompt_id once"
            )
    if not prompts:
        raise ValueError(f"{path} holds no prompt")
    return list(prompts.values())


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in lines_of(path, _WHAT):
        if line.startswith("#"):
            log.warning("%s, line %d is a prompt like any other: %s", path, number, line[:60])
        yield f"{path}, line {number}", line


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    return _entries(path, json_of(path, _WHAT, literal=True))


def _yaml(path: Path) -> Iterator[tuple[str, Any]]:
    return _entries(path, yaml_of(path, _WHAT, literal=True))


def _entries(path: Path, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, list):
        kind = "a mapping" if isinstance(value, dict) else repr(value)[:60]
        raise ValueError(f"{path} must hold a list of prompts at its top, and holds {kind}")
    return ((f"{path}, entry {i}", one) for i, one in enumerate(value, 1))


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    values = json_lines_of(path, _WHAT, literal=True)
    return ((f"{path}, line {number}", one) for number, one in values)


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    table = table_of(path, what=_WHAT)
    return ((table.at(row), row.cells) for row in table.rows)


_WHAT = "prompt list"
_READERS = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".txt": _lines,
    ".csv": _csv,
    ".tsv": _csv,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _prompt(where: str, row: Any) -> Prompt:
    if not isinstance(row, dict):
        script: Script = ((0.0, text_from(row, where)),)
        return Prompt(where, name_of(script), script, False)
    keys = [key for key in _TEXTS if key in row]
    if row.get("segments"):
        script = script_of(row["segments"], f"{where}: segments")
    elif keys:
        script = ((0.0, text_from(row[keys[0]], f"{where}: {keys[0]}")),)
    else:
        raise ValueError(
            f"{where}: it has none of {', '.join(_TEXTS)} and segments; it has "
            f"{', '.join(map(str, row)) or 'nothing'}"
        )
    given = row.get("prompt_id")
    if given is None or given == "":
        return Prompt(where, name_of(script), script, False)
    name = composed(given) if isinstance(given, str) and len(given) <= 4 * _MOST_NAME else ""
    plain = all(c.isalnum() or c in "-_." for c in name) and not name.startswith(".")
    if not (name and plain and len(name.encode()) <= _MOST_NAME):
        raise ValueError(
            f"{where}: prompt_id {repr(given)[:80]} must name files: at most {_MOST_NAME} bytes "
            f"of letters, digits, hyphens, underlines and dots, the first no dot"
        )
    return Prompt(where, name, script, True)
