"""From a Hydra configuration to objects, with mistakes in their settings told in one line."""

import inspect
import re
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.utils import _locate
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cf.settings.hints import fault, hints_of
from cf.settings.literal import literally, with_home
from cf.settings.mistakes import forgotten_init
from cf.settings.renamed import with_current_names

Settings = dict[str, Any]


def to_settings(cfg: DictConfig) -> Settings:
    """The resolved configuration as a dictionary; `???` where a value is missing."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return typing.cast(Settings, with_current_names(with_home(container)))


def escaped(settings: Any) -> Any:
    """The same for OmegaConf to read again: a text that holds `${` is no reference."""
    return with_texts(settings, literally)


def with_texts(settings: Any, change: Callable[[str], str]) -> Any:
    """The settings with every text changed, at any depth; all sequences are lists."""
    if isinstance(settings, dict):
        return {name: with_texts(value, change) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [with_texts(value, change) for value in settings]
    return change(settings) if isinstance(settings, str) else settings


def build(settings: Settings, where: str, **overrides: Any) -> Any:
    """Build the object that `settings` describe; check its values against the signature first.

    Args:
        settings: `_target_` and the arguments, objects to build among them.
        where: the group's name, for messages.
        **overrides: objects that take the place of settings.

    Raises:
        ValueError: an unknown setting, a missing one, or a value of the wrong kind.
    """
    arguments = {name: value for name, value in settings.items() if name not in overrides}
    check(arguments, where)
    arguments |= {"_partial_": True} if overrides else {}
    try:
        instance = instantiate(escaped(escaped(arguments)), _convert_="all")  # Hydra resolves twice
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | OSError | ImportError):
            # What lies within may stand elsewhere in what the user gave, which refers to it.
            within = "full_key: " in str(error)
            raise (cause if within else _placed(cause, settings, where)) from None
        raise
    if overrides:
        try:
            instance = instance(**overrides)
        except (ValueError, OSError, ImportError) as error:
            raise _placed(error, settings, where) from None
        except Exception as error:
            raise InstantiationException(f"{where}: {error}") from error
    if message := forgotten_init(instance):
        raise ValueError(f"{where}: {message}")
    return instance


def _placed(error: Exception, settings: Settings, where: str) -> Exception:
    """A mistake that begins with the name of a setting, with the group's name before it."""
    first = re.match(r"\w+", str(error))
    if type(error) is not ValueError or first is None or first[0] not in settings:
        return error
    return ValueError(f"{where}.{error}")


def check(settings: Any, where: str) -> None:
    """Raise a ValueError if a setting is unknown, missing or of the wrong kind, at any depth."""
    if isinstance(settings, Sequence) and not isinstance(settings, str):
        for i, item in enumerate(settings):
            check(item, f"{where}.{i}")
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        if value == "???":
            # An export repeats the settings that it is made of; these are what a user gives.
            key = f"{where}.{name}".removeprefix("callbacks.export.config.")
            raise ValueError(f"{key} must be given: {key}=...")
        check(value, f"{where}.{name}")
    if "_target_" in settings:
        _check_call(settings, where)


def _check_call(settings: Settings, where: str) -> None:
    try:
        target = _locate(str(settings["_target_"]))
    except ImportError as error:
        why = _lacking(str(settings["_target_"])) or " ".join(str(error).split())
        raise ValueError(f"{where}._target_ cannot be used: {why}") from None
    if lacking := sorted(getattr(target, "__abstractmethods__", ())):
        raise ValueError(
            f"{where}: {target.__name__} has no {' and no '.join(lacking)}; a class that derives "
            f"from {_declared_by(target, lacking[0])} must have it"
        )
    if called := _calls_for_properties(target):
        raise ValueError(
            f"{where}: {target.__name__}.{called} is read as a value; write @property above it"
        )
    signature = inspect.signature(target)
    hints = hints_of(target)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    for name, value in settings.items():
        if name.startswith("_"):
            continue
        if name not in signature.parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            names = ", ".join(signature.parameters) or "none"
            away = f"'~{where}.{name}' takes it out, where another option left it"
            raise ValueError(f"{where} has no setting {name!r}; it has {names}; {away}")
        if name in hints and (message := fault(value, hints[name])):
            raise ValueError(f"{where}.{name} must be {message}, got {value!r}")


def is_default(target: str, name: str, value: Any) -> bool:
    """Whether a setting is what its class or function takes where nothing is said.

    Args:
        target: dotted path of what is built.
        name: of the parameter.
        value: as settings hold it, sequences as lists.
    """
    try:
        parameter = inspect.signature(_locate(target)).parameters.get(name)
    except ImportError:
        return False
    default = parameter.default if parameter else inspect.Parameter.empty
    return bool((list(default) if isinstance(default, tuple) else default) == value)


def _lacking(path: str) -> str:
    """What a module that could be imported has instead of the name that is asked of it."""
    module, _, name = path.rpartition(".")
    if module not in sys.modules:
        return ""
    members = vars(sys.modules[module]).items()
    names = [
        key for key, value in members if isinstance(value, type) and value.__module__ == module
    ]
    return f"{module} has no {name!r}; it has {', '.join(names) or 'no class'}"


def _calls_for_properties(target: Any) -> str:
    """A method of a class whose base has a property of that name; empty if there is none."""
    if not isinstance(target, type):
        return ""
    methods = [name for name, member in vars(target).items() if inspect.isfunction(member)]
    bases = target.__mro__[1:]
    return next(
        (n for n in methods if any(isinstance(vars(b).get(n), property) for b in bases)), ""
    )


def _declared_by(target: type, method: str) -> str:
    return next(base.__name__ for base in reversed(target.__mro__) if method in vars(base))
