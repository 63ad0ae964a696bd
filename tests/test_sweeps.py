"""Sweeps in stages: what is trained from what, on which seeds, and the table at the end."""

import shlex
import shutil
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from commands import ROOMS, Command, begin, fit, give, run
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from test_benchmark import SMALL
from test_benchmark_contestants import TINY
from test_demo import quoted

from cf.paths import CONFIG_DIR
from cf.runs.stages import Stages
from cf.settings.build import check, to_settings

pytestmark = pytest.mark.whole

CONFIGS = Path(CONFIG_DIR)
SWEEPS = sorted(file.stem for file in (CONFIGS / "sweep").glob("*.yaml"))
WORLDS = sorted(file.stem for file in (CONFIGS / "sweep" / "world").glob("*.yaml"))
STUDIES = [one for one in SWEEPS if one.startswith("study")]  # each of one world
ARMS = {"full": ["score=full"], "window": ["score=previous", "memory=window"]}


def stages(**changes: Any) -> Stages:
    settings = {
        "name": "mine",
        "root": Path("/sweeps"),
        "seeds": [3, 5],
        "start": {"teacher": ["experiment=t"], "base": ["experiment=b"]},
        "student": [
            "experiment=s",
            "start.teacher.path='{teacher}'",
            "start.student.path='{base}'",
        ],
        "arms": ARMS,
        "measured": {
            "oracle": {"run": "teacher"},
            "roped": {"run": "window", "memory": "rope", "memory.window_frames": 5},
        },
        "benchmark": ["suite=recall"],
        "shared": ["trainer.max_steps=2"],
    }
    return Stages(**(settings | changes))


def test_students_of_a_seed_start_from_the_runs_of_that_seed() -> None:
    first, second = stages().stages()
    assert [str(one.folder) for one in first] == [
        "/sweeps/start/teacher/seed_3",
        "/sweeps/start/teacher/seed_5",
        "/sweeps/start/base/seed_3",
        "/sweeps/start/base/seed_5",
    ]
    assert [one.folder.parts[-2:] for one in second] == [
        ("full", "seed_3"),
        ("window", "seed_3"),
        ("full", "seed_5"),
        ("window", "seed_5"),
    ]
    assert second[3].settings == [
        "experiment=s",
        "start.teacher.path='/sweeps/start/teacher/seed_5'",
        "start.student.path='/sweeps/start/base/seed_5'",
        "score=previous",
        "memory=window",
        "trainer.max_steps=2",
        "seed=5",
    ]
    assert second[3].needs == [first[1].folder, first[3].folder]
    assert second[3].overrides(Path("/sweeps"))[-2:] == [
        "hydra.sweep.dir='/sweeps'",
        "hydra.sweep.subdir='arms/window/seed_5'",
    ]


def test_all_seeds_may_share_one_start() -> None:
    shared = stages(start_seed=0)
    first, second = shared.stages()
    assert [str(one.folder) for one in first] == [
        "/sweeps/start/teacher/seed_0",
        "/sweeps/start/base/seed_0",
    ]
    assert all(run.needs == [one.folder for one in first] for run in second)
    assert [run.settings[-1] for run in second] == ["seed=3", "seed=3", "seed=5", "seed=5"]
    assert "contestants.oracle.checkpoint=['/sweeps/start/teacher/seed_0']" in shared.measuring()


def test_a_start_may_start_from_another() -> None:
    start = {"base": ["experiment=b"], "teacher": ["experiment=t", "start.student.path={base}"]}
    assert [len(one) for one in stages(start=start).stages()] == [2, 2, 4]
    assert [
        len(one) for one in stages(start={}, student=["experiment=s"], measured={}).stages()
    ] == [4]


