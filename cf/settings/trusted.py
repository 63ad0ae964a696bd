"""Settings that a file carries: they are vetted here; those of a run also in `trusted_run`.

Whoever made the file decides what stands in it, so that it may only describe objects of this
package, each of a kind that its place wants. What the user types is the user's own affair.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cf.settings.build import Settings, build
from cf.settings.hints import hints_of
from cf.settings.renamed import with_current_names
from cf.settings.targets import class_of, element_of, function_of, kinds_of

if TYPE_CHECKING:
    from cf.models.weight_files import State

_MOST_VALUES, _DEEPEST, _LONGEST = 20_000, 32, 2**16
_LARGEST_OF_A_PART = 10**6
FACTORIES = (
    "cf.models.autoencoder.VideoAutoencoder.from_file",
    "cf.models.taehv.TAEHV.from_file",
    "cf.models.text.UMT5.from_folder",
    "cf.models.vae.WanVAE.from_folder",
)
"""What an export may call besides classes; they read weights and words from a model's folder."""


def read_vetted_export(path: str | Path, exchanged: Collection[str] = ()) -> tuple[Settings, State]:
    """Settings and weights of an exported network; the settings are vetted and can be built.

    Args:
        path: of the export.
        exchanged: parts that the user gives in place of the file's; these are left out.

    Raises:
        CheckpointError: if the file is missing, damaged, or not an export.
        ValueError: if it asks for what a file may not ask for.
    """
    from cf.models.checkpoints import read_export as read

    config, state = read(path)
    config = with_current_names({k: v for k, v in config.items() if k not in exchanged})
    if "memory" in exchanged and isinstance(config.get("rollout"), dict):
        config["rollout"] = {**config["rollout"], "memory": None}
    vet_export(config, f"the checkpoint {Path(path).name}")
    return config, state


def vet_export(config: Settings, source: str) -> None:
    """Refuse what the settings of an exported network may not ask for.

    Raises:
        ValueError: naming what it asks for, and the remedy.
    """
    from cf.models.base import Backbone
    from cf.models.codec import Codec
    from cf.models.text import TextEncoder
    from cf.rollout.blockwise import Rollout

    slots = {"model": Backbone, "codec": Codec, "text": TextEncoder, "rollout": Rollout}
    bound(config, source)
    for name in config.keys() & slots.keys():
        if not isinstance(config[name], dict):
            raise ValueError(f"{source} does not say what its {name} is")
        bound(config[name], source, _LARGEST_OF_A_PART)
    vetting = Vetting(source, FACTORIES)
    for name, value in config.items():
        vetting.vet(value, slots.get(name), name)
    fps, size = config.get("fps"), config.get("size")
    if fps is not None and not (_is_number(fps) and 0 < fps <= 1000):
        raise ValueError(f"{source} says fps {fps!r}; it must lie in (0, 1000]")
    is_pair = isinstance(size, list) and [type(side) for side in size] == [int, int]
    if size is not None and not (is_pair and all(0 < side <= 2**14 for side in size)):
        raise ValueError(f"{source} says size {size!r}; it must be [height, width] in pixels")


def vet_size(model: Settings, state: State, source: str) -> None:
    """Refuse a model that is larger than the weights it comes with, before memory is taken for it.

    Raises:
        ValueError: if it is.
    """
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook

    remaining = sum(weight.numel() for weight in state.values())

    def count(module: torch.nn.Module, name: str, parameter: torch.Tensor | None) -> None:
        nonlocal remaining
        remaining -= 0 if parameter is None else parameter.numel()
        if remaining < 0:
            raise ValueError(f"{source} describes a larger model than its weights make")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            build(model, "model")
    finally:
        hook.remove()


