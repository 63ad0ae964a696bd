"""From a Hydra configuration to objects, with mistakes told in one line."""

import inspect
import os
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cf.processes import end_with_parent

Settings = dict[str, Any]


def plain(cfg: DictConfig) -> Settings:
    """The resolved configuration as a dictionary; `???` where a value is missing."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return typing.cast(Settings, container)


def build(settings: Settings, where: str, **overrides: Any) -> Any:
    """The object that `settings` describes, its values checked against the signature first.

    Attributes:
        where: the group's name, for messages.
        overrides: objects that take the place of settings, as they are.

    Raises:
        ValueError: an unknown setting, a missing one, or a value of the wrong kind.
    """
    check(settings, where)
    rest = {name: value for name, value in settings.items() if name not in overrides}
    if overrides:
        rest["_partial_"] = True
    try:
        made = instantiate(rest, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError | OSError | ImportError):
            raise error.__cause__ from None
        raise
    if not overrides:
        return made
    try:
        return made(**overrides)
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        raise InstantiationException(f"{where}: {error}") from error


def check(settings: Any, where: str) -> None:
    """Raise a ValueError if a setting is unknown, missing or of the wrong kind, at any depth."""
    if isinstance(settings, Sequence) and not isinstance(settings, str):
        for i, one in enumerate(settings):
            check(one, f"{where}.{i}")
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        if value == "???":
            raise ValueError(f"{where}.{name} must be given: {where}.{name}=...")
        check(value, f"{where}.{name}")
    if "_target_" in settings:
        _check_call(settings, where)


def _check_call(settings: Settings, where: str) -> None:
    target = get_method(settings["_target_"])
    signature = inspect.signature(target)
    hints = typing.get_type_hints(_initialiser(target) if isinstance(target, type) else target)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    for name, value in settings.items():
        if name.startswith("_"):
            continue
        if name not in signature.parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            known = ", ".join(signature.parameters) or "none"
            raise ValueError(f"{where} has no setting {name!r}; it has {known}")
        if name in hints and not _fits(value, hints[name]):
            raise ValueError(f"{where}.{name} must be {_wanted(hints[name])}, got {value!r}")


def _initialiser(cls: type) -> Any:
    return next(vars(one)["__init__"] for one in cls.__mro__ if "__init__" in vars(one))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value can stand for `hint`; kinds that YAML cannot write always fit."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is typing.Literal:
        return value in args
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (None, type(None)):
        return value is None
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        inner = [one for one in args if one is not Ellipsis] or [Any]
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value)
    return isinstance(value, dict) or not isinstance(hint, type) or hint in (object, Any)


def _wanted(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_wanted(one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if hint in (None, type(None)):
        return "null"
    if typing.get_origin(hint):
        return "a list of " + " / ".join(_wanted(one) for one in typing.get_args(hint)[:1])
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")


@contextmanager
def told(command: str) -> Iterator[None]:
    """Turn a user's mistake into one message and exit status 1; HYDRA_FULL_ERROR=1 shows where.

    A launcher's worker ends with whoever launched it.
    """
    end_with_parent()
    mistakes = (
        ValueError,
        OSError,
        ImportError,
        ArithmeticError,
        HydraException,
        OmegaConfBaseException,
    )
    try:
        yield
    except mistakes as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        if isinstance(error, MissingMandatoryValue):
            message = f"{error.full_key} must be given: {error.full_key}=..."
        else:
            message = str(error).split("\n    full_key")[0]
        sys.stderr.write(f"\n{command}: {message}\n")
        sys.exit(1)
