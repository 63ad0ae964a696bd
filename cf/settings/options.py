"""What a group of options, or a mapping, may be given as: an option's name, never nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from cf.paths import CONFIG_DIR
from cf.settings.checks import unknown_setting
from cf.settings.composition import composition_of, names_within
from cf.settings.groups_listed import own_groups
from cf.settings.schema import COMMANDS

log = logging.getLogger("cf")
_ONLY_PART = "objective.parts.0.objective."


def flat_objective(name: str, overrides: Sequence[Override]) -> list[Override]:
    """Rewrite overrides of a single objective that is typed as a plan of one part was.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.
    """
    old = [override for override in overrides if str(override.key_or_group).startswith(_ONLY_PART)]
    if not old:
        return [*overrides]
    groups = [
        str(override.input_line) for override in overrides if "." not in str(override.key_or_group)
    ]
    if "parts" in (hydra.compose(name, groups).get("objective") or {}):
        return [*overrides]
    log.warning("%s*: write objective.*, since it is no plan of several", _ONLY_PART)
    parser = OverridesParser.create()
    return [
        parser.parse_override(str(override.input_line).replace(_ONLY_PART, "objective.", 1))
        if override in old
        else override
        for override in overrides
    ]


def inner_memories(name: str, overrides: Sequence[Override]) -> list[Override]:
    """Take out what a memory's file says of the memory within, where another is put there.

    Hydra merges the two: settings of a window would stay with a memory that has none.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.
    """
    within = [
        override
        for override in overrides
        if override.is_add() and override.key_or_group == "memory"
    ]
    within = [
        override for override in within if override.package and not override.is_sweep_override()
    ]
    if not within:
        return [*overrides]
    loader: Any = GlobalHydra.instance().config_loader()
    groups = [override for override in overrides if "." not in str(override.key_or_group)]
    single = [str(override.input_line) for override in groups if not override.is_sweep_override()]
    cfg, deletions = composition_of(name, single), []
    for override in within:
        option = loader.repository.load_config(f"memory/{override.value()}")
        current = OmegaConf.select(cfg, str(override.package))
        if option is not None and isinstance(current, DictConfig):
            stale = [str(key) for key in current if key not in option.config]
            deletions += [f"~{override.package}.{key}" for key in stale]
    typed = {str(override.key_or_group) for override in overrides}
    parser = OverridesParser.create()
    return [
        *overrides,
        *(parser.parse_override(deletion) for deletion in deletions if deletion[1:] not in typed),
    ]


def named_options(name: str, overrides: Sequence[Override]) -> list[Override]:
    """Leave out groups that are given as null and are null by default.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.

    Raises:
        ValueError: a group that a command cannot do without is given as nothing.
    """
    effective = []
    for override in overrides:
        options = _options(override.key_or_group)
        if not options or override.is_sweep_override():
            effective.append(override)
            continue
        choice = [] if override.is_delete() else override.value()
        if isinstance(choice, dict) or _names(choice):  # settings of the group, or options
            effective.append(override)
        elif choice == "" or choice or _default(name, override) is not None:
            key = str(override.get_key_element()).lstrip("~+")
            raise ValueError(
                f"{override.input_line} chooses nothing, and {override.key_or_group} is a group "
                f"of options: give one of them, {key}={_first(options)}; "
                f"there are {', '.join(options)}"
            )
    return effective


def refuse_unheard(overrides: Sequence[Override], cfg: DictConfig) -> None:
    """Raise a ValueError at `name={}` that takes nothing away, since mappings are merged."""
    for override in overrides:
        if override.is_delete() or override.is_sweep_override() or override.value() != {}:
            continue
        at = str(override.package or override.key_or_group).replace("/", ".")
        current = OmegaConf.select(cfg, at)
        if isinstance(current, DictConfig) and len(current):
            is_object = "_target_" in current
            away = at if is_object else f"{at}.{next(map(str, current))}"
            raise ValueError(
                f"{override.input_line} changes nothing, since mappings are merged: {at} still has "
                f"{', '.join(map(str, current))}. "
                f"Take {'it' if is_object else 'one'} out with '~{away}'"
                + (
                    f", or choose another option: {at}=..."
                    if _options(override.key_or_group)
                    else ""
                )
            )


def refuse_scale(cfg: DictConfig) -> None:
    """Raise a ValueError at a scale that the chosen experiment has no numbers for."""
    choices, scales = cfg.hydra.runtime.choices, cfg.get("scales")
    scale = choices.get("scale")
    if scales is None or scale is None or scale in scales:
        return
    experiment = f"experiment={choices.get('experiment')}"
    takes = " or ".join(f"scale={it}" for it in scales)
    remedy = f"it takes {takes}" if scales else "it is of one size; leave scale out"
    raise ValueError(f"{experiment} has no numbers of scale={scale}: {remedy}")


def refuse_elsewhere(name: str, overrides: Sequence[Override]) -> None:
    """Raise a ValueError at a group that other commands have: Hydra proposes to add it, unheard.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.
    """
    root = Path(CONFIG_DIR)
    keys = {
        override.key_or_group
        for override in overrides
        if not (override.is_delete() or override.package)
    }
    groups = sorted(key for key in keys if (root / key).is_dir())
    if not groups or name not in COMMANDS:
        return
    allowed = own_groups(root / f"{name}.yaml", root) | {
        field.name for field in fields(COMMANDS[name])
    }
    for group in (key for key in groups if key not in allowed):
        has = [f"cf.{of}" for of in COMMANDS if group in own_groups(root / f"{of}.yaml", root)]
        if has:
            names = [*names_within(hydra.compose(name))]
            said = f"{group} is a setting of {' and '.join(has)}"
            raise ValueError(f"{unknown_setting(group, names)}; {said}")


def refuse_taken_out(name: str, overrides: Sequence[Override]) -> None:
    """Raise a ValueError at `~name` of a setting that the command itself reads: it has a value.

    Args:
        name: of the command's file of settings.
        overrides: as typed.
    """
    names = {field.name for field in fields(COMMANDS[name])} if name in COMMANDS else set()
    for override in overrides:
        if (
            override.is_delete()
            and override.key_or_group in names
            and not _options(override.key_or_group)
        ):
            key = override.key_or_group
            raise ValueError(
                f"~{key}: this setting cannot be taken out; leave it as it is, or give {key}=..."
            )


def _options(group: str) -> list[str]:
    """Asked of the repository itself: Hydra's loader copies it whole for every question."""
    loader: Any = GlobalHydra.instance().config_loader()
    options: list[str] = loader.repository.get_group_options(group)
    return options


def _names(choice: object) -> bool:
    """Whether these are names of options; that there are such is for Hydra to say."""
    several = choice if isinstance(choice, list) else [choice]
    return bool(several) and all(
        isinstance(name, str | int | float) and name != "" for name in several
    )


def _default(name: str, override: Override) -> object:
    """The option of a group that the command takes by itself."""
    cfg = hydra.compose(name, return_hydra_config=True)
    return cfg.hydra.runtime.choices.get(str(override.get_key_element()).lstrip("~+"))


def _first(options: Sequence[str]) -> str:
    return "none" if "none" in options else options[0]
