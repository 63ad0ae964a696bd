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
    old = [one for one in overrides if str(one.key_or_group).startswith(_ONLY_PART)]
    if not old:
        return [*overrides]
    groups = [str(one.input_line) for one in overrides if "." not in str(one.key_or_group)]
    if "parts" in (hydra.compose(name, groups).get("objective") or {}):
        return [*overrides]
    log.warning("%s*: write objective.*, since it is no plan of several", _ONLY_PART)
    parser = OverridesParser.create()
    return [
        parser.parse_override(str(one.input_line).replace(_ONLY_PART, "objective.", 1))
        if one in old
        else one
        for one in overrides
    ]


def inner_memories(name: str, overrides: Sequence[Override]) -> list[Override]:
    """Take out what a memory's file says of the memory within, where another is put there.

    Hydra merges the two: settings of a window would stay with a memory that has none.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.
    """
    within = [one for one in overrides if one.is_add() and one.key_or_group == "memory"]
    within = [one for one in within if one.package and not one.is_sweep_override()]
    if not within:
        return [*overrides]
    loader: Any = GlobalHydra.instance().config_loader()
    groups = [one for one in overrides if "." not in str(one.key_or_group)]
    single = [str(one.input_line) for one in groups if not one.is_sweep_override()]
    cfg, rest = composition_of(name, single), []
    for one in within:
        found = loader.repository.load_config(f"memory/{one.value()}")
        there = OmegaConf.select(cfg, str(one.package))
        if found is not None and isinstance(there, DictConfig):
            left = [str(key) for key in there if key not in found.config]
            rest += [f"~{one.package}.{key}" for key in left]
    typed = {str(one.key_or_group) for one in overrides}
    parser = OverridesParser.create()
    return [*overrides, *(parser.parse_override(one) for one in rest if one[1:] not in typed)]


def named_options(name: str, overrides: Sequence[Override]) -> list[Override]:
    """Leave out groups that are given as null and are null by default.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.

    Raises:
        ValueError: a group that a command cannot do without is given as nothing.
    """
    kept = []
    for one in overrides:
        options = _options(one.key_or_group)
        if not options or one.is_sweep_override():
            kept.append(one)
            continue
        chosen = [] if one.is_delete() else one.value()
        if isinstance(chosen, dict) or _names(chosen):  # settings of the group, or options
            kept.append(one)
        elif chosen == "" or chosen or _default(name, one) is not None:
            key = str(one.get_key_element()).lstrip("~+")
            raise ValueError(
                f"{one.input_line} chooses nothing, and {one.key_or_group} is a group of options: "
                f"give one of them, {key}={_first(options)}; there are {', '.join(options)}"
            )
    return kept


def refuse_unheard(overrides: Sequence[Override], cfg: DictConfig) -> None:
    """Raise a ValueError at `name={}` that takes nothing away, since mappings are merged."""
    for one in overrides:
        if one.is_delete() or one.is_sweep_override() or one.value() != {}:
            continue
        at = str(one.package or one.key_or_group).replace("/", ".")
        there = OmegaConf.select(cfg, at)
        if isinstance(there, DictConfig) and len(there):
            whole = "_target_" in there
            away = at if whole else f"{at}.{next(map(str, there))}"
            raise ValueError(
                f"{one.input_line} changes nothing, since mappings are merged: {at} still has "
                f"{', '.join(map(str, there))}. Take {'it' if whole else 'one'} out with '~{away}'"
                + (f", or choose another option: {at}=..." if _options(one.key_or_group) else "")
            )


def refuse_scale(cfg: DictConfig) -> None:
    """Raise a ValueError at a scale that the chosen experiment has no numbers for."""
    choices, scales = cfg.hydra.runtime.choices, cfg.get("scales")
    chosen = choices.get("scale")
    if scales is None or chosen is None or chosen in scales:
        return
    one = f"experiment={choices.get('experiment')}"
    takes = " or ".join(f"scale={it}" for it in scales)
    remedy = f"it takes {takes}" if scales else "it is of one size; leave scale out"
    raise ValueError(f"{one} has no numbers of scale={chosen}: {remedy}")


def refuse_elsewhere(name: str, overrides: Sequence[Override]) -> None:
    """Raise a ValueError at a group that other commands have: Hydra proposes to add it, unheard.

    Args:
        name: of the command's file of settings; Hydra is initialised.
        overrides: as typed.
    """
    root = Path(CONFIG_DIR)
    given = {one.key_or_group for one in overrides if not (one.is_delete() or one.package)}
    groups = sorted(one for one in given if (root / one).is_dir())
    if not groups or name not in COMMANDS:
        return
    own = own_groups(root / f"{name}.yaml", root) | {one.name for one in fields(COMMANDS[name])}
    for group in (one for one in groups if one not in own):
        has = [f"cf.{of}" for of in COMMANDS if group in own_groups(root / f"{of}.yaml", root)]
        if has:
            known = [*names_within(hydra.compose(name))]
            said = f"{group} is a setting of {' and '.join(has)}"
            raise ValueError(f"{unknown_setting(group, known)}; {said}")


def refuse_taken_out(name: str, overrides: Sequence[Override]) -> None:
    """Raise a ValueError at `~name` of a setting that the command itself reads: it has a value.

    Args:
        name: of the command's file of settings.
        overrides: as typed.
    """
    own = {field.name for field in fields(COMMANDS[name])} if name in COMMANDS else set()
    for one in overrides:
        if one.is_delete() and one.key_or_group in own and not _options(one.key_or_group):
            key = one.key_or_group
            raise ValueError(
                f"~{key}: this setting cannot be taken out; leave it as it is, or give {key}=..."
            )


def _options(group: str) -> list[str]:
    """Asked of the repository itself: Hydra's loader copies it whole for every question."""
    loader: Any = GlobalHydra.instance().config_loader()
    found: list[str] = loader.repository.get_group_options(group)
    return found


def _names(chosen: object) -> bool:
    """Whether these are names of options; that there are such is for Hydra to say."""
    several = chosen if isinstance(chosen, list) else [chosen]
    return bool(several) and all(
        isinstance(one, str | int | float) and one != "" for one in several
    )


def _default(name: str, one: Override) -> object:
    """The option of a group that the command takes by itself."""
    cfg = hydra.compose(name, return_hydra_config=True)
    return cfg.hydra.runtime.choices.get(str(one.get_key_element()).lstrip("~+"))


def _first(options: Sequence[str]) -> str:
    return "none" if "none" in options else options[0]
