"""The settings of presets, as `cf.generate` composes them."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from cf.models.releases import Need, needs
from cf.paths import CONFIG_DIR
from cf.settings.build import Settings, to_settings
from cf.settings.checks import unknown
from cf.settings.literal import literal


def names() -> list[str]:
    """Of all presets."""
    return sorted(x.stem for x in Path(CONFIG_DIR, "preset").glob("*.yaml") if x.stem != "none")


def settings_of(*presets: str, given: Sequence[str] = ()) -> list[Settings]:
    """The settings of each preset, and those that are given beside it.

    Raises:
        ValueError: a name that none has; shows the nearest.
    """
    for name in presets:
        if name not in names():
            raise ValueError(unknown(name, names()).replace("setting", "preset"))
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return [
            to_settings(compose("generate", [f"preset={name}", *map(literal, given)]))
            for name in presets
        ]


def needs_of(*presets: str) -> dict[str, list[Need]]:
    """What each preset reads."""
    return {name: needs(one) for name, one in zip(presets, settings_of(*presets), strict=True)}
