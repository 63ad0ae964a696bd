"""Every option under configs/ fits the signatures that it names, composes, and can be built."""

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, errors

from cf.metrics.extractors.lookup import MissingWeightsError
from cf.settings.build import build, to_settings

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
HYDRA_KEYS = {"defaults", "_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def name(file: Path) -> str:
    return str(file.relative_to(CONFIGS).with_suffix(""))


def targets(node: Any, where: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every mapping that names a `_target_`, however deep, and the path to it."""
    if isinstance(node, DictConfig) and not (node._is_none() or node._is_interpolation()):
        if "_target_" in node:
            yield where, node
        for key in node:
            yield from targets(node._get_node(key), f"{where}.{key}".lstrip("."))
    elif isinstance(node, ListConfig) and not (node._is_none() or node._is_interpolation()):
        for index in range(len(node)):
            yield from targets(node._get_node(index), f"{where}[{index}]")


def given(node: DictConfig) -> tuple[list[None], dict[str, None]]:
    """The arguments of a mapping, by position and by name; their values do not matter here."""
    positional = [None] * len(node.get("_args_") or [])
    return positional, {str(key): None for key in node if key not in HYDRA_KEYS}


def misfits(node: Any) -> list[str]:
    """The mappings whose keys their target does not take."""
    found = []
    for where, mapping in targets(node):
        positional, keywords = given(mapping)
        try:
            inspect.signature(get_object(mapping["_target_"])).bind_partial(*positional, **keywords)
        except TypeError as error:
            found.append(f"{where}: {mapping['_target_']}: {error}")
    return found


def weights(node: DictConfig) -> list[str]:
    found = [one.get("folder") or one.get("file") or "" for _, one in targets(node)]
    each = [one for some in found for one in ([some] if isinstance(some, str) else some)]
    return [folder for folder in each if folder.startswith("weights/")]


def defaults(root: Path) -> dict[str, Path]:
    """The groups that a root's defaults list offers, each with its folder."""
    groups = {}
    for entry in OmegaConf.load(root).get("defaults", []):
        if isinstance(entry, DictConfig):
            group = str(next(iter(entry))).split()[-1].lstrip("/")  # without "optional" or such
            if group == "preset":  # its options choose those of other groups
                groups |= defaults(CONFIGS / "preset" / "none.yaml")
            above, _, package = group.partition("@")
            group = above if above == package else group
            folder = CONFIGS / group.split("@")[0]
            if folder.is_dir():
                groups[group] = folder
    return groups


def choices() -> Iterator[Any]:
    """Every option of every root; what another root offers as well is tried under one of them."""
    seen: set[tuple[str, str]] = set()
    for root in sorted(CONFIGS.glob("*.yaml"), key=lambda root: (root.stem != "fit", root)):
        for group, folder in defaults(root).items():
            for option in sorted(folder.glob("*.yaml")):
                again = (group, option.stem) in seen
                seen.add((group, option.stem))
                yield pytest.param(
                    root.stem,
                    group,
                    option.stem,
                    id=f"{root.stem}-{group}={option.stem}",
                    marks=[pytest.mark.exhaustive] if again else [],
                )


def composed(root: str, group: str, option: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        overrides = [f"{group}={option}", "hydra.runtime.output_dir=outputs"]
        return compose(root, overrides=overrides, return_hydra_config=True)


def test_a_misspelt_key_is_found() -> None:
    node = OmegaConf.create({"deep": [{"_target_": "cf.schedule.FlowSchedule", "shiift": 5}]})
    assert "shiift" in misfits(node)[0]


def test_a_word_where_a_number_belongs_is_found() -> None:
    with pytest.raises(ValueError, match=r"schedule\.shift must be a number, got 'three'"):
        build({"_target_": "cf.schedule.FlowSchedule", "shift": "three"}, "schedule")


@pytest.mark.parametrize("file", FILES, ids=name)
def test_every_file_fits_the_signatures_it_names(file: Path) -> None:
    assert misfits(OmegaConf.load(file)) == []


@pytest.mark.parametrize(("root", "group", "option"), [*choices()])
def test_every_choice_composes_and_fits_and_can_be_built(
    root: str, group: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, since composing takes nearly all of its time; what cannot be built here fits."""
    monkeypatch.chdir(tmp_path)
    chosen = composed(root, group, option)
    assert misfits(OmegaConf.masked_copy(chosen, [key for key in chosen if key != "hydra"])) == []
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(chosen)
    if group == "experiment":
        assert chosen.scales is not None, "an experiment of cf tells its scales"
    package = group.split("@")[-1].split("/")[-1]
    node = chosen.get(package)
    if not list(targets(node)):
        pytest.skip("no object of its own")
    absent = [other for other in defaults(CONFIGS / f"{root}.yaml") if chosen.get(other) is None]
    text = OmegaConf.to_yaml(node)
    if any(f"{other}}}" in text or f"${{{other}." in text for other in absent):
        pytest.skip("goes with an option of another group")
    try:
        OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except (errors.MissingMandatoryValue, errors.InterpolationToMissingValueError) as error:
        pytest.skip(f"left to the user: {error}".splitlines()[0])
    if any(not (CONFIGS.parent / folder).exists() for folder in weights(node)):
        pytest.skip("needs published weights")
    if node.get("accelerator") in {"gpu", "cuda"} and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    # On the meta device fourteen billion parameters weigh nothing.
    with torch.device("meta") if group == "model" else contextlib.nullcontext():
        try:
            instantiate(node, _convert_="all")
        except InstantiationException as error:
            if isinstance(error.__cause__, MissingWeightsError):
                pytest.skip("needs published weights")
            if "must be given" not in str(error.__cause__):
                raise
            pytest.skip(f"left to the user: {error.__cause__}")


@pytest.mark.parametrize("phase", ["base", "teacher", "student", "detail"])
def test_an_engines_rooms_have_a_larger_scale(phase: str) -> None:
    """Pictures, latents and the cells that tell where the camera looks are of one size."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        small, large = (
            to_settings(compose("fit", [f"experiment=doom_{phase}", "folder=outputs", *scale]))
            for scale in ([], ["scale=gpu"])
        )
    for settings in (small, large):
        with torch.device("meta"):
            network = build(settings["model"], "model")
        shape = build(settings["codec"], "codec").latent_shape(*settings["data"]["size"])
        assert settings["model"]["latent_shape"] == list(shape)
        cells = settings["model"]["control_cells"]
        assert settings["data"]["world"]["control"]["cells"] == cells
        sides = zip(shape[1:], network.patch_size, strict=True)
        assert cells == [side // patch for side, patch in sides]
    assert large["trainer"]["accelerator"] == "gpu"
    of_large, of_small = (
        one["module"]["optimizer"].get("adamw_lr", one["module"]["optimizer"]["lr"])  # Muon has two
        for one in (large, small)
    )
    assert of_large < of_small
    assert large["data"]["batch_size"] == 4 * small["data"]["batch_size"]
