"""What a value must be to stand for an annotation, and how that is told."""

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Within:
    """Bounds of a number, for `Annotated[int, Within(1, 8)]`; `above` itself is outside."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf

    def holds(self, value: Any) -> bool:
        """Whether a number lies within them; what is no number is for others to judge."""
        return isinstance(value, bool | str | None) or (
            self.least <= value <= self.most and value > self.above
        )

    def __str__(self) -> str:
        low = f"above {self.above:g}" if self.above > self.least else f"from {self.least:g}"
        if max(self.least, self.above) == -math.inf:
            return f"up to {_figure(self.most)}"
        return low if self.most == math.inf else f"{low} to {_figure(self.most)}"


class Form(str):
    """How a value is written, for `Annotated[..., Form("[height,width]")]`."""


def _figure(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def hints_of(target: Any) -> dict[str, Any]:
    """The annotations of what a class or a function takes, by name."""
    if isinstance(target, type):
        owner = next(base for base in target.__mro__ if "__init__" in vars(base))
        generated = "__dataclass_params__" in vars(owner)
        # A field's annotation is of the module of the class that declares it: bases have their own.
        target = owner if generated else vars(owner)["__init__"]
    return typing.get_type_hints(target, include_extras=True)


def fault(value: Any, hint: Any) -> str:
    """What a value must be if it cannot stand for `hint`; empty if it can."""
    return "" if _fits(value, hint) else wanted(hint)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value can stand for `hint`; kinds that YAML cannot write always fit."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        limits = [limit for limit in args[1:] if isinstance(limit, Within)]
        return _fits(value, args[0]) and all(limit.holds(value) for limit in limits)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, member) for member in args)
    if origin is typing.Literal:
        return value in args
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and not math.isnan(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is bool or (isinstance(hint, type) and issubclass(hint, str)):
        return isinstance(value, bool if hint is bool else str)
    if hint is Path:
        return isinstance(value, str) and value != ""
    if hint in (None, type(None)):
        return value is None
    if origin is tuple and Ellipsis not in args:
        pairs = zip(value, args, strict=False) if isinstance(value, list | tuple) else ()
        return len(args) == len(list(pairs)) == len(value) and all(
            _fits(item, kind) for item, kind in zip(value, args, strict=True)
        )
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        inner = [arg for arg in args if arg is not Ellipsis] or [Any]
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(item, args[1]) for item in value.values())
    return isinstance(value, dict) or not isinstance(hint, type) or hint in (object, Any)


def wanted(hint: Any) -> str:
    """What a value for `hint` is, in words."""
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    names |= {Path: "a path", dict: "a mapping", list: "a list", Any: "a value"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        forms = [str(form) for form in args[1:] if isinstance(form, Form)]
        if forms:
            return forms[0]
        limits = [str(limit) for limit in args[1:] if isinstance(limit, Within)]
        return " ".join([wanted(args[0]), *limits])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(wanted(arg) for arg in args)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, args))
    if hint in (None, type(None)):
        return "null"
    if origin is tuple and Ellipsis not in args:
        return "a list of " + " and ".join(wanted(arg) for arg in args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{name: {wanted(args[1])}, ...}}"
    if origin:
        return "a list of " + " / ".join(wanted(arg) for arg in args[:1])
    return getattr(hint, "WANTED", None) or names.get(hint, f"a {getattr(hint, '__name__', hint)}")