def test_the_benchmark_is_given_every_training_of_every_method() -> None:
    given = stages().measuring()
    runs = [
        f"['/sweeps/{kind}/seed_3','/sweeps/{kind}/seed_5']"
        for kind in ("arms/full", "arms/window", "start/teacher")
    ]
    assert given == [
        f"networks={{full:{runs[0]},window:{runs[1]}}}",
        "+contestant@contestants.oracle=trained",
        f"contestants.oracle.checkpoint={runs[2]}",
        "+contestant@contestants.roped=trained",
        f"contestants.roped.checkpoint={runs[1]}",
        "+memory@contestants.roped.memory=rope",
        "contestants.roped.memory.window_frames=5",
        "absent=list",
        "suite=recall",
        "hydra.run.dir='/sweeps/mine'",
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seeds": []}, "sweep.seeds="),
        ({"seeds": [1, 1]}, "each once"),
        ({"arms": {}}, "sweep.arms is empty"),
        ({"arms": {"teacher": []}}, "both name teacher"),
        ({"measured": {"x": {"run": "nobody"}}}, "sweep.measured.x must be"),
        ({"measured": {"x": {"run": "full", "memories": "a"}}}, "memory or not"),
        ({"measured": {"x": {"run": "full", "memory.window_frames": 5}}}, "memory or not"),
    ],
)
def test_it_says_what_is_wrong_with_a_sweep(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        stages(**changes)


@cache  # sweeps share what their methods start from
def composed(*settings: str) -> None:
    """Compose a training and check what it is built of."""
    cfg = compose("fit", [*settings, "folder=x", "resume=x"])
    for name in ("data", "module"):
        check(OmegaConf.to_container(cfg[name], resolve=True), name)


@pytest.mark.xdist_group("sweeps")  # so that one worker composes what they share, once
@pytest.mark.parametrize(
    ("sweep", "world"),
    [
        *((one, "rooms") for one in SWEEPS if one not in STUDIES),
        *((one, "") for one in STUDIES),
        *(("comparison", one) for one in WORLDS if one != "rooms"),
    ],
)
def test_every_training_and_benchmark_of_every_sweep_can_be_built(sweep: str, world: str) -> None:
    given = ["sweep.teacher=T", "sweep.base=B", "sweep.prompts=P"] if world == "wan" else []
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        given += [f"sweep/world={world}"] if world else []
        cfg = compose("fit", [f"sweep={sweep}", *given])
        chosen: Any = OmegaConf.to_container(cfg.sweep, resolve=True)
        read = Stages.__dataclass_fields__
        made = Stages(sweep, Path("/sweeps"), **{k: v for k, v in chosen.items() if k in read})
        for one in [
            run for stage in made.stages() for run in stage if run.settings[-1] == "seed=0"
        ]:
            more = ["data.folder=x"] if world == "wan" else []
            composed(*one.settings, *more)
            named = {part.split("=")[0] for part in one.settings}
            differs = {"score", "memory", "experiment"} & named
            assert differs or one.folder.parts[2] == "start"
        arguments = [part for part in made.measuring() if not part.startswith("hydra.")]
        to_settings(compose("benchmark", arguments))


def quick(*more: str) -> list[str]:
    """Settings of a sweep of seconds; the world's come with the experiment."""
    groups = ("data=", "model=", "memory=", "callbacks.samples", "trainer.enable")
    mine = [one for one in ROOMS if not one.startswith(groups)]
    mine = [f"++{one}" if one.startswith("data.world") else one for one in mine]
    student = ["experiment=rooms_student", "start.teacher.path={teacher}", "module.length.least=12"]
    student += ["start.student.path={base}", "module.length.most=12", "module.prefix_blocks=[1,2]"]
    return [*mine, f"sweep.student={quoted(student)}", "hydra.launcher.n_jobs=2", *more]


def measured() -> str:
    """Settings of a benchmark of seconds, as a list."""
    own = [one for one in SMALL if not one.startswith(("contestants", "~"))]
    own += ["contestants=none", "tensorboard=false", *TINY]
    return quoted(own)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_sweep_ends_with_a_table_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    arms = "{window:['score=previous_block','memory=sliding'],full:['score=full_history']}"
    asked = (
        "-m",
        "sweep=seed_ablation",
        "~sweep.arms",
        f"+sweep.arms={arms}",
        "sweep.seeds=[0,1]",
        f"sweep.benchmark={measured()}",
        *quick("trainer.max_steps=6"),
        f"hydra.sweep.dir={tmp_path}",
    )
    with begin(("cf.fit", [*asked]), tmp_path / "log") as begun:
        far = begun.until(lambda: bool([*tmp_path.glob("arms/*/*/checkpoints/*.ckpt")]), 600)
        assert far, (tmp_path / "log").read_text()
        begun.send(signal.SIGKILL, group=False)  # its workers must end by themselves
        assert begun.ended(60) == -signal.SIGKILL
        assert begun.outlived(30) == 0
    assert not (tmp_path / "seed_ablation").exists(), (tmp_path / "log").read_text()
    done = run("cf.fit", *asked)
    told = done.told
    assert done.status == 0, told
    assert f"finished already: {tmp_path / 'start' / 'teacher' / 'seed_0'}" in told
    table = pd.read_csv(tmp_path / "seed_ablation" / "headline.csv")
    assert set(table["contestant"]) == {"window", "full", "teacher"}
    assert (table["unit"] == "training").all()
    assert set(table["units"]) <= {2}
    assert str(tmp_path / "seed_ablation" / "results.md") in told
    results = (tmp_path / "seed_ablation" / "results.md").read_text()
    again = run("cf.fit", *asked)
    assert again.status == 0
    assert again.told.count("finished already") == 8
    assert (tmp_path / "seed_ablation" / "results.md").read_text() == results


@pytest.mark.slow
def test_a_sweep_that_is_asked_to_end_says_once_how_it_goes_on(tmp_path: Path) -> None:
    quick = [one for one in ROOMS if "max_steps" not in one]
    launched = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.max_steps=100000"]
    asked = ("cf.fit", "-m", *quick, *launched, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'out'}")
    with begin(("cf.fit", [*asked[1:]]), tmp_path / "log") as begun:
        begun.until(lambda: len([*tmp_path.glob("out/*/checkpoints/*.ckpt")]) > 2, 600)
        begun.send(signal.SIGTERM, group=False)
        assert begun.ended(60) == 143, (tmp_path / "log").read_text()
        assert begun.outlived(30) == 0
    told = (tmp_path / "log").read_text()
    (again,) = [line.split("go on with: ")[1] for line in told.splitlines() if "go on with" in line]
    assert shlex.split(again)[1:] == ["-m", *asked]
    assert "Traceback" not in told


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_training_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    arms = "{odd:['memory=sliding','memory.window_frames=-1'],full:['score=full_history']}"
    done = run(
        "cf.fit",
        "-m",
        "sweep=seed_ablation",
        "~sweep.arms",
        f"+sweep.arms={arms}",
        "sweep.seeds=[0]",
        f"sweep.benchmark={measured()}",
        *quick("trainer.max_steps=2"),
        f"hydra.sweep.dir={tmp_path}",
    )
    told = done.told
    assert done.status == 1, told
    assert "window_frames=-1" in told
    assert "Traceback" not in told
    assert f"not finished: {tmp_path / 'arms' / 'odd' / 'seed_0'}" in told
    results = (tmp_path / "seed_ablation" / "results.md").read_text()
    assert f"- odd: {tmp_path / 'arms' / 'odd' / 'seed_0'}" in results
    assert "| full |" in results


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["sweep=seed_ablation", "sweep.seeds=3"], "sweep.seeds must be a list"),
        (["sweep=seed_ablation", "sweep.seeds=[a]"], "sweep.seeds must be a list"),
        (["sweep=comparison", "sweep/world=wan"], "sweep.teacher must be given: sweep.teacher=..."),
        (["hydra/sweeper=stages"], "sweep=seed_ablation"),
        *(
            (["sweep=seed_ablation", f"sweep.benchmark={quoted(['suite=recall', one])}"], named)
            for one, named in (  # before the trainings, not after them
                ("headline=[nothing]", "sweep.benchmark: headline: 'nothing' is none of"),
                ("contestants=none", "sweep.benchmark: gates compare with the truth"),
                ("durations=[x]", "sweep.benchmark: durations must be rising seconds"),
                ("devices=cuda:9", "sweep.benchmark: devices=cuda:9: there is no such device"),
                ("suites=recall", "sweep.benchmark: there is no setting 'suites'"),
            )
        ),
    ],
)
def test_a_sweep_is_refused_in_one_message(
    overrides: list[str], named: str, tmp_path: Path, refused: Command
) -> None:
    place = f"hydra.sweep.dir='{tmp_path / 'sweep'}'"
    assert named in refused("cf.fit", "-m", *overrides, place)
    assert not (tmp_path / "sweep").exists()


