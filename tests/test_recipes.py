"""Recipes: all compose at both scales with their papers' numbers, and all tiny ones take steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from commands import fit
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from ranks import on_two
from recipes import SMALL, frames_per_step, sweep, unsized
from test_configs import misfits

from cf.distillation.rollout_length import drawn
from cf.memory.full import Full
from cf.paths import CONFIG_DIR
from cf.rollout import Rollout

RECIPES = sorted(
    file.stem
    for file in (Path(CONFIG_DIR) / "experiment").glob("*.yaml")
    if file.stem in ("sgf_plus", "self_forcing_pp", "frame_wise", "causal_forcing")
    or file.stem == "context_forcing"
    or "override /scale: tiny" in file.read_text()
)
QUICK = (
    *SMALL,
    "callbacks.samples.every_steps=2",
    "callbacks.samples.count=1",
    "callbacks.throughput=null",
    "trainer.val_check_interval=1000",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
)


def composed(recipe: str, scale: str) -> Any:
    """The settings of a recipe, resolved."""
    given = [f"experiment={recipe}", f"scale={scale}", "hydra.runtime.output_dir=o"]
    given += ["start.teacher.path=t", "start.student.path=s"]
    given += ["data.folder=clips"] if scale == "wan_1_3b" else []
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        whole = compose("fit", given)
    assert scale in whole.scales
    parts = ("module", "data", "trainer")
    told = {one: OmegaConf.to_container(whole[one], resolve=True) for one in parts}
    return OmegaConf.create({**told, "in_phases": bool(whole.phases)})


def test_the_issues_recipes_are_there() -> None:
    assert set(RECIPES) >= {
        "self_forcing",
        "causvid",
        "causal_forcing",
        "longlive",
        "infinity_rope",
        "rolling_forcing",
        "self_forcing_pp",
        "sgf",
        "sgf_plus",
        "context_forcing",
        "context_forcing_released",
        "reward_forcing",
        "frame_wise",
    }


@pytest.mark.parametrize("scale", ["tiny", "wan_1_3b"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes_at_every_scale(recipe: str, scale: str) -> None:
    told = composed(recipe, scale)
    assert misfits(told) == []
    module = told.module
    assert module.length.least <= module.length.most
    assert module.teacher.path == "t"
    wan = scale == "wan_1_3b"
    assert (module.score.guidance > 1) == wan
    assert module.student.network.dim == (1536 if wan else 96)
    if module.teacher.network.dim > module.student.network.dim:
        assert module.critic.path == "s"  # the critic has the student's size
    assert told.in_phases == (recipe == "context_forcing" and not wan)


@pytest.mark.whole
def test_the_numbers_of_the_papers_are_those_of_the_notes() -> None:
    """Method notes 1.3, 1.4, 1.7, 2.3; one is added to guidance in the code's convention."""
    ours = composed("self_forcing", "wan_1_3b").module
    assert (ours.score.guidance, ours.optimizer.lr, ours.critic_optimizer.lr) == (4, 2e-6, 4e-7)
    assert (ours.optimizer.betas, ours.critic_steps, ours.clip) == ([0.0, 0.999], 5, 10.0)
    assert (ours.length.most, ours.window_frames, ours.rollout.memory.window_frames) == (21, 21, 21)
    assert ours.teacher.network.dim == 5120
    theirs = composed("context_forcing_released", "wan_1_3b").module
    assert (theirs.length.least, theirs.length.most, theirs.length.grow_steps) == (84, 105, 600)
    assert (theirs.score.guidance, theirs.score.prefix_frames, theirs.clip) == (6, 21, 2.0)
    assert theirs.critic_optimizer.betas == [0.5, 0.95]
    assert theirs.training_rollout.first_gradient is False
    long = composed("longlive", "wan_1_3b").module
    assert (long.length.most, long.window_frames, long.optimizer.lr) == (240, 21, 1e-5)
    assert long.training_rollout.switch._target_ == "cf.rollout.Recache"
    assert composed("causvid", "wan_1_3b").module.rollout.timesteps == [1.0, 0.757, 0.522]
    assert composed("rolling_forcing", "wan_1_3b").module.rollout.num_steps == 5
    paper = composed("context_forcing", "wan_1_3b")
    assert paper.module.score.layout.sparse_frames == 12
    assert paper.trainer.max_steps == 500


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "run"
    return fit(folder, "experiment=rooms_base", *QUICK, "trainer.max_steps=1")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_tiny_recipe_takes_steps(recipe: str, start: Path, tmp_path: Path) -> None:
    stepped(recipe, start, tmp_path / "run")
    assert told(tmp_path / "run") == 2


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_tiny_recipe_takes_steps_on_two_processes(start: Path, tmp_path: Path) -> None:
    """One after the other, in two processes that import nothing anew."""

    def all_of_them() -> None:
        for recipe in RECIPES:
            on = ("trainer.devices=2", "+trainer.strategy=ddp_find_unused_parameters_true")
            stepped(recipe, start, tmp_path / recipe, *on)
            torch.distributed.destroy_process_group()

    assert on_two(all_of_them) == [0, 0]
    assert [told(tmp_path / recipe) for recipe in RECIPES] == [2] * len(RECIPES)


def stepped(recipe: str, start: Path, folder: Path, *more: str) -> None:
    """Two steps of a recipe."""
    roles = (f"start.student.path='{start}'", f"start.teacher.path='{start}'", "phases=null")
    fit(folder, f"experiment={recipe}", *QUICK, *roles, "trainer.max_steps=2", *more)


def told(run: Path) -> int:
    """How many steps a run tells of, which also drew what its networks make, each in its way."""
    rows = (run / "metrics.csv").read_text().splitlines()
    assert "train/score_norm" in rows[0]
    assert (run / "samples" / "step_00000002.png").is_file()
    return len(rows) - 1


@pytest.mark.whole
def test_every_call_of_a_network_counts() -> None:
    """Of Self Forcing: 18 frames of which 12 are scored, four steps, five turns of the critic."""
    expected, rollout = 0, Rollout(Full(), num_steps=4)
    for number in range(6):
        given = 3 * (1 + drawn(2, 0, 1, number))
        calls = 1 + rollout.random_exit(0, 2, number)
        expected += given + 4 * (6 - given) + 12 * calls + (18 - given - 3)
        expected += (18 + 12) * (2 if number == 5 else 1)  # clean and noisy rows of a score
    assert frames_per_step(["experiment=self_forcing"], 1) == expected


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("arm", sweep()["arms"])
def test_every_arm_of_the_sweep_has_the_steps_of_its_budget(arm: str) -> None:
    asked = sweep()
    frames = frames_per_step(unsized(asked["arms"][arm]))
    assert f"trainer.max_steps={round(asked['budget'] / frames)}" in asked["arms"][arm]
