"""Every metric has settings of its own, which compose with a command and build."""

import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

import cf.metrics
from cf.metrics.base import VideoMetric
from cf.paths import CONFIG_DIR

FILES = sorted((Path(CONFIG_DIR) / "metric").glob("*.yaml"))


def metrics() -> set[type[VideoMetric]]:
    """Those of the package that are no base of others."""
    found: set[type[VideoMetric]] = set()
    for module in walk_packages(cf.metrics.__path__, "cf.metrics."):
        found |= {
            one
            for _, one in inspect.getmembers(import_module(module.name), inspect.isclass)
            if issubclass(one, VideoMetric) and one.__module__.startswith("cf.metrics.")
        }
    bases = {base for one in found for base in one.__mro__[1:]}
    return {one for one in found - bases if not inspect.isabstract(one)}


def test_every_metric_has_settings() -> None:
    text = "".join(file.read_text() for file in Path(CONFIG_DIR).rglob("*.yaml"))
    names = {name.rstrip(",}") for name in text.split() if name.startswith("cf.metrics.")}
    configured = {get_class(name) for name in names if name.rpartition(".")[2][0].isupper()}
    lacking = {one.__name__ for one in metrics() - configured}
    assert not lacking, "give each a file in configs/metric"


def where(file: Path) -> tuple[str, ...]:
    """The command that a metric is for, and what it needs to be chosen there."""
    text = file.read_text()
    suite = "recall" if "room_cells" in text else "world"
    suite = "needle" if "suite=needle" in text else suite
    root = ("benchmark", f"suite={suite}") if "asked." in text else ("evaluate",)
    return (*root, *["world=doom"] * ("doom" in text))


@cache
def composed(root: str, *more: str) -> dict[str, Any]:
    """All metrics that are tried there, in one composition."""
    mine = [one.stem for one in FILES if where(one) == (root, *more)]
    chosen = [f"+metric@metrics.tried_{name}={name}" for name in mine]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        settings = compose(root, overrides=[*more, *chosen])
    return {name: settings.metrics[f"tried_{name}"] for name in mine}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_settings_of_a_metric_compose_and_build(file: Path) -> None:
    root, *more = where(file)
    tried = composed(root, *more)[file.stem]
    try:
        OmegaConf.to_container(tried, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue:
        pytest.skip("left to the user")
    more_given = {"texts": {}} if "texts" in tried else {}
    try:
        made = instantiate(tried, **more_given, _convert_="all")
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError) or "no text tower" in str(error):
            pytest.skip("needs weights")
        raise
    assert isinstance(made, VideoMetric)
