"""Whether settings are what a command's schema says, told of the first that is not."""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Annotated, Any

from cf.files.atomic import check_writable
from cf.files.text import existing_file
from cf.settings.build import Settings, check
from cf.settings.hints import fault, wanted
from cf.settings.kinds import Device
from cf.settings.schema import COMMANDS, NAMED_GROUPS, OPTIONAL

_ALIKE, _NEAREST = 0.6, 3
"""How like the last part of a name is to that of one that may be meant; how many are named."""


def check_settings(command: str, settings: Settings, groups: list[str], deep: bool = True) -> None:
    """Raise a ValueError at the first setting that is unknown, missing or cannot be.

    Args:
        command: its name, as in `python -m cf.NAME`.
        settings: all that it is given.
        groups: names of the groups; their classes say what their settings may be.
        deep: whether to look into them.
    """
    schema = COMMANDS[command]
    lacking = getattr(schema, "lacking", None)
    if lacking is not None and (message := lacking(settings)):
        raise ValueError(message)
    unread: set[str] = getattr(schema, "unread", lambda _: set())(settings)
    looked_at = {name: value for name, value in settings.items() if name not in unread}
    _fields(schema, looked_at, "", groups)
    for name in groups if deep else ():
        if isinstance(settings.get(name), dict):
            _described(settings[name], name)
            check(_each_alone(settings[name]), name)
    for method in ("unused", "contradiction") if deep else ("contradiction",):
        said = getattr(schema, method, None)
        if said is not None and (message := said(settings)):
            raise ValueError(message)


def _described(group: Settings, where: str) -> None:
    """Raise a ValueError if a thing of a group of things is a number or a text."""
    for name, value in group.items() if where in NAMED_GROUPS else ():
        if not isinstance(value, dict | None):
            raise ValueError(
                f"{where}.{name}={value!r} describes nothing; give what it is, {where}.{name}="
                f"{{_target_: ...}}, or choose one of the group {where}=NAME"
            )


def _each_alone(group: Settings) -> Settings:
    """The group with a contestant of several trainings as each of them is built (`cf.bench`)."""
    several = {
        name: {**options, "checkpoint": options["checkpoint"][0]}
        for name, options in group.items()
        if isinstance(options, dict)
        and isinstance(options.get("checkpoint"), list)
        and options["checkpoint"]
    }
    return {**group, **several}


def _fields(schema: type, settings: Settings, at: str, groups: list[str]) -> None:
    hints = typing.get_type_hints(schema, include_extras=True)
    for name in settings:
        if name not in hints and name not in groups:
            raise ValueError(
                unknown_setting(f"{at}{name}", [at + key for key in (*hints, *groups)])
            )
    for name in (field.name for field in fields(schema)):
        if name in settings and not (name in groups and isinstance(settings[name], dict)):
            _setting(hints[name], settings[name], at + name)


def _setting(hint: Any, value: Any, name: str) -> None:
    if value == "???":
        if name in OPTIONAL:
            return
        raise ValueError(f"{name} must be given: {name}=...{_like(hint)}")
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise ValueError(
                f"{name} must be given by its parts, {name}.{_first(hint)}=...; got {value!r}"
            )
        _fields(hint, value, f"{name}.", [])
        return
    if isinstance(value, dict) and value.get("_target_"):
        return
    if message := fault(value, hint):
        raise ValueError(f"{name} must be {message}, got {value!r}")
    for kind, leaf in _leaves(hint, value):
        if kind is Device:
            _device(leaf, name)
        elif kind == "written":
            check_writable(Path(leaf))
        else:
            present(leaf, kind, name, _words(hint))


def unknown_setting(name: str, known: list[str]) -> str:
    """That there is no such setting, and which come nearest, or else which stand in its place."""
    last = _last(name)
    close = [
        key
        for key in get_close_matches(name, known, len(known) or 1, 0.75)
        if SequenceMatcher(None, _last(key), last).ratio() >= _ALIKE
    ]
    near = [*dict.fromkeys([*close, *(key for key in known if _last(key) == last)])][:_NEAREST]
    if near:
        return f"there is no setting {name!r}; did you mean {' or '.join(near)}?"
    outer = name
    while outer and outer not in known:
        outer = outer.rpartition(".")[0]
    beside = [key for key in known if key.rpartition(".")[0] == outer] or known
    return f"there is no setting {name!r}; there are {', '.join(beside[:30])}"


