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
    required = []
    if settings.get("checkpoint"):
        required.append(_file("network", str(settings["checkpoint"])))
    weights = _mapping(settings.get("weights"))
    updates = lora_files(weights.get("lora"), weights.get("lora_alpha"))
    required += [_file("LoRA", update.path) for update in updates]
    for what in ("codec", "text", "image_encoder"):
        folders = _mapping(settings.get(what)).get("folder")
        if folders is not None:
            required.append(_part(what, [folders] if isinstance(folders, str) else list(folders)))
    return required


def missing(wanted: Iterable[Need]) -> str:
    """What is not there, and the commands that get it; empty if nothing lacks."""
    lacking = [need for need in wanted if not need.there]
    if not lacking:
        return ""
    paths = [path for need in lacking for path in need.paths]
    more = f" and {len(paths) - _TOLD} more" if len(paths) > _TOLD else ""
    said = f"{', '.join(paths[:_TOLD])}{more} not found"
    return f"{said}; get it by: {got}" if (got := " && ".join(commands(lacking))) else said


def commands(lacking: Iterable[Need]) -> list[str]:
    """What downloads all of this, one command for a repository."""
    files: dict[Release, list[str]] = {}
    for need in lacking:
        if need.release is not None:
            files.setdefault(need.release, []).extend(need.files)
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
    match = release_of(path)
    if match is not None:
        return match[0].repository.startswith("Wan-AI/")
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
    match = release_of(path)
    exists = expanded(path).exists()
    if match is not None and not match[1] and match[0].network:
        exists = all(_has(path, file) for file in match[0].network)
        return Need(what, (path,), exists, match[0], match[0].network)
    if match is None or not match[1]:
        return Need(what, (path,), exists, None, ())
    return Need(what, (path,), exists, match[0], (match[1],))


def _part(what: str, folders: Sequence[str]) -> Need:
    """The first folder that has it all; else the first of all."""
    for folder in folders:
        match = release_of(folder)
        files = getattr(match[0], what) if match else ()
        if expanded(folder).is_dir() and all(_has(folder, file) for file in files):
            return Need(what, (folder,), True, match[0] if match else None, files)
    match = release_of(folders[0])
    if match is None:
        return Need(what, (folders[0],), False, None, ())
    files = tuple(file for file in getattr(match[0], what) if not _has(folders[0], file))
    return Need(what, tuple(f"{folders[0]}/{file}" for file in files), False, match[0], files)


def _has(folder: str, pattern: str) -> bool:
    return any(expanded(folder).glob(pattern))


def gigabytes(size: int | None) -> str:
    """A size for people.

    >>> gigabytes(507609880), gigabytes(None)
    ('0.51 GB', 'unknown')
    """
    return "unknown" if size is None else f"{size / _GB:.2f} GB"
