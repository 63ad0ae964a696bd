"""What a command that is shown must repeat of the one that was typed."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from cf.paths import CONFIG_DIR
from cf.settings.build import Settings
from cf.settings.groups_listed import own_groups
from cf.settings.schema import COMMANDS


def given_config_dir() -> str | None:
    """A folder of further settings, given with --config-dir."""
    if not HydraConfig.initialized():
        return None
    sources = HydraConfig.get().runtime.config_sources
    return next((source.path for source in sources if source.provider == "command-line"), None)


def own_settings() -> list[str]:
    """The flag with which a further command knows one's own options; none if there are none.

    >>> own_settings()
    []
    """
    folder = given_config_dir()
    if folder is None:
        return []
    inside = Path(folder).is_relative_to(Path.cwd())
    return [f"--config-dir={os.path.relpath(folder) if inside else folder}"]


def typed_for(command: str, aside: Collection[str] = ()) -> list[str]:
    """Settings that were typed and that another command takes under the same names.

    Args:
        command: its name, as in `python -m cf.NAME`.
        aside: names of settings that mean something else there.

    >>> typed_for("play")
    []
    """
    if not HydraConfig.initialized():
        return []
    root = Path(CONFIG_DIR)
    takes = {field.name for field in fields(COMMANDS[command])} - {*aside}
    takes |= own_groups(root / f"{command}.yaml", root)
    typed = OverridesParser.create().parse_overrides([*HydraConfig.get().overrides.task])
    return [
        str(override.input_line)
        for override in typed
        if str(override.key_or_group).partition(".")[0] in takes
    ]


def own_options(settings: Settings) -> dict[str, str]:
    """The options of --config-dir that a training chose, by group, whose classes are no part of cf.

    Args:
        settings: the training's.
    """
    if given_config_dir() is None or _resumes():
        return {}
    choices = HydraConfig.get().runtime.choices
    parts = {"memory": settings.get("memory"), "data": settings["data"].get("world")}
    return {
        group: str(choices[group])
        for group, part in parts.items()
        if part and not str(part["_target_"]).startswith("cf.") and choices.get(group)
    }


def exchanged() -> list[str]:
    """Settings that were typed with `resume=`; the run's own file holds them once it goes on.

    >>> exchanged()
    []
    """
    if not HydraConfig.initialized() or not _resumes():
        return []
    return [
        setting for setting in HydraConfig.get().overrides.task if not setting.startswith("resume=")
    ]


def _resumes() -> bool:
    """Whether the settings are a folder's, which the options on the command line did not choose."""
    return any(setting.startswith("resume=") for setting in HydraConfig.get().overrides.task)
