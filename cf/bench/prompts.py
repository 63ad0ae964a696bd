"""Videos of texts: prompt lists as they are published, or of one's own, with switches."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cf.bench.asked import Asked, Item, Terms

Script = tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Prompts(Asked):
    """Videos of the prompts in a file.

    The file is VBench's json (`prompt_en` or `prompt`), plain text (a prompt a line), csv (a
    column `prompt` or `text`, and perhaps `prompt_id`), or jsonl (`text`, or `segments` of
    `[seconds, text]`). A prompt that comes twice is taken once.

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

    def items(self) -> list[Item]:
        """Prompts in the order of the file, seeds within.

        Raises:
            ValueError: if the file holds fewer prompts than are asked for.
        """
        scripts = read_prompts(self.file)
        if self.count is not None:
            if not 0 < self.count <= len(scripts):
                raise ValueError(
                    f"{self.file} holds {len(scripts)} prompts, of which count={self.count} cannot "
                    f"be drawn; give a count between 1 and {len(scripts)}"
                )
            drawn = np.random.default_rng(self.draw_seed).choice(
                len(scripts), self.count, replace=False
            )
            scripts = {name: scripts[name] for name in (list(scripts)[i] for i in sorted(drawn))}
        return [
            Item(f"{name}-{seed}", name, seed, script)
            for name, script in scripts.items()
            for seed in self.seeds
        ]

    def terms(self) -> Terms | None:
        """As configured."""
        if self.fps is None or self.size is None:
            return None
        return Terms(self.fps, (self.size[0], self.size[1]))


def read_prompts(file: str | Path) -> dict[str, Script]:
    """Names and scripts of the prompts in a file, each once.

    Raises:
        ValueError: if the file is missing, of another kind, or holds no prompt.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(
            f"there is no prompt list {path}; give asked.file=... (docs/benchmark.md says where "
            f"each published list is had)"
        )
    readers = {".json": _json, ".jsonl": _jsonl, ".txt": _lines, ".csv": _csv}
    if path.suffix not in readers:
        raise ValueError(f"{path} must be one of {', '.join(readers)}, to be read as prompts")
    try:
        named = list(readers[path.suffix](path.read_text(encoding="utf-8-sig")))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a list of prompts: {error!r}") from error
    scripts: dict[str, Script] = {}
    for name, script in named:
        if not script or not all(text for _, text in script):
            continue
        if script[0][0] != 0 or any(a >= b for (a, _), (b, _) in itertools.pairwise(script)):
            raise ValueError(f"{path}: segments must begin at 0 and at rising seconds: {script}")
        scripts.setdefault(name or name_of(script), script)
    if not scripts:
        raise ValueError(f"{path} holds no prompt")
    return scripts


def name_of(script: Script) -> str:
    """Twelve hex digits: prompts make poor names of files.

    >>> name_of(((0.0, "a red fox"),))
    'pf742d0993d9'
    """
    text = json.dumps([list(act) for act in script])
    return "p" + hashlib.sha256(text.encode()).hexdigest()[:11]


def _lines(text: str) -> Iterable[tuple[str, Script]]:
    return (("", ((0.0, line.strip()),)) for line in text.splitlines() if line.strip())


def _json(text: str) -> Iterable[tuple[str, Script]]:
    return (_entry(one) for one in json.loads(text))


def _jsonl(text: str) -> Iterable[tuple[str, Script]]:
    return (_entry(json.loads(line)) for line in text.splitlines() if line.strip())


def _csv(text: str) -> Iterable[tuple[str, Script]]:
    return (_entry(row) for row in csv.DictReader(text.splitlines()))


def _entry(row: Any) -> tuple[str, Script]:
    if isinstance(row, str):
        return "", ((0.0, row.strip()),)
    name = str(row.get("prompt_id") or "")
    if any(not (c.isalnum() or c in "-_.") for c in name) or len(name) > 80:
        raise KeyError(f"prompt_id {name!r} cannot name a file")
    if row.get("segments"):
        return name, tuple((float(at), str(text).strip()) for at, text in row["segments"])
    key = next(key for key in ("text", "prompt_en", "prompt") if key in row)
    return name, ((0.0, str(row[key]).strip()),)