def test_what_befalls_a_training_is_a_status() -> None:
    from hydra_plugins.cf_stages import _kept

    def broken(cfg: DictConfig) -> None:
        raise RuntimeError("out of something")

    def told(cfg: DictConfig) -> None:
        raise SystemExit(1)

    cfg = OmegaConf.create()
    assert [_kept(task, cfg) for task in (broken, told, lambda _: None)] == [1, 1, None]


@pytest.mark.slow
def test_the_same_command_in_the_same_folder_goes_on(
    tmp_path: Path, refused: Any, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit(tmp_path / "whole", *ROOMS)
    part = fit(tmp_path / "part", *ROOMS)
    (part / "summary.json").unlink()  # as if it had been killed after its checkpoint
    (part / "network.safetensors").unlink()
    fit(part, *ROOMS)
    ours, theirs = (load_file(one / "network.safetensors") for one in (part, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    stamp = (part / "network.safetensors").stat().st_mtime_ns
    fit(part, *ROOMS)  # finished: nothing is done
    assert (part / "network.safetensors").stat().st_mtime_ns == stamp
    told = refused("cf.fit", *ROOMS, "optimizer.lr=0.5", f"hydra.run.dir='{part}'")
    assert "holds a run with other settings" in told
    assert "optimizer.lr" in told
    assert "0.5 here" in told
    assert (part / "network.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_a_copied_sweep_goes_on_by_itself_and_leaves_the_first_as_it_is(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "a copy"
    asked = ("cf.fit", "-m", *ROOMS, "seed=0,1")
    give(*asked, f"hydra.sweep.dir='{first}'")
    whole = {one.name: one for one in first.iterdir() if one.is_dir()}
    assert len(whole) == 2
    networks = {name: load_file(run / "network.safetensors") for name, run in whole.items()}
    cut = sorted(whole)[-1]  # as if it had been killed after its first checkpoint
    for name in ("summary.json", "network.safetensors", "checkpoints/step=00000004.ckpt"):
        (first / cut / name).unlink()
    before = {one: one.read_bytes() for one in first.rglob("*") if one.is_file()}
    shutil.copytree(first, copy)
    give(*asked, f"hydra.sweep.dir='{copy}'")
    assert {one: one.read_bytes() for one in first.rglob("*") if one.is_file()} == before
    for name, state in networks.items():
        theirs = load_file(copy / name / "network.safetensors")
        assert all(torch.equal(theirs[one], state[one]) for one in state)
