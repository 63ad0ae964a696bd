"""Paths in a run's settings: of its own folder, or found again when folders were moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cf.settings.build import Settings, with_texts

_OWN = "${folder}"  # as in the configuration files
_OUTSIDE = "outside"
# Settings that hold a path; one that is relative is so to the folder where the command was given.
_PATHS = ("folder", "path", "file", "lora", "dirpath")


def absolute(settings: Any) -> Any:
    """The settings, with every path that leads to something made absolute."""
    if isinstance(settings, list):
        return [absolute(value) for value in settings]
    if not isinstance(settings, dict):
        return settings
    paths = {name: with_texts(settings[name], _whole) for name in _PATHS if name in settings}
    return {**{name: absolute(value) for name, value in settings.items()}, **paths}


def _whole(path: str) -> str:
    return os.path.abspath(path) if os.path.exists(path) else path


def recorded(settings: Settings, folder: Path) -> Settings:
    """As written into the folder: what lies in it is told from it.

    What lies outside is told by its whole path and, under `outside`, from the folder too: a whole
    family of folders may be moved, or one of them.
    """
    outside: dict[str, str] = {}

    def tell(value: str) -> str:
        tail = _below(value, folder)
        if tail is None and os.path.isabs(value) and os.path.exists(value):
            outside[value] = os.path.relpath(value, folder)
        return value if tail is None else _OWN + tail

    record: Settings = with_texts({k: v for k, v in settings.items() if k != _OUTSIDE}, tell)
    return {**record, "folder": ".", **({_OUTSIDE: outside} if outside else {})}


def located(settings: Settings, folder: Path) -> Settings:
    """The settings that a folder holds, with every path as it is now that the folder is there.

    What lay outside is taken where it was or, if it is not there or holds other weights, where it
    now is seen from the folder. Runs of old hold the path at which they were begun instead.
    """
    begun = settings.get("folder")
    old = Path(begun) if isinstance(begun, str) and os.path.isabs(begun) else None
    outside = settings.get(_OUTSIDE) or {}

    def find(value: str) -> str:
        if value == _OWN or value.startswith(_OWN + "/"):
            return str(folder) + value[len(_OWN) :]
        tail = None if old is None else _below(value, old)
        return value if tail is None else str(folder) + tail

    def moved(value: Any) -> str | None:
        """Where something outside is seen from the folder."""
        if not isinstance(value, str):
            return None
        way = outside.get(value)
        if way is None and old is not None and os.path.isabs(value):
            way = os.path.relpath(value, old)
        target = None if way is None else os.path.normpath(folder / way)
        return target if target is not None and os.path.exists(target) else None

    current: Settings = with_texts({k: v for k, v in settings.items() if k != _OUTSIDE}, find)
    if old != folder:
        _move(current, moved)
    return {**current, "folder": str(folder)}


def same(mine: Any, theirs: Any, outside: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether two recorded values are one: equal, or the same way leads to them."""
    if mine == theirs or not (isinstance(mine, str) and isinstance(theirs, str)):
        return bool(mine == theirs)
    return mine in outside and outside[mine] == others.get(theirs)


def _move(settings: Any, moved: Callable[[Any], str | None]) -> None:
    """Exchange what is not where it was."""
    if isinstance(settings, list):
        for i, item in enumerate(settings):
            if isinstance(item, str) and not os.path.exists(item):
                settings[i] = moved(item) or item
            _move(settings[i], moved)
    if not isinstance(settings, dict):
        return
    if settings.get("sha256") and isinstance(settings.get("path"), str):
        _move_weights(settings, moved)
        return
    for name, value in settings.items():
        if isinstance(value, str) and not os.path.exists(value):
            settings[name] = moved(value) or value
        _move(settings[name], moved)


def _move_weights(settings: Settings, moved: Callable[[Any], str | None]) -> None:
    """Weights and their updates are those whose hash was written down."""
    from cf.models.start import is_same

    saved = {name: settings[name] for name in ("path", "lora") if settings.get(name) is not None}
    current = with_texts(saved, lambda path: moved(path) or path)
    alpha = settings.get("lora_alpha")
    with suppress(ValueError, OSError):  # of those that are not there, `with_weights` tells
        if is_same(current["path"], settings["sha256"], current.get("lora"), alpha):
            settings.update(current)


def _below(value: str, folder: Path) -> str | None:
    """What follows the folder in a path; None if it does not lie there."""
    text = str(folder)
    return value[len(text) :] if value == text or value.startswith(text + "/") else None