def _last(name: str) -> str:
    """The last of a name's parts."""
    return name.rpartition(".")[2]


def misplaced(command: str, settings: Sequence[str], error: str) -> str:
    """What Hydra's error says of a value of another kind than stands there; empty: another error.

    Args:
        command: its name, as in `python -m cf.NAME`.
        settings: as they are given, `name=value`.
        error: Hydra's message.
    """
    if "Config group override must be a string" in error:  # it does not say of which
        numbers = [
            text for text in settings if re.fullmatch(r"[+]*[\w/@.]+=(-?[\d.]+|true|false)", text)
        ]
        return f"{' or '.join(numbers)}: the option of a group is a name, or a list of names"
    _, separator, setting = error.partition("Error merging override ")
    if not separator:
        return ""
    name, _, value = setting.lstrip("+~").partition("=")
    if setting.startswith(("+", "~")) and not setting.startswith("++"):
        return present_already(name) if setting[0] == "+" else f"~{name}: it cannot be taken out"
    if kind := kind_of(command, name):
        return f"{name} must be {kind}, got {value}"
    kinds = ("a list", "a mapping") if value.startswith("{") else ("a mapping", "a list")
    return f"{name} must be {kinds[0]} and not {kinds[1]}, got {value}"


def kind_of(command: str, name: str) -> str:
    """What a setting of a command's own takes, in words; empty for those of groups."""
    hints = typing.get_type_hints(COMMANDS.get(command, object), include_extras=True)
    return wanted(hints[name]) if name in hints else ""


def present_already(name: str) -> str:
    """What is told of `+name`, which adds what there is not."""
    return f"there is a setting {name} already, and + adds new ones; write {name}=..."


def present(path: str, kind: str, name: str, words: Sequence[str] = ()) -> None:
    """Raise a ValueError unless there is a file or a folder there that can be read.

    Args:
        path: as it is given.
        kind: what has to be there, in words.
        name: of the setting.
        words: that the setting takes in place of a path.
    """
    place = Path(path)
    try:
        if place.is_dir() and "folder" not in kind:
            raise ValueError("a folder, and a file is wanted")
        if "file" not in kind and place.is_file():
            raise ValueError("a file, and a folder is wanted")
        if not place.is_dir():
            existing_file(place, kind.split(" of ")[0])
        if not os.access(place, os.R_OK):
            raise ValueError("you may not read it; see its permissions")
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{name}={path} is not {'the' if 'of' in kind else 'a'} {kind}: {error}"
            + "".join(f"; it takes the word {word} too" for word in words)
        ) from None


def _device(value: str, name: str) -> None:
    if value in ("auto", "cpu"):
        return
    import torch

    have = ["auto", "cpu"]
    if torch.cuda.is_available():
        have += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if value not in have:
        raise ValueError(
            f"{name}={value}: there is no such device here; there are {', '.join(have)}"
        )


def _leaves(hint: Any, value: Any) -> Iterator[tuple[Any, str]]:
    """The devices and the paths that must exist, within a value that fits."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Device:
        yield Device, value
    elif origin is Annotated:
        yield from ((kind, value) for kind in args[1:] if type(kind) is str)
        yield from _leaves(args[0], value)
    elif origin is list:
        yield from (leaf for item in value for leaf in _leaves(args[0], item))
    elif origin is dict:
        yield from (leaf for item in value.values() for leaf in _leaves(args[1], item))
    elif origin in (typing.Union, types.UnionType):
        fitting = [member for member in args if not fault(value, member)]
        if any(typing.get_origin(member) is typing.Literal for member in fitting):
            return  # a word, which names no file
        yield from (leaf for member in fitting for leaf in _leaves(member, value))


def _words(hint: Any) -> list[str]:
    """The words that stand for an annotation."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return [str(word) for word in args]
    return [word for arg in args for word in _words(arg)]


def _first(schema: type) -> str:
    return fields(schema)[0].name


def _like(hint: Any) -> str:
    kinds = [kind for kind in getattr(hint, "__metadata__", ()) if type(kind) is str]
    return f" (a {kinds[0]})" if kinds else ""
