"""Which published files settings read, whether they are there, and what gets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cf.files.home import expanded
from cf.models.repositories import RELEASES, ROOT, Release
from cf.models.updates import lora_files

_GB, _TOLD, _LARGEST_CONFIG = 10**9, 3, 2**16


@dataclass(frozen=True)
class Need:
    """A file, or files for one purpose, that settings read.

    Attributes:
        what: network, LoRA, codec, text or image_encoder.
        paths: where they are, or would be looked for.
        there: whether they are.
        release: whose they are; None: not known here.
        files: of the release, that are wanted.
    """

    what: str
    paths: tuple[str, ...]
    there: bool
    release: Release | None
    files: tuple[str, ...]


def needs(settings: Mapping[str, Any]) -> list[Need]:
    """The published files that a generator of these settings reads: its network's first."""
    found = []
    if settings.get("checkpoint"):
        found.append(_file("network", str(settings["checkpoint"])))
    weights = _mapping(settings.get("weights"))
    updates = lora_files(weights.get("lora"), weights.get("lora_alpha"))
    found += [_file("LoRA", one.path) for one in updates]
    for what in ("codec", "text", "image_encoder"):
        folders = _mapping(settings.get(what)).get("folder")
        if folders is not None:
            found.append(_part(what, [folders] if isinstance(folders, str) else list(folders)))
    return found


def missing(wanted: Iterable[Need]) -> str:
    """What is not there, and the commands that get it; empty if nothing lacks."""
    lacking = [one for one in wanted if not one.there]
    if not lacking:
        return ""
    paths = [path for one in lacking for path in one.paths]
    rest = f" and {len(paths) - _TOLD} more" if len(paths) > _TOLD else ""
    said = f"{', '.join(paths[:_TOLD])}{rest} not found"
    return f"{said}; get it by: {got}" if (got := " && ".join(commands(lacking))) else said


def commands(lacking: Iterable[Need]) -> list[str]:
    """What downloads all of this, one command for a repository."""
    files: dict[Release, list[str]] = {}
    for one in lacking:
        if one.release is not None:
            files.setdefault(one.release, []).extend(one.files)
    return [release.command(dict.fromkeys(paths)) for release, paths in files.items()]


def update_of(path: str | Path) -> str:
    """The LoRA without which the network in this file is another model than the one released."""
    for release in RELEASES.values():
        for network, update in release.updates:
            if Path(path).name == Path(network).name:
                return str(Path(path).parent / Path(update).name)
    return ""


def is_base(path: str) -> bool:
    """Whether these are weights of Wan2.1 itself, trained on whole clips and for many steps."""
    known = release_of(path)
    if known is not None:
        return known[0].repository.startswith("Wan-AI/")
    place = expanded(path)
    said = (place if place.is_dir() else place.parent) / "config.json"
    if not said.is_file() or said.stat().st_size > _LARGEST_CONFIG:
        return False
    return '"WanModel"' in said.read_text(errors="replace")


def release_of(path: str) -> tuple[Release, str] | None:
    """The release of which a path is a file as it is downloaded, and that file."""
    parts = Path(path).parts
    for i, part in enumerate(parts):
        if part in RELEASES and i and parts[i - 1] == ROOT:
            return RELEASES[part], "/".join(parts[i + 1 :])
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _file(what: str, path: str) -> Need:
    known = release_of(path)
    there = expanded(path).exists()
    if known is not None and not known[1] and known[0].network:
        there = all(_has(path, one) for one in known[0].network)
        return Need(what, (path,), there, known[0], known[0].network)
    if known is None or not known[1]:
        return Need(what, (path,), there, None, ())
    return Need(what, (path,), there, known[0], (known[1],))


def _part(what: str, folders: Sequence[str]) -> Need:
    """The first folder that has it all; else the first of all."""
    for folder in folders:
        known = release_of(folder)
        files = getattr(known[0], what) if known else ()
        if expanded(folder).is_dir() and all(_has(folder, one) for one in files):
            return Need(what, (folder,), True, known[0] if known else None, files)
    known = release_of(folders[0])
    if known is None:
        return Need(what, (folders[0],), False, None, ())
    files = tuple(one for one in getattr(known[0], what) if not _has(folders[0], one))
    return Need(what, tuple(f"{folders[0]}/{one}" for one in files), False, known[0], files)


def _has(folder: str, pattern: str) -> bool:
    return any(expanded(folder).glob(pattern))


def gigabytes(size: int | None) -> str:
    """A size for people.

    >>> gigabytes(507609880), gigabytes(None)
    ('0.51 GB', 'unknown')
    """
    return "unknown" if size is None else f"{size / _GB:.2f} GB"
