"""The settings of presets, as `cf.generate` composes them."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from cf.models.releases import Need, needs
from cf.paths import CONFIG_DIR
from cf.settings.build import Settings, to_settings
from cf.settings.checks import unknown_setting
from cf.settings.literal import literal


def preset_names() -> list[str]:
    """Of all presets."""
    return sorted(x.stem for x in Path(CONFIG_DIR, "preset").glob("*.yaml") if x.stem != "none")


def settings_of(preset: str, given: Sequence[str] = ()) -> Settings:
    """The settings of a preset, and those that are given beside it.

    Raises:
        ValueError: no preset has that name; shows the nearest.
    """
    _refuse_unknown(preset)
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return to_settings(compose("generate", [f"preset={preset}", *map(literal, given)]))


def needs_of(*presets: str) -> dict[str, list[Need]]:
    """What each preset reads.

    Raises:
        ValueError: a name that no preset has.
    """
    for name in presets:
        _refuse_unknown(name)
    overrides = [f"+preset@all.{name}={name}" for name in presets]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        every = to_settings(compose("generate", overrides))["all"]  # at once is ten times faster
    return {name: needs(every[name]) for name in presets}


def _refuse_unknown(preset: str) -> None:
    if preset not in preset_names():
        raise ValueError(unknown_setting(preset, preset_names()).replace("setting", "preset"))
