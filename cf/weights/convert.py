"""Settings of `python -m cf.weights convert`, as they are typed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cf.models.convert import convert

_TEXTS = ("to", "out", "container", "dtype")
_NUMBERS: dict[str, type] = {"lora_alpha": float, "num_heads": int}
_KINDS = {float: "a number", int: "a whole number"}


def converted(source: str, settings: Sequence[str]) -> list[Path]:
    """What `convert` writes of a source, as settings of the form name=value say.

    Raises:
        ValueError: if a setting is unknown, is no such value, or lacks.
    """
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in (*_TEXTS, *_NUMBERS, "lora"):
            names = ", ".join((*_TEXTS, "lora", *_NUMBERS))
            raise ValueError(f"convert takes no {name!r}; it takes {names}, as in to=diffusers")
        if name in _NUMBERS:
            try:
                options[name] = _NUMBERS[name](value)
            except ValueError:
                kind = _KINDS[_NUMBERS[name]]
                raise ValueError(f"{name} must be {kind}, got {value!r}") from None
        elif name == "lora":
            options.setdefault(name, []).append(value)
        else:
            options[name] = value
    for name, example in (("to", "to=diffusers"), ("out", "out=FOLDER")):
        if name not in options:
            raise ValueError(f"give {name}=, as in {example}")
    return convert(source, **options)
