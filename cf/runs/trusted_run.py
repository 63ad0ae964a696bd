"""Settings that the folder of a run, or of a training in phases, carries: vetted as an export's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from typing_extensions import override

from cf.settings.build import Settings
from cf.settings.literal import literal
from cf.settings.trusted import FACTORIES, Vetting, bound, vet_export, walk

_RUN_FACTORIES = (*FACTORIES, "cf.models.start.with_weights", "cf.modules.optim.adamw")
_LIGHTNING = (
    "lightning.Trainer",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.loggers.TensorBoardLogger",
)
"""What a run's own settings name from elsewhere; with texts that cannot lead out of its folder."""
_EXPORT = "cf.callbacks.export.Export"
_SEPARATORS = re.compile(r"[/\\\0]|^\.|^~")
_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
_OF_THE_COMMAND = ("hydra", "trust", "resume", "folder", "phases", "sweep")
_WRITERS = ("callbacks", "trainer", "tensorboard")
"""Parts of a run that write files where their texts say."""


def vet_run(settings: Settings, folder: Path, source: str) -> None:
    """Refuse what a run's folder may not ask for when it is gone on with.

    Raises:
        ValueError: naming what it asks for, and the remedy.
    """
    import lightning
    from lightning.pytorch.loggers import TensorBoardLogger

    slots = {
        "data": lightning.LightningDataModule,
        "module": lightning.LightningModule,
        "trainer": lightning.Trainer,
        "tensorboard": TensorBoardLogger,
    }
    bound(settings, source)
    vetting = _RunVetting(source, _RUN_FACTORIES, folder)
    for name, slot in slots.items():
        vetting.vet(settings.get(name), slot, name)
    callbacks = settings.get("callbacks")
    if not isinstance(callbacks, dict):
        raise ValueError(f"{source} has no callbacks by name")
    for name, value in callbacks.items():
        vetting.vet(value, lightning.Callback, f"callbacks.{name}")
    for link in folder.rglob("*"):
        if link.is_symlink() and not _inside(link, folder):
            raise vetting.refusal(f"what lies outside its folder, by the link {link}")


def vet_phases(
    phases: Mapping[str, Sequence[str]],
    shared: Sequence[str],
    config_dir: str | None,
    file: Path,
) -> None:
    """Refuse what a folder's list of phases may not add to the command line of `cf.fit`.

    Raises:
        ValueError: naming the setting, and the remedy.
    """
    remedy = "" if config_dir is None else f"if they are yours, add --config-dir {config_dir}; "
    refused = [] if config_dir is None else [f"the settings in {config_dir} (--config-dir)"]
    refused += [
        f"a phase named {name!r}"
        for name in phases
        if not _NAME.fullmatch(name) or not _inside(file.parent / name, file.parent)
    ]
    refused += [text[:200] for text in chain(shared, *phases.values()) if not _harmless(text)]
    if refused:
        raise ValueError(
            f"{file} asks for {refused[0]}; {remedy}a training that you did not make may run any "
            f"code: if you know who made it and trust them, add trust=true"
        )


def _harmless(setting: str) -> bool:
    """Whether it chooses an option of cf's own groups, or a plain value."""
    if setting.startswith("-") or "${" in setting:
        return False
    try:
        (override,) = OverridesParser.create().parse_overrides([literal(setting)])
        value = override.value()
    except (ValueError, HydraException):
        return False
    parts = override.key_or_group.split(".")
    names = re.split(r"[./]", f"{override.key_or_group}.{override.package or ''}")
    if names[0] in _OF_THE_COMMAND or any(name in ("hydra", "_global_") for name in names):
        return False
    return not any(name.startswith("_") for name in names) and _plain(override, parts, value)


def _plain(override: Override, parts: Sequence[str], value: Any) -> bool:
    """Whether a value builds nothing, opens no file of settings and leads nowhere."""
    items = [item for _, item, _ in walk(value)]
    if not all(isinstance(item, str | int | float | dict | list | None) for item in items):
        return False
    if isinstance(value, dict | list) and any(str(item).startswith("_") for item in items):
        return False
    texts = [item for item in items if isinstance(item, str)]
    if len(parts) == 1:  # a group, an option of which is a file
        if not all(_NAME.fullmatch(part) for part in override.key_or_group.split("/")):
            return False
        return not isinstance(value, dict) and all(map(_NAME.fullmatch, texts))
    return parts[0] not in _WRITERS or not any(map(_SEPARATORS.search, texts))


@dataclass(frozen=True)
class _RunVetting(Vetting):
    """As for an export, with what a training is made of.

    Attributes:
        folder: of the run; nothing is written elsewhere.
    """

    folder: Path

    @override
    def refusal(self, what: str, where: str = "") -> ValueError:
        return ValueError(
            f"{self.source} asks for {what}; a run that you did not make may run any code: if you "
            f"know who made it and trust them, add trust=true"
        )

    def _resolved(self, target: Any, where: str) -> tuple[Callable[..., Any], type]:
        if target in _LIGHTNING:
            module, _, name = target.rpartition(".")
            cls: type = getattr(import_module(module), name)
            return cls, cls
        return super()._resolved(target, where)

    def _vet_option(self, name: str, value: Settings, later: bool, where: str) -> None:
        if name == "_partial_" and later and value[name] is True:
            return
        if name == "_recursive_" and value["_target_"] == _EXPORT and value[name] is False:
            return
        super()._vet_option(name, value, later, where)

    def _vet_argument(self, called: Any, name: str, value: Any, hint: Any, where: str) -> None:
        if name == "dirpath":
            if not isinstance(value, str) or not _inside(self.folder / value, self.folder):
                raise self.refusal(f"files in {value!r} as its {where}", where)
        elif f"{called.__module__}.{called.__qualname__}" == _EXPORT and name == "config":
            vet_export(value, self.source)
        elif name == "strategy" and isinstance(value, dict):
            from cf.modules.fully_shard import FullyShard

            self.vet(value, FullyShard, where)
        elif called.__module__.startswith("lightning."):
            for at, item, _ in walk(value):
                if isinstance(item, dict) or (isinstance(item, str) and _SEPARATORS.search(item)):
                    raise self.refusal(f"{item!r} as its {where}{at}", where)
        else:
            self.vet(value, hint, where)


def _inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
