"""The last line of a training names a command that works; a world goes with its suites."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from cf.bench.contestants.camera import check_camera
from cf.paths import CONFIG_DIR
from cf.runs import next_command
from cf.runs.next_command import following, measuring
from cf.settings.build import build, to_settings
from cf.settings.schema import Benchmark


def composed(root: str, *given: str) -> dict[str, Any]:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return to_settings(compose(root, list(given)))


@pytest.mark.parametrize(
    "data",
    [
        ("data=doom",),
        ("data=doom_return", "camera_control@data.world.control=action", "data.world.grid=[1,3]"),
        ("data=doom", "data.size=[32,48]", "camera_path@data.world.path=tour"),
        ("data=doom", "data.world.control.cells=[2,8]"),
        ("data=doom", "camera_control@data.world.control=pose"),
        ("experiment=doom_teacher",),
        ("data=walk", "model=walk"),
        ("experiment=walk_teacher",),
        ("experiment=walk_student", "data.world.num_places=4"),
        ("data=rooms", "model=rooms"),
    ],
)
def test_a_run_is_measured_on_worlds_like_its_own(data: tuple[str, ...], tmp_path: Path) -> None:
    fit = composed("fit", "model=doom", "~callbacks", "folder=x", *data)
    words = shlex.split(measuring(fit, tmp_path / "a run"))
    root = words[2].removeprefix("cf.")
    assert words[:2] == ["python", "-m"]
    asked = composed(root, *words[3:])
    assert str(tmp_path / "a run") in str(asked)
    world = asked["data"] if root == "recall" else asked["asked"]["data"]
    for key in ("size", "fps"):
        assert world[key] == fit["data"][key]
    mine, theirs = fit["data"]["world"], world["world"]
    assert theirs["_target_"] == mine["_target_"]
    if root == "benchmark" and "control" not in mine:
        told = {"cut", "stay_blocks"}  # how the camera moves is the suite's to say
        assert {k: v for k, v in theirs.items() if k not in told} == {
            k: v for k, v in mine.items() if k not in told
        }
    if "control" in mine:
        assert theirs["grid"] == mine["grid"]
        own = mine["path"]["paths"][-1] if "paths" in mine["path"] else mine["path"]
        assert build(theirs["path"], "path") == build(own, "path")
        assert theirs["control"] == mine["control"]


@pytest.mark.whole
def test_a_world_is_refused_by_suites_that_have_their_own() -> None:
    for suite in ("recall", "smoke", "world"):
        asked = composed("benchmark", f"suite={suite}", "world=doom")
        assert Benchmark.contradiction(asked) == ""
    asked = composed("benchmark", "suite=needle", "world=doom")
    told = "only suite=recall, suite=smoke and suite=world take a world"
    assert told in Benchmark.contradiction(asked)


@pytest.mark.parametrize(
    "trained", ["experiment=doom_teacher", "experiment=doom_student", "model=doom"]
)
@pytest.mark.parametrize("suite", ["recall", "world", "smoke"])
def test_networks_of_an_engines_rooms_are_told_of_the_camera_as_every_suite_tells_it(
    trained: str, suite: str
) -> None:
    """Once the suites' default was another signal, which every network of these recipes refused."""
    data = ["data=doom"] * ("model" in trained)
    fit = composed("fit", "~callbacks", "folder=x", trained, *data)
    asked = composed("benchmark", f"suite={suite}", "world=doom")["asked"]["data"]["world"]
    control = asked["control"]
    assert control == fit["data"]["world"]["control"]
    check_camera(fit["model"], build(control, "control").width)


def test_options_of_ones_own_are_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_command, "own_settings", lambda: ["--config-dir=my configs"])
    told = following({}, tmp_path, None, {"memory": "strided"})
    words = shlex.split(told.partition(": ")[2])
    assert words[3:] == [
        "--config-dir=my configs",
        f"checkpoint={tmp_path}",
        "seconds=20",
        "memory=strided",
    ]
    fit = composed("fit", "model=rooms", "data=rooms", "~callbacks", "folder=x")
    fit["data"]["world"]["_target_"] = "mine.stripes.Stripes"
    words = shlex.split(measuring(fit, tmp_path, {"data": "stripes"}))
    assert words[3:6] == ["--config-dir=my configs", "suite=world", "data@asked.data=stripes"]
    assert "--config-dir=my configs" not in shlex.split(measuring(fit, tmp_path))


@pytest.mark.parametrize(("experiment", "last"), [("doom", ["detail"]), ("videos", [])])
def test_phases_begin_where_earlier_ones_ended(experiment: str, last: list[str]) -> None:
    phases = composed("fit", "~callbacks", "folder=x", f"experiment={experiment}")["phases"]
    assert list(phases) == ["base", "teacher", "student", *last]
    for name, given in phases.items():
        trained = composed("fit", "~callbacks", "folder=x", *given)
        roles = trained["start"].items()
        begun = {role: one["path"] for role, one in roles if role != "by" and one["path"]}
        if name in ("student", "detail"):
            before = {"student": "x/base", "detail": "x/student"}[name]
            guide = {"guide": "x/base"} if name == "detail" else {}
            teacher = {"teacher": "x/teacher", "critic": "x/teacher"}
            assert begun == {"student": before, **teacher, **guide}
        assert trained["phases"] is None


def test_a_setting_that_another_option_left_is_taken_out_as_the_message_says() -> None:
    """A recipe sets a rate that only its own optimiser has."""
    given = ["~callbacks", "folder=x", "experiment=rooms_student", "optimizer=adamw"]
    with pytest.raises(ValueError, match="has no setting 'adamw_lr'") as refused:
        optimizer(given)
    (away,) = re.findall(r"'(~\S+)' takes it out", str(refused.value))
    optimizer([*given, away])


def optimizer(given: list[str]) -> None:
    """That of a training, on a small network."""
    build(composed("fit", *given)["optimizer"], "optimizer", module=torch.nn.Linear(2, 2))
