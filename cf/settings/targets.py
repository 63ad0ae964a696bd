"""What a name in settings means, found without running anything foreign; what a place takes."""

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cf

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_BUILT = ("cf.", "lightning.", "torch.optim.")
"""Where the classes come from that settings describe objects of."""


def class_of(target: str) -> Any:
    """The class of that name if this package defines it; nothing but this package is imported."""
    parts = target.split(".")
    if len(parts) < 3 or parts[0] != "cf" or not all(map(_NAME.fullmatch, parts)):
        return None
    *package, module, name = parts
    folder = Path(cf.__file__).parents[1].joinpath(*package)
    if not ((folder / f"{module}.py").is_file() or (folder / module).is_dir()):
        return None
    candidate = getattr(import_module(".".join([*package, module])), name, None)
    if not isinstance(candidate, type) or candidate.__module__.split(".")[0] != "cf":
        return None
    home = vars(import_module(candidate.__module__))
    return candidate if home.get(candidate.__qualname__) is candidate else None


def function_of(target: str) -> Callable[..., Any]:
    """A function of this package by its name, which the caller has found harmless."""
    owner, _, name = target.rpartition(".")
    scope: Any = class_of(owner) or import_module(owner)
    return typing.cast(Callable[..., Any], getattr(scope, name))


def kinds_of(hint: Any) -> list[tuple[type, bool]]:
    """Classes that a place takes, and whether it takes what makes one later."""
    if isinstance(hint, type) and hint.__module__.startswith(_BUILT):
        return [(hint, False)]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [kind for arg in args for kind in kinds_of(arg)]
    if origin is Callable:
        return [(kind, True) for kind, _ in kinds_of(args[-1])]
    return []


def element_of(hint: Any) -> Any:
    """What a list or a mapping of that kind holds; None if that is no object."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(element_of(arg) or type(None) for arg in args)]  # noqa: UP007
    if not isinstance(origin, type) or not issubclass(origin, Sequence | Mapping):
        return None
    return args[-1] if issubclass(origin, Mapping) else args[0]