def bound(tree: Any, source: str, largest: int = 2**63) -> None:
    """Refuse settings that are too many, too deep, too long or large, or refer to something.

    Raises:
        ValueError: naming the setting.
    """
    for count, (where, value, depth) in enumerate(walk(tree)):
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise ValueError(
                f"{source} carries more than {_MOST_VALUES} settings, or deeper than {_DEEPEST}"
            )
        if isinstance(value, str) and (len(value) > _LONGEST or "${" in value):
            what = "refers to something else" if "${" in value else "is too long"
            raise ValueError(f"{source}: {where} {what}: {value[:60]!r}")
        if isinstance(value, int) and abs(value) > largest:
            raise ValueError(f"{source}: {where} is larger than {largest}")


def walk(tree: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value and every name; without recursion, whose depth is the file's to choose."""
    stack: list[tuple[str, Any, int]] = [("", tree, 0)]
    while stack:
        where, value, depth = stack.pop()
        yield where, value, depth
        if depth > _DEEPEST:
            return
        inner: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, dict):
            inner = value.items()
            stack += [(where, name, depth) for name in value]
        elif isinstance(value, list):
            inner = enumerate(value)
        stack += [(f"{where}.{name}"[-200:], child, depth + 1) for name, child in inner]


@dataclass(frozen=True)
class Vetting:
    """Goes through settings with the annotations of what they are given to.

    Attributes:
        source: what the settings stand in, for messages.
        factories: functions that may be called.
    """

    source: str
    factories: Sequence[str]

    def vet(self, value: Any, hint: Any, where: str) -> None:
        """Refuse a value that describes an object that does not belong in its place."""
        if isinstance(value, list):
            for i, item in enumerate(value):
                self.vet(item, element_of(hint), f"{where}.{i}")
        elif isinstance(value, dict) and "_target_" in value:
            self._vet_call(value, hint, where)
        elif isinstance(value, dict):
            if kinds_of(hint):
                raise ValueError(f"{self.source} does not say what its {where} is")
            for name, item in value.items():
                self._vet_key(name, where)
                self.vet(item, element_of(hint), f"{where}.{name}")

    def refusal(self, what: str, where: str = "") -> ValueError:
        """What is refused, and what to do."""
        # A rollout's parts are chosen by groups of their own: memory=..., schedule=...
        group = where.removeprefix("rollout.").split(".")[0]
        return ValueError(
            f"{self.source} asks for {what}; name it yourself ({group}=..., and --config-dir=... "
            f"where its yaml is in a folder of yours) if you trust it"
        )

    def _vet_call(self, value: Settings, hint: Any, where: str) -> None:
        target = value["_target_"]
        called, result_type = self._resolved(target, where)
        kinds = kinds_of(hint)
        if not any(issubclass(result_type, kind) for kind, _ in kinds):
            wanted = " or ".join(kind.__name__ for kind, _ in kinds) or "a plain value"
            raise self.refusal(f"{target} as its {where}, which must be {wanted}", where)
        if isinstance(called, type) and inspect.isabstract(called):
            raise ValueError(f"{self.source} asks for {target} as its {where}, which is abstract")
        later = any(deferred for _, deferred in kinds)
        for name in value:
            self._vet_option(name, value, later, where)
        hints = hints_of(called)
        for name, argument in value.items():
            if not name.startswith("_"):
                self._vet_argument(called, name, argument, hints.get(name), f"{where}.{name}")

    def _vet_argument(self, called: Any, name: str, value: Any, hint: Any, where: str) -> None:
        self.vet(value, hint, where)

    def _vet_option(self, name: str, value: Settings, later: bool, where: str) -> None:
        if name != "_target_":
            self._vet_key(name, where)

    def _vet_key(self, name: Any, where: str) -> None:
        if not isinstance(name, str) or name.startswith("_"):
            raise self.refusal(f"the option {name!r} of {where}", where)

    def _resolved(self, target: Any, where: str) -> tuple[Callable[..., Any], type]:
        """What is called, and the class of what it makes."""
        target_class = class_of(target) if isinstance(target, str) else None
        if isinstance(target_class, type):
            return target_class, target_class
        if target in self.factories:
            function = function_of(target)
            kind = getattr(function, "__self__", None) or hints_of(function)["return"]
            return function, kind
        raise self.refusal(f"{str(target)[:200]} as its {where}, which is not part of cf", where)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
