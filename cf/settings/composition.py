"""Hydra's composition without what takes the most of it and is not used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal import defaults_list as composing
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

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


def _choices_in_use(overrides: Any, defaults_list: list[Any], self_added: bool) -> DictConfig:
    if any(one.is_interpolation() for one in defaults_list):
        return _known_choices(overrides, defaults_list, self_added)
    return OmegaConf.create()
