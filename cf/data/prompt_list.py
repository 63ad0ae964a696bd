"""Lists of prompts as they are published, or of one's own: what each line or entry says."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cf.data.script import Script, script_of, text_from
from cf.files.home import expanded
from cf.files.naming import composed, cut_to_bytes, folded, slug, spelt
from cf.files.text import json_lines_of, lines_of, read_json_file, table_of, yaml_of

log = logging.getLogger("cf")

TEXTS = ("text", "prompt_en", "prompt", "caption")
"""Columns that hold a text."""
_BESIDE = ("prompt_id", "id", "index", "seed", "image", "dimension", "category", "negative_prompt")
"""Further columns that tables of prompts are known to have."""
_READ = (*TEXTS, "segments", "prompt_id", "image")
_NOT_READ = ("negative_prompt", "seed", "seconds", "fps")
"""What a list may say of how a video is made, which settings say."""
_ENDS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
"""Where some programs end a line and others do not."""
_MOST_NAME = 80


@dataclass(frozen=True)
class Prompt:
    """An entry of a list.

    Attributes:
        where: file and line, for messages.
        named: by the list itself; otherwise the name is made of the text.
        image: file of the picture with which its video begins; empty: none.
    """

    where: str
    name: str
    script: Script
    named: bool
    image: str = ""

    @property
    def identity(self) -> str:
        """From which numbers follow: the name, or a hash of the script where that has none."""
        return "" if self.named else f"p{_digest(self.script)[:11]}"


def script_name(script: Script) -> str:
    """A name for files and tables: the first text in small letters, and a hash if it lost more.

    >>> script_name(((0.0, "a red fox"),)), script_name(((0.0, "A red fox!"),))
    ('a-red-fox', 'a-red-fox-47976d3b')
    """
    words = cut_to_bytes(slug(script[0][1])).strip("-")
    if len(script) == 1 and script[0][1] == words.replace("-", " "):
        return words
    return f"{words or 'prompt'}-{_digest(script)[:8]}"


def _digest(script: Script) -> str:
    text = json.dumps([list(act) for act in script])
    return hashlib.sha256(text.encode()).hexdigest()


def prompts_of(file: str | Path, setting: str = "asked.file") -> list[Prompt]:
    """The prompts in order, each once.

    Args:
        file: a file of texts, csv, JSON (lines) or YAML, by its suffix.
        setting: that names the file, for messages.

    Raises:
        ValueError: if the file cannot be read, holds no prompt, or an entry of it is none; names
            the line.
    """
    path = Path(file)
    suffix = path.suffix.lower()
    if not os.path.lexists(path):
        raise ValueError(
            f"there is no prompt list {path}; give {setting}=... (docs/benchmark.md says where "
            f"each published list is had)"
        )
    if suffix not in _READERS and path.is_file():
        raise ValueError(f"{path} must be one of {', '.join(_READERS)}, to be read as prompts")
    prompts: dict[str, Prompt] = {}
    entries = 0
    passed_over: dict[str, None] = {}
    for where, row in _READERS.get(suffix, _lines)(path):
        passed_over |= dict.fromkeys(x for x in _NOT_READ if isinstance(row, dict) and row.get(x))
        prompt = _prompt(where, row)
        entries += 1
        if prompt.image:
            prompt = replace(prompt, image=str(path.parent / expanded(prompt.image)))
        before = prompts.setdefault(folded(prompt.name), prompt)
        if (before.name, before.script, before.image) != (prompt.name, prompt.script, prompt.image):
            raise ValueError(
                f"{prompt.where}: two prompts would have one name, {before.name!r} (of "
                f"{before.where}) and {prompt.name!r}; case does not count, since some file "
                f"systems ignore it. Give each prompt_id once"
            )
    if not prompts:
        raise ValueError(f"{path} holds no prompt")
    if entries > len(prompts):
        log.info("%s: %d entries, %d of them different", path, entries, len(prompts))
    if passed_over:
        log.warning("%s: not read of it, since settings say it: %s", path, ", ".join(passed_over))
    return list(prompts.values())


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    lines = lines_of(path, _WHAT)
    if kind := _other_kind([line for _, line in lines]):
        raise ValueError(f"{path} {kind}")
    for number, line in lines:
        if line.startswith("#"):
            log.warning("%s, line %d is a prompt like any other: %s", path, number, line[:60])
        if match := _ENDS.search(line):
            raise ValueError(
                f"{path}, line {number}: it holds U+{ord(match[0]):04X}, at which some programs "
                f"end a line: {line[: match.end() + 20]!r}; put a line feed or a space there"
            )
        yield f"{path}, line {number}", line


def _other_kind(lines: list[str]) -> str:
    """What else a list of lines plainly is, whose name says that it is one of texts."""
    keys = {*TEXTS, "segments"}
    objects = [
        item for item in (_value(line) for line in lines if line[0] == "{") if item is not None
    ]
    objects = [item for item in objects if keys & item.keys()]
    if objects and len(objects) == len(lines):
        return "holds JSON, an object a line; name it .jsonl, so that their texts are read"
    if lines and lines[0].startswith("[") and isinstance(_value("\n".join(lines)), list):
        return "holds a list in JSON; name it .json, so that its texts are read"
    for mark, suffix in ((",", ".csv"), (";", ".csv"), ("\t", ".tsv")):
        cells = {cell.strip(' "').lower() for cell in (lines or [""])[0].split(mark)}
        if len(lines) > 1 and cells <= {*keys, *_BESIDE} and cells & keys - {"text"}:
            return f"begins with the columns of a table; name it {suffix}, or take that line out"
    return ""


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    return _entries(path, read_json_file(path, _WHAT, literal=True))


def _yaml(path: Path) -> Iterator[tuple[str, Any]]:
    return _entries(path, yaml_of(path, _WHAT, literal=True))


def _entries(path: Path, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, list):
        kind = "a mapping" if isinstance(value, dict) else repr(value)[:60]
        raise ValueError(f"{path} must hold a list of prompts at its top, and holds {kind}")
    return ((f"{path}, entry {i}", entry) for i, entry in enumerate(value, 1))


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    values = json_lines_of(path, _WHAT, literal=True)
    return ((f"{path}, line {number}", value) for number, value in values)


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    table = table_of(path, what=_WHAT)
    if not any(spelt(name, _READ) in (*TEXTS, "segments") for name in table.columns):
        raise ValueError(
            f"{path}: its first line names no column {', '.join(TEXTS)} or segments; it is "
            f"{', '.join(table.columns)[:200]!r}"
        )
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
        return Prompt(where, script_name(script), script, False)
    row = {spelt(key, _READ) if isinstance(key, str) else key: row[key] for key in row} | {
        key: row[key] for key in _READ if key in row
    }
    keys = [key for key in TEXTS if key in row]
    if row.get("segments"):
        script = script_of(row["segments"], f"{where}: segments")
    elif keys:
        script = ((0.0, text_from(row[keys[0]], f"{where}: {keys[0]}")),)
    else:
        raise ValueError(
            f"{where}: it has none of {', '.join(TEXTS)} and segments; it has "
            f"{', '.join(map(str, row)) or 'nothing'}"
        )
    image = _image(where, row)
    label = row.get("prompt_id")
    if label is None or label == "":
        return Prompt(where, script_name(script), script, False, image)
    name = composed(label) if isinstance(label, str) and len(label) <= 4 * _MOST_NAME else ""
    plain = all(c.isalnum() or c in "-_." for c in name) and not name.startswith(".")
    if not (name and plain and len(name.encode()) <= _MOST_NAME):
        raise ValueError(
            f"{where}: prompt_id {repr(label)[:80]} must name files: at most {_MOST_NAME} bytes "
            f"of letters, digits, hyphens, underlines and dots, the first no dot"
        )
    return Prompt(where, name, script, True, image)


def _image(where: str, row: dict[str, Any]) -> str:
    image = row.get("image")
    if image is None or image == "":
        return ""
    if not isinstance(image, str) or "\0" in image:
        raise ValueError(f"{where}: image {repr(image)[:80]} must be the path of a picture")
    return image
