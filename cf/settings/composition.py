"""Hydra's composition: mistakes in one message, and nothing that takes long and is not used."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra._internal import defaults_list as composing
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from cf.settings.checks import misplaced, present_already, unknown_setting
from cf.system.launch import run_folder

OmegaConf.register_new_resolver("run_folder", run_folder, use_cache=True, replace=True)
_known_choices = composing._create_interpolation_map


@contextmanager
def lean() -> Iterator[None]:
    """Within it, choices are put together for a list of defaults only where one refers to them.

    Hydra does so for every file that it composes, which takes a time that rises with the square of
    the number of files: half of a composition of 300.
    """
    before = composing._create_interpolation_map
    composing._create_interpolation_map = _choices_in_use
    try:
        yield
    finally:
        composing._create_interpolation_map = before


@contextmanager
def known_mode(mode: Any) -> Iterator[None]:
    """Within it, a command of which `hydra.mode` is known is not composed once more to learn it."""
    before = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: mode  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = before  # type: ignore[method-assign]


@contextmanager
def hydra_of(cfg: DictConfig) -> Iterator[None]:
    """`${hydra:...}` as it will be in the run."""
    instance = HydraConfig.instance()
    before, instance.cfg = instance.cfg, None
    OmegaConf.set_readonly(cfg.hydra, False)
    with open_dict(cfg.hydra.runtime):
        cfg.hydra.runtime.output_dir = "outputs"
    try:
        instance.set_config(cfg)
        yield
    finally:
        instance.cfg = before


@contextmanager
def anew() -> Iterator[None]:
    """Within it, Hydra can be initialised once more, as for the settings of another command."""
    instance = GlobalHydra.instance()
    before, instance.hydra = instance.hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before


def _choices_in_use(overrides: Any, defaults_list: list[Any], self_added: bool) -> DictConfig:
    if any(default.is_interpolation() for default in defaults_list):
        return _known_choices(overrides, defaults_list, self_added)
    return OmegaConf.create()


def composition_of(name: str, settings: Sequence[str]) -> DictConfig:
    """The configuration, or in one message what is wrong with it.

    Args:
        name: of the command's file of settings.
        settings: as Hydra takes them.

    Raises:
        ValueError: the message.
    """
    try:
        return hydra.compose(name, overrides=[*settings], return_hydra_config=True)
    except (HydraException, ValueError) as error:
        raise ValueError(_mistake(name, settings, error)) from None


def _mistake(name: str, settings: Sequence[str], error: Exception) -> str:
    text = " ".join(str(error).split("\n    full_key")[0].split())
    option = re.search(r"Could not find '(.*)/(.*?)' Available options in '.*?': (.*)", text)
    if option is not None:
        group, choice, options = option.groups()
        near = unknown_setting(choice, options.split(" Config search path")[0].split())
        return f"{group}={choice}: {near.replace('setting', 'option', 1)}"
    if wrong := misplaced(name, settings, text):
        return wrong
    if match := re.search(r"An item is already at '([^']*)'", text):
        return present_already(match[1])
    match = re.search(r"Could not (?:override|append[^']*|delete from config\.) '([^']*)'", text)
    if match is None or "To append to your default list" in text:
        return re.sub(r"^In '[^']*': ", "", re.sub(r" Config search path:.*", "", text))
    wrong = match[1]
    try:
        cfg = hydra.compose(name, overrides=_without(wrong, settings))
    except HydraException:
        return text
    outer, _, _ = wrong.rpartition(".")
    names = [*names_within(cfg)]
    siblings = [setting for setting in names if setting.startswith(outer.split(".")[0])] or names
    key = re.search(r"Key '([^']*)' is not in struct", str(error.__cause__))
    if wrong in siblings and key is not None:  # a mapping that takes certain names alone
        inner = [
            setting.removeprefix(f"{wrong}.")
            for setting in siblings
            if setting.startswith(f"{wrong}.")
        ]
        return f"{wrong}: {unknown_setting(key[1], inner)}"
    if "Could not delete" in text and wrong in siblings:
        return f"~{wrong}: it is not given, so that there is nothing to take out"
    return unknown_setting(wrong, siblings)


def _without(wrong: str, settings: Sequence[str]) -> list[str]:
    """The settings before one that is wrong, which are applied in order, and all that are groups.

    Those after it may be wrong as well.
    """
    keys = [setting.lstrip("+~").partition("=")[0] for setting in settings]
    at = keys.index(wrong) if wrong in keys else len(keys)
    return [
        setting
        for number, (setting, key) in enumerate(zip(settings, keys, strict=True))
        if key != wrong and (number < at or "." not in key.partition("@")[0])
    ]


def names_within(cfg: DictConfig, at: str = "") -> Iterator[str]:
    """The names of all settings of a configuration, those within others with dots."""
    for key in map(str, cfg):
        yield f"{at}{key}"
        inner = cfg._get_node(key)
        if not isinstance(inner, DictConfig) or inner._is_interpolation():
            continue
        if not (inner._is_none() or inner._is_missing()):
            yield from names_within(inner, f"{at}{key}.")
