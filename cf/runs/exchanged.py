"""Single values of a run's settings, exchanged while it was trained, and what it began with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cf.runs.relocation import absolute
from cf.settings.build import Settings

BEGUN_WITH = "begun_with"
"""Setting of `config.yaml`: name of an exchanged value -> what it was when the run began."""
# What objects are built from; the settings beside it were resolved into it when the run began.
_BUILT = ("data", "module", "callbacks", "trainer", "tensorboard", "hydra")


class Missing:
    """Where a setting is not."""


MISSING = Missing()


def exchange(settings: Settings, key: str, value: Any) -> None:
    """Exchange one value in all places that hold it, and keep what the run began with.

    Args:
        settings: of a run; they are changed.
        key: a dotted name.
        value: as typed; a path in it is made whole.

    Raises:
        ValueError: if it is not one of its values, or none that is read once more.
    """
    if isinstance(value_at(settings, key), dict | list | Missing):
        raise ValueError(
            f"a resumed run keeps its settings; only single values can be exchanged "
            f"(trainer.max_steps=2000), and {key} is not one of its values"
        )
    if isinstance(value_at(settings, _read_at(key)), Missing):
        raise ValueError(f"{key} is not read by a run that goes on; begin a new run with it")
    name = key.rpartition(".")[2]
    value = absolute({name: value})[name]
    began = {key: value_at(settings, key), **settings.get(BEGUN_WITH, {})}
    _put(settings, key, value)
    settings[BEGUN_WITH] = {name: was for name, was in began.items() if name != key or was != value}


def as_begun(settings: Settings) -> list[str]:
    """The names of the values that were exchanged; the settings become what the run began with.

    Args:
        settings: of a run; they are changed.
    """
    began = settings.pop(BEGUN_WITH, {})
    for key, value in began.items():
        _put(settings, key, value)
    return list(began)


def check_begun_with(settings: Settings, source: Path) -> None:
    """Take of a file what a run writes there, and nothing that names what is built.

    Raises:
        ValueError: if it holds something else.
    """
    began = settings.get(BEGUN_WITH, {})
    if not isinstance(began, dict) or not all(_plain(settings, *item) for item in began.items()):
        raise ValueError(f"{source}: {BEGUN_WITH} is not what a run writes there; delete it")


def value_at(settings: Any, key: str) -> Any:
    """The value of a dotted name; `MISSING` if there is none."""
    for name in key.split(".") if key else ():
        if isinstance(settings, list) and name.isdecimal() and int(name) < len(settings):
            settings = settings[int(name)]
        elif isinstance(settings, dict) and name in settings:
            settings = settings[name]
        else:
            return MISSING
    return settings


def _plain(settings: Settings, key: Any, value: Any) -> bool:
    if not isinstance(key, str) or any(part.startswith("_") for part in key.split(".")):
        return False
    return not any(isinstance(item, dict | Missing) for item in (value, value_at(settings, key)))


def _put(settings: Settings, key: str, value: Any) -> None:
    for place in _places(key):
        above, _, name = place.rpartition(".")
        holder = value_at(settings, above)
        if not isinstance(value_at(settings, place), Missing):
            holder[int(name) if isinstance(holder, list) else name] = value


def _places(key: str) -> Iterator[str]:
    yield from (key, _read_at(key), f"callbacks.export.config.{key}")


def _read_at(key: str) -> str:
    return key if key.split(".")[0] in _BUILT else f"module.{key}"
