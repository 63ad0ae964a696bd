"""Every number of a training is refused before the first step where it cannot be."""

from collections.abc import Iterator
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import pytest
from commands import ROOMS, STUDENT, give
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import nn
from training_memory import settings_of

from cf.bounds import check_least, check_share, pair_below_one
from cf.modules.optim import MuonWithAdamW, adamw
from cf.modules.optim_8bit import AdamWIn8Bit
from cf.paths import CONFIG_DIR
from cf.runs import roles
from cf.runs.roles import built_module
from cf.settings.build import build, to_settings
from cf.settings.schema import Fit
from cf.system import memory

BELOW_NOTHING = {
    "model.qk_bias": "a bias",
    "model.qk_gain": "a factor",
    "memory.threshold": "a cosine",
    "trainer.num_sanity_val_steps": "-1 is all of them",
    "trainer.devices": "-1 is all of them",
    "trainer.max_steps": "-1 is for ever, which each command refuses for itself",
    "score.guidance": "leads to what guidance leads away from",
}
GROUPS = (
    *("model", "schedule", "rollout", "objective", "training_rollout", "optimizer"),
    *("critic_optimizer", "guard", "module", "data", "callbacks", "trainer", "score", "memory"),
)


def leaves(settings: Any, at: str) -> Iterator[str]:
    """Names of numbers; what refers to another setting is that one's."""
    if isinstance(settings, dict):
        for name, one in settings.items():
            yield from leaves(one, f"{at}.{name}")
    elif isinstance(settings, int | float) and not isinstance(settings, bool):
        yield at


@pytest.fixture(scope="module")
def distillation(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """Settings of a student that is distilled with a critic, in rooms."""
    base = tmp_path_factory.mktemp("bounds") / "base"
    give("cf.fit", *ROOMS, "trainer.max_steps=1", f"hydra.run.dir={base}")
    given = [f"start.teacher.path={base}", f"start.student.path={base}", "objective=dmd"]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        made = compose("fit", [*ROOMS, *STUDENT, *given, "memory=slow_fast"])
    made.callbacks.checkpoint.dirpath, made.folder = "checkpoints", "."
    made.callbacks.export = None
    return made


def refusal(cfg: DictConfig, at: str, value: Any) -> str:
    """What is said of a setting's value before a training begins; empty if nothing is."""
    changed = deepcopy(cfg)
    OmegaConf.update(changed, at, value)
    settings = to_settings(changed)
    try:
        if told := Fit.contradiction(settings):
            return told
        build(settings["data"], "data")
        built_module(settings)
        for name, one in settings["callbacks"].items():
            if one:
                build(one, f"callbacks.{name}")
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.whole
def test_a_number_below_what_it_can_be_is_refused(distillation: DictConfig, group: str) -> None:
    whole: Any = OmegaConf.to_container(distillation, resolve=False)
    found = list(leaves(whole[group], group))
    for at in found:
        told = refusal(distillation, at, -1)
        if at in BELOW_NOTHING:
            continue
        assert told, f"{at}=-1 is taken without a word"
        assert at.rpartition(".")[2] in told, f"{at}=-1: {told}"
        assert "-1" in told, f"{at}=-1: {told}"
    assert found or group in ("score", "memory", "training_rollout")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("module.cooldown", 1.5),
        ("callbacks.samples.every_steps", 0),
        ("callbacks.throughput.every_steps", 0),
        ("trainer.accumulate_grad_batches", 0),
        ("trainer.log_every_n_steps", 0),
        ("trainer.val_check_interval", 0),
        ("module.length.block_frames", 0),
        ("model.control_dim", 0),
    ],
)
def test_a_number_above_or_of_another_form_is_refused(
    distillation: DictConfig, at: str, value: Any
) -> None:
    told = refusal(distillation, at, value)
    assert at.rpartition(".")[2] in told
    assert str(value) in told


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1], [-0.1, 0.9], [2, 3]])
def test_an_optimiser_takes_two_betas_below_one(betas: list[float]) -> None:
    with pytest.raises(ValueError, match=r"betas=\[.*\] must be two numbers from 0 on and below 1"):
        adamw(nn.Linear(2, 2), 0.1, betas, 0.0)
    with pytest.raises(ValueError, match=r"betas=\[.*\] must be two numbers from 0 on and below 1"):
        MuonWithAdamW(nn.ModuleDict({"blocks": nn.Linear(2, 2)}), betas=betas)
    if find_spec("torchao"):
        with pytest.raises(ValueError, match=r"betas=\[.*\] must be two numbers from 0 on"):
            AdamWIn8Bit(nn.Linear(2, 2), 0.1, betas, 0.0)


def test_bounds_name_the_setting() -> None:
    check_least(0, steps=0, more=2)
    check_share(share=1)
    assert pair_below_one(betas=[0.5, 0]) == (0.5, 0)
    with pytest.raises(ValueError, match=r"more=-1 must not be negative"):
        check_least(0, steps=0, more=-1)
    with pytest.raises(ValueError, match=r"share=nan must lie in 0\.\.1"):
        check_share(share=float("nan"))
    with pytest.raises(ValueError, match=r"betas=\[1\] must be two numbers"):
        pair_below_one(betas=[1])


def test_a_network_that_no_memory_holds_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux would give the memory, and then end some process."""
    monkeypatch.setattr(memory, "computer_bytes", lambda: 100_000)
    monkeypatch.setattr(roles, "computer_bytes", lambda: 100_000)
    settings = settings_of("data=rooms", "model=rooms")
    with pytest.raises(ValueError, match=r"module\.network in float32 takes .* GB, and this"):
        built_module(settings)
    monkeypatch.undo()
    assert 2**28 < memory.computer_bytes() < 2**50
    built_module(settings)
