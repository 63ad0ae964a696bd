"""Distillation as whole runs: what a step is, how it resumes, on two processes, how it stops."""

import math
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import ROOMS, STUDENT, Command, begin, fit, forked, rows, run
from ranks import on_two
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_runs import contents

from cf.models.checkpoints import read_export, save_export
from cf.system.signals import Stopped

pytestmark = pytest.mark.whole

PERSISTENT = [
    *("training_rollout=persistent", "module.window_frames=6", "module.prefix_blocks=[1,1]"),
    *("memory=sliding", "memory.window_frames=9"),
]

GUIDED = ["guide=previous_block", "score.guidance=2"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network to start from."""
    return fit(tmp_path_factory.mktemp("start") / "run", *ROOMS)


def student(start: Path, *more: str) -> tuple[str, ...]:
    roles = (f"start.{role}.path='{start}'" for role in ("student", "teacher", "guide"))
    return (*ROOMS, *STUDENT, *roles, *more)


def network(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "network.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = network(one), network(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope="module")
def distilled(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student trained by both objectives at once, with everything that a run shows."""
    return fit(
        tmp_path_factory.mktemp("distilled") / "run",
        *student(start, "objective=mixed", "callbacks=recall", "callbacks.samples.every_steps=4"),
        "callbacks.recall.every_steps=2",
        "callbacks.recall.worlds=2",
    )


def test_steps_are_those_of_the_student(distilled: Path) -> None:
    assert [int(row["step"]) for row in rows(distilled)] == [0, 1, 2, 3]
    checkpoint = max((distilled / "checkpoints").glob("*.ckpt"))
    assert checkpoint.name == "step=00000004.ckpt"
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["WorldData"]["batches"] == 4 * (2 + 1)  # two of the critic, one of the student


def test_a_run_shows_what_a_researcher_looks_for(distilled: Path) -> None:
    named = {name for name, value in rows(distilled)[0].items()}
    assert {
        "train/student_loss",
        "train/critic_loss",
        "train/score_norm",
        "train/student_gradient_norm",
        "train/critic_gradient_norm",
        "train/velocity_error",
        "train/velocity_error_real",
        "memory/frames",
        "recall/recall",
        "recall/drift",
        "recall/frames_per_second",
        "speed/seconds_per_step",
        "speed/data_share",
    } <= named
    assert any(name.startswith("recall/lag_") for name in named)
    board = EventAccumulator(str(distilled), size_guidance={"images": 0}).Reload()
    assert {"recall/recall", "memory/frames"} <= set(board.Tags()["scalars"])
    assert [one.step for one in board.Images("samples/moving")] == [4]
    sheet = board.Images("samples/sheet")[0]
    assert sheet.height > 3 * 96  # truth, student, teacher


ONE_STEP = ("trainer.max_steps=1", "module.prefix_blocks=[0,0]", "module.conflict_every_steps=0")


def test_a_critics_turn_encodes_no_video_that_nobody_reads(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cf.models.codec import PixelCodec

    encoder, frames = PixelCodec.encode, []

    def noted(self: Any, video: torch.Tensor) -> torch.Tensor:
        frames.append(video.shape[1])
        return encoder(self, video)

    monkeypatch.setattr(PixelCodec, "encode", noted)
    fit(tmp_path / "run", *student(start, "objective=mixed", *ONE_STEP))
    assert frames == [12]  # after two updates of the critic, real clips for the student


def test_teacher_and_critic_stay_out_of_what_is_exported(distilled: Path, start: Path) -> None:
    assert network(distilled).keys() == network(start).keys()
    checkpoint = max((distilled / "checkpoints").glob("*.ckpt"))
    names = torch.load(checkpoint, weights_only=True)["state_dict"]
    parts = {name.split(".")[0] for name in names}
    assert parts == {"network", "critic", "average", "guard", "_turns"}
    critic = {k.removeprefix("critic."): v for k, v in names.items() if k.startswith("critic.")}
    changed = [k for k, v in critic.items() if not torch.equal(v, network(start)[k])]
    assert changed


def test_the_hash_of_what_a_run_began_from_is_kept_and_checked(
    start: Path, refused: Command, tmp_path: Path
) -> None:
    import json

    from omegaconf import OmegaConf

    other = tmp_path / "other"
    shutil.copytree(start, other)
    settings = student(other, "objective=direct_forcing", "trainer.max_steps=2")
    folder = fit(tmp_path / "run", *settings)
    kept = OmegaConf.load(folder / "config.yaml").module.teacher.sha256
    assert kept == json.loads((start / "summary.json").read_text())["sha256"]
    weights = other / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    told = refused("cf.fit", f"resume={folder}", "trainer.max_steps=4")
    assert "other weights than when this run began" in told


@pytest.mark.parametrize(
    "objective",
    [
        *("forcing_then_dmd", "dmd", "persistent"),
        *(
            pytest.param(kind, marks=pytest.mark.exhaustive)
            for kind in (
                *("direct_forcing", "random_window", "rolling", "data_context"),
                *("replay", "writer"),
            )
        ),
    ],
    ids=lambda name: name,
)
def test_an_interrupted_distillation_resumes_to_the_same_bits(
    objective: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimisers, critic, averages, noise, curriculum and turns go on where they were."""
    persistent = objective == "persistent"
    more = [f"objective={'dmd' if objective in ROLLOUTS else objective}", "trainer.max_steps=4"]
    more += [*["module.length.grow_steps=4"], "module.conflict_every_steps=2"]
    more += ["module.length.least=9", "optimizer@critic_optimizer=muon"]
    if objective == "forcing_then_dmd":
        more += ["objective.parts.0.until=2", "objective.parts.1.start=2"]
        more += ["objective.parts.1.critic_from=1"]
    if objective == "dmd":
        more += ["module.accumulate=2", "module.conflict_every_steps=1"]  # some have a past
    settings = student(start, *more)
    if persistent:  # a video of 12 frames lasts for four batches: a checkpoint falls in between
        settings = (*(one for one in settings if one != "memory=full"), *PERSISTENT)
    elif objective in ROLLOUTS:
        own = {one.split("=")[0] for one in ROLLOUTS[objective]}
        rest = (one for one in settings if one.split("=")[0] not in own)
        settings = (*rest, *ROLLOUTS[objective])
    whole = fit(tmp_path / "whole", *settings)

    from cf.modules.distill import DistillModule

    step, count = DistillModule.training_step, iter(range(100))

    def interrupted(self: Any, *arguments: Any) -> None:
        if self.global_step == 3 and next(count) == 0:
            raise RuntimeError
        step(self, *arguments)

    monkeypatch.setattr(DistillModule, "training_step", interrupted)
    with pytest.raises(SystemExit):
        fit(tmp_path / "cut", *settings)
    monkeypatch.undo()
    from commands import give

    give("cf.fit", f"resume='{tmp_path / 'cut'}'")
    assert same(whole, tmp_path / "cut")
    names = ("step", "train/student_loss", "train/length", "memory/frames", "train/conflict")
    ours, theirs = (
        [[row.get(name) for name in names] for row in rows(f)] for f in (tmp_path / "cut", whole)
    )
    assert ours == theirs


TWICE = {
    "mixed": ["module=distill", "objective=mixed", "module.accumulate=2"],
    "persistent": ["objective=dmd", *PERSISTENT],
    "replay": ["objective=dmd", "gradient=replay"],
    "ode": ["module=start", "start=ode", "start.by.count=8", "start.by.solver_steps=4"],
    "consistency": ["module=start", "start=consistency"],
    "writer": ["objective=dmd", "gradient=writer"],
    "random_window": [
        *("objective=dmd", "training_rollout=random_window", "module.window_frames=6"),
    ],
    "rolling": [
        *("objective=dmd", "training_rollout=rolling", "rollout=rolling_few_steps"),
    ],
    "data_context": ["objective=dmd", "training_rollout=data_context", "gradient=detached"],
}
ALWAYS = ("mixed", "persistent", "replay", "ode", "consistency")
"""What shares nothing else with one another; the rest is for `make test-all`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [k if k in ALWAYS else pytest.param(k, marks=pytest.mark.exhaustive) for k in TWICE],
)
def test_two_processes_are_one_with_twice_the_batch(kind: str, start: Path, tmp_path: Path) -> None:
    """In double precision, lest rounding hide a difference; the losses are written in single."""
    losses, weights = [], []
    base = [one for one in student(start) if not (kind == "persistent" and one == "memory=full")]
    names = ["train/student_loss", "train/critic_loss", "train/student_gradient_norm"]
    names += ["train/conflict"] if kind != "mixed" else []
    if "module=start" in TWICE[kind]:
        own = ("module=", "module.length", "module.prefix", "module.critic", "trainer.gradient")
        base, names = [one for one in base if not one.startswith(own)], ["train/gradient_norm"]
    else:
        base += ["module.conflict_every_steps=1"]
    for devices, batch in ((2, 2), (1, 4)):
        folder = tmp_path / str(devices)
        settings = (
            *(*base, *TWICE[kind], "optimizer=adamw", "optimizer.lr=0.001"),
            "trainer.max_steps=3",
            "trainer.precision=64-true",
            f"trainer.devices={devices}",
            f"data.batch_size={batch}",
            *["+trainer.strategy=ddp_find_unused_parameters_true"] * (devices == 2),
        )
        work = partial(fit, folder, *settings)
        assert (on_two(work) if devices == 2 else [forked(work)]) == [0] * devices
        # A window of one new block has no past that carries gradient, and no conflict.
        losses.append([[float(row[n] or "nan") for n in names] for row in rows(folder)])
        weights.append(network(folder))
    assert losses[0] == [pytest.approx(step, rel=1e-6, nan_ok=True) for step in losses[1]]
    assert all(math.isfinite(one) for step in losses[0] for one in step[:3])
    for name, ours in weights[0].items():
        torch.testing.assert_close(ours, weights[1][name], rtol=1e-5, atol=1e-6)


SCORES = {
    "memoryless": ["score=memoryless"],
    "time_prefix": ["score=time_prefix", "score.prefix_frames=6"],
    "shared_memory": ["score=shared_memory", "memory=sliding", "memory.window_frames=6"],
    "previous_block": ["score=previous_block", "gradient=detached"],
    "guided": [*GUIDED, "score.guidance_times=[0.6,1]"],
    # As it was typed when every objective stood in a plan.
    "kl": ["score=full_history", "objective.parts.0.objective.divergence=kl"],
    "given at once": ["score=full_history", "training_rollout.given_at_once=true"],
    "own frames alone": ["score=full_history", "module.real_share=0"],
}


ALONE = ("shared_memory", "previous_block", "guided", "given at once")
"""What the rest is made of: a past of another's memory, of one's own, two networks, one pass."""


@pytest.mark.parametrize(
    "score", [s if s in ALONE else pytest.param(s, marks=pytest.mark.exhaustive) for s in SCORES]
)
def test_every_view_of_the_past_trains_a_student(score: str, start: Path, tmp_path: Path) -> None:
    given = [one for one in student(start) if one != "memory=full" or "memory" not in score]
    objective = "direct_forcing" if score in ("kl", "previous_block") else "mixed"
    folder = fit(
        tmp_path / "run", *given, f"objective={objective}", *SCORES[score], "trainer.max_steps=2"
    )
    assert len(rows(folder)) == 2
    before, after = network(start), network(folder)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in after)


LIVELY = ["objective=mixed", "module.conflict_every_steps=2", "trainer.max_steps=4"]
ROLLOUTS = {
    "persistent": PERSISTENT,
    "random_window": ["training_rollout=random_window", "module.window_frames=6"],
    "rolling": ["training_rollout=rolling", "rollout=rolling_few_steps", "rollout.num_steps=2"],
    "data_context": ["training_rollout=data_context", "gradient=detached"],
    "replay": ["gradient=replay", "score=shared_memory"],
    "writer": ["gradient=writer", "module.window_frames=6"],
    "frame by frame": ["rollout=one_step_framewise"],
    "picture": ["training_rollout.image_first=true", "module.length.least=9"],
}


OFTEN = ("persistent", "writer")
"""The kinds that leave most behind: a video in the checkpoint, two networks in the export."""


@pytest.mark.parametrize(
    "kind", [k if k in OFTEN else pytest.param(k, marks=pytest.mark.exhaustive) for k in ROLLOUTS]
)
def test_every_rollout_and_gradient_trains_a_student(
    kind: str, start: Path, tmp_path: Path
) -> None:
    """The conflict within its gradient is told every second step."""
    more = [*LIVELY, *ROLLOUTS[kind]]
    names = {one.split("=")[0] for one in more}
    given = [one for one in student(start) if one.split("=")[0] not in names]
    if kind == "picture":
        given = [one for one in given if not one.startswith("module.length")]
        more += ["module.length.most=9"]
    folder = fit(tmp_path / "run", *given, *more)
    told = [row["train/conflict"] for row in rows(folder)]
    assert [bool(one) for one in told] == [True, False, True, False]
    assert all(-1 <= float(one) <= 1 for one in told if one)
    before, after = network(start), network(folder)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in before)
    written = [name for name in after if "memory_" in name]
    assert len(written) == (len(before) if kind == "writer" else 0)


@pytest.mark.exhaustive
def test_what_a_writer_was_trained_to_is_trained_on(start: Path, tmp_path: Path) -> None:
    own = [*student(start), "objective=dmd", "gradient=writer", "trainer.max_steps=2"]
    first = fit(tmp_path / "first", *own)
    again = [one for one in own if not one.startswith("start.student")]
    second = fit(tmp_path / "second", *again, f"start.student.path='{first}'")
    before, after = network(first), network(second)
    assert before.keys() == after.keys()
    changed = [name for name in after if not torch.equal(after[name], before[name])]
    assert any("memory_" in name for name in changed)


def test_a_refused_critic_step_is_taken_up_where_it_was(
    start: Path, refused: Command, tmp_path: Path
) -> None:
    """A watch that is too strict stops the critic; without it the run goes on to the same bits."""
    from commands import give

    settings = student(start, "objective=dmd", "module.accumulate=2", "trainer.max_steps=5")
    settings = (*settings, "critic_optimizer.lr=0.01", "module.warmup_steps=0")
    whole = fit(tmp_path / "whole", *settings)
    folder = tmp_path / "cut"
    strict = ["guard.patience=3", "guard.explode=1.01", "guard.collapse=1e9"]
    told = refused("cf.fit", *settings, *strict, f"hydra.run.dir='{folder}'")
    assert "the gradient of the critic exploded" in told
    assert "lower critic_optimizer.lr" in told
    assert rows(folder)[-1]["train/critic_gradient_norm"]
    give("cf.fit", f"resume='{folder}'", "guard.explode=1e9")
    assert same(whole, folder)


def test_a_resumed_run_takes_other_learning_rates(start: Path, tmp_path: Path) -> None:
    from commands import give

    settings = student(start, "objective=direct_forcing", "module.warmup_steps=0")
    folder = fit(tmp_path / "run", *settings, "module.cooldown=0", "trainer.max_steps=2")
    rate = float(rows(folder)[-1]["train/lr"])
    give("cf.fit", f"resume='{folder}'", "optimizer.lr=0.001", "trainer.max_steps=3")
    assert rate != 0.001
    assert float(rows(folder)[-1]["train/lr"]) == 0.001
    give("cf.fit", f"resume='{folder}'", "trainer.max_steps=4")  # as a training in phases goes on
    assert float(rows(folder)[-1]["train/lr"]) == 0.001, "the folder holds what was exchanged"
    (folder / "summary.json").unlink()
    typed = (*settings, "module.cooldown=0", "trainer.max_steps=2")  # as a job is queued again
    fit(folder, *typed)
    assert len(rows(folder)) == 4
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["begun_with"] == {"optimizer.lr": rate, "trainer.max_steps": 2}
    assert config["optimizer"]["lr"] == config["module"]["optimizer"]["lr"] == 0.001


def test_the_command_that_is_told_keeps_what_was_exchanged(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own settings do not hold it before it goes on."""
    from commands import give

    def stopped(*_: object) -> None:
        raise Stopped(signal.SIGTERM)

    folder = shutil.copytree(start, tmp_path / "run")
    typed = ["cf.fit", f"resume='{folder}'", "optimizer.lr=0.001"]
    give(*typed)
    told = capsys.readouterr()
    assert f"resume={folder} optimizer.lr=0.001 trainer.max_steps=8" in told.out + told.err
    (folder / "summary.json").unlink()
    monkeypatch.setattr("cf.fit.train", stopped)
    with pytest.raises(SystemExit):
        give(*typed, "trainer.max_steps=8")
    told = capsys.readouterr()
    assert f"go on with: python -m cf.fit resume={folder} optimizer.lr=0.001" in told.out + told.err


@pytest.mark.slow
def test_phases_follow_one_another_survive_a_kill_and_are_not_repeated(tmp_path: Path) -> None:
    quick = [one for one in ROOMS if not one.startswith(("data=", "model=", "memory="))]
    quick += ["module.warmup_steps=1", "trainer.max_steps=8"]
    quick += ["module.length.least=12", "module.length.most=12", "module.prefix_blocks=[1,2]"]
    phases = [
        "base: [experiment=rooms_base]",
        "student: [experiment=rooms_student, 'start.student.path=${folder}/base', "
        "'start.teacher.path=${folder}/base']",
    ]
    shared = [one for one in quick if not one.startswith(("module.length", "module.prefix"))]
    own = ", ".join(f"'{one}'" for one in quick if one not in shared)
    phases[1] = phases[1].replace("]", f", {own}]")
    file = tmp_path / "configs" / "experiment" / "short.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "# @package _global_\ndefaults: [rooms_student]\nphases:\n  " + "\n  ".join(phases) + "\n"
    )
    given = ["--config-dir", str(tmp_path / "configs"), "experiment=short", *shared]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = run("cf.fit", *given, f"hydra.run.dir={whole}")
    assert done.status == 0, done.told
    kill_in("base", killed, *given, f"hydra.run.dir={killed}")
    assert not (killed / "student").exists()
    again = (f"resume={killed}", "--config-dir", str(tmp_path / "configs"))
    kill_in("student", killed, *again)
    copied, before = tmp_path / "other place" / "copied", contents(killed)
    shutil.copytree(killed, copied)
    base = (copied / "base" / "network.safetensors").stat().st_mtime_ns
    done = run("cf.fit", f"resume={copied}", *again[1:])
    assert done.status == 0, done.told
    assert "phase base is finished" in done.told
    assert (copied / "base" / "network.safetensors").stat().st_mtime_ns == base
    assert same(whole / "base", copied / "base")
    assert same(whole / "student", copied / "student")
    assert contents(killed) == before


@pytest.mark.slow
def test_a_training_in_phases_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    given = ("experiment=videos", f"data.folder={tmp_path / 'nowhere'}")
    done = run("cf.fit", *given, f"hydra.run.dir={tmp_path / 'made'}")
    assert done.status == 1
    assert "nowhere is not a folder" in done.told
    assert "phase base did not begin, and nothing was made; its message stands above" in done.told
    assert "resume=" not in done.told
    assert not (tmp_path / "made").exists()


def kill_in(phase: str, folder: Path, *arguments: str) -> None:
    """Start a training in phases, and kill it once that phase has taken some steps."""
    table = folder / phase / "metrics.csv"
    log = folder.with_name(f"{folder.name} in {phase}.log")
    with begin(("cf.fit", [*arguments]), log) as running:
        far = running.until(lambda: table.exists() and len(table.read_text().split()) > 4, 300)
        assert far, f"the run ended before it could be killed: {log.read_text()}"
        running.send(signal.SIGKILL, group=True)


def test_phases_do_not_mix_what_was_trained_under_other_settings(
    start: Path, tmp_path: Path
) -> None:
    from cf.runs.phases import Phases

    folder = tmp_path / "phases"
    phases = {"base": ["a=1"], "student": ["b=2"]}
    begun = Phases.start(folder, phases, ["seed=1", "phases.base=[]", "experiment=x"], "some")
    assert begun == Phases.load(folder) == Phases(folder, phases, ["seed=1"], "some")
    assert Phases.start(folder, phases, ["seed=1"], "some") == begun
    with pytest.raises(ValueError, match="with other settings; go on with it"):
        Phases.start(folder, phases, ["seed=2"], "some")
    with pytest.raises(ValueError, match=r"trainer.max_steps=9: a training in phases keeps"):
        begun.resumed([f"resume={folder}", "trainer.max_steps=9"], "some")
    assert begun.resumed([f"resume={folder}"], "some") == begun
    with pytest.raises(ValueError, match=r"the settings in some .* add --config-dir some"):
        begun.resumed([f"resume={folder}"])

    shutil.copytree(start, folder / "base")
    fit(folder / "student", *student(folder / "base", "objective=direct_forcing"))
    begun.run()  # all is finished
    (folder / "base" / "summary.json").unlink()
    (folder / "base" / "network.safetensors").unlink()
    fit(folder / "base", *ROOMS)  # a second time
    begun.run()  # the student was trained from it all the same
    shutil.rmtree(folder / "base")
    fit(folder / "base", *ROOMS, "seed=5")
    with pytest.raises(ValueError, match=r"student was trained from another base .* delete"):
        begun.run()


@pytest.mark.whole
def test_a_setting_that_only_some_phases_take_is_refused_before_the_first(tmp_path: Path) -> None:
    """The message holds a setting that gives it to one alone, as a shell takes it."""
    from hydra import compose, initialize_config_dir

    from cf.paths import CONFIG_DIR
    from cf.runs.phases import Phases

    own = ["experiment=rooms_student", f"start.student.path='{tmp_path}/base'"]
    phases = {"base": ["experiment=rooms_base"], "student": own}
    begun = Phases.start(tmp_path, phases, ["seed=1", "guide=own_block"])
    begun = replace(begun, place="scale.phases.tiny")  # where experiment=context_forcing has them
    with pytest.raises(ValueError, match=r"phase base: guide=.* All phases are given") as told:
        begun.run()
    (typed,) = shlex.split(str(told.value).split("to student alone by ")[1])
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        cfg = compose("fit", ["experiment=context_forcing", typed, "folder=here"])
    path = "start.student.path=here/base"
    assert cfg.phases.student == ["experiment=rooms_student", path, "guide=own_block"]
    begun = Phases(tmp_path, {**phases, "base": ["objective.none=1"]}, ["seed=1"])
    with pytest.raises(ValueError, match=r"^phase base: there is no setting 'objective.none'"):
        begun.run()
    assert [one.name for one in tmp_path.iterdir()] == ["phases.yaml"]


def test_a_scale_that_chooses_the_phases_is_not_given_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import give

    from cf.runs.phases import Phases

    begun: list[Phases] = []
    monkeypatch.setattr(Phases, "run", lambda self: begun.append(self))
    typed = ("scale=tiny", "seed=3", f"hydra.run.dir='{tmp_path / 'run'}'")
    give("cf.fit", "experiment=context_forcing", *typed)
    assert (begun[0].shared, begun[0].place) == (["seed=3"], "scale.phases.tiny")


def test_a_folder_is_trained_in_once_at_a_time(tmp_path: Path) -> None:
    from cf.runs.run_folder import RunFolder

    with RunFolder(tmp_path).locked():
        other = "from pathlib import Path; from cf.runs.run_folder import RunFolder; import sys\n"
        other += "with RunFolder(Path(sys.argv[1])).locked(): pass"
        done = subprocess.run(
            [sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True
        )
        assert "another process is training" in done.stderr


def test_a_run_that_explodes_leaves_its_last_good_state(
    start: Path, refused: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    told = refused(
        "cf.fit",
        *student(start, "objective=direct_forcing", "optimizer=adamw", "optimizer.lr=1e30"),
        "module.warmup_steps=0",
        f"hydra.run.dir='{folder}'",
    )
    assert "is not finite at step 1" in told
    assert "Look at train/student_gradient_norm" in told
    assert "step=00000001.ckpt" in told
    weights = torch.load(folder / "checkpoints" / "step=00000001.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights["state_dict"].values())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["objective=teacher_forcing"], "objective=direct_forcing"),
        (["module.prefix_blocks=[3,2]"], "prefix_blocks"),
        (["module.window_frames=12"], "length.least=12"),
        (["module.real_share=0.1"], "change data.batch_size"),
        (["module.critic_steps=0"], "critic_steps=0"),
        (["objective=forcing_then_dmd"], "starts at step 200"),
        (["start.teacher.path=nowhere"], "nowhere"),
        (["start.teacher.path=null"], "cf.fit: start.teacher.path must be given"),
        (["teacher=wan_14b"], "this one is of 40 layers"),  # 57 GB, before memory is taken
        (["score=full_history", "score.guidance=3"], "cf.fit: score.guidance needs text"),
        ([*GUIDED, "start.guide.path=null"], "cf.fit: start.guide.path must be given"),
        ([*GUIDED, "start.guide.path=nowhere"], "nowhere"),
        (GUIDED[:1], "cf.fit: guide=... leads the teacher away"),
        (["module=pretrain", "objective=teacher_forcing", *GUIDED], "guide=... is for module=dis"),
        ([*GUIDED, "score.guidance_times=0.6"], "a list of a number, got 0.6"),
        ([*GUIDED, "score.guidance_times=[0.9,0.5]"], "[0.9, 0.5] must"),
        (["trainer.precision=16-mixed"], "bf16-mixed"),
        (["module=pretrain", "objective=dmd"], "module=distill"),
        (["trainer.gradient_clip_val=1"], "give module.clip"),
        (["trainer.accumulate_grad_batches=2"], "give module.accumulate"),
        (["rollout.context_noise=0.1"], "rollout.context_noise=0.1 to 0"),
        (["module.length.most=24"], "raise data.clip_frames"),
        (
            ["module.prefix_blocks=[5,5]", "module.length.least=18", "module.length.most=18"],
            "raise data.clip_frames",
        ),
    ],
)
def test_distillation_refuses_in_one_message(
    settings: list[str], named: str, start: Path, refused: Command
) -> None:
    given = {one.split("=")[0] for one in settings}
    own = (
        ("module.length", "module.prefix", "module.critic") if "module=pretrain" in settings else ()
    )
    base = [
        one
        for one in student(start, *([] if "objective" in given else ["objective=direct_forcing"]))
        if one.split("=")[0] not in given and not one.startswith(own)
    ]
    assert named in refused("cf.fit", *base, *settings)


@pytest.mark.parametrize("role", ["teacher", "guide"])
def test_a_teacher_or_guide_of_the_latents_of_another_codec_is_refused(
    role: str, start: Path, refused: Command, tmp_path: Path
) -> None:
    config, weights = read_export(start / "network.safetensors")
    codec = {"_target_": "cf.models.autoencoder.VideoAutoencoder.from_file"}
    config = {**config, "codec": {**codec, "file": "shipped:codec"}}
    save_export(tmp_path / "network.safetensors", weights, config)
    settings = student(
        start, "objective=direct_forcing", *GUIDED, f"start.{role}.path='{tmp_path}'"
    )
    told = refused("cf.fit", *settings, f"hydra.run.dir='{tmp_path / 'run'}'")
    assert f"start.{role}.path={tmp_path} was trained on latents of codec.file=shipped" in told


def test_a_teacher_is_shown_block_by_block_whatever_way_its_student_is_sampled_in(
    start: Path, tmp_path: Path
) -> None:
    """A window that rolls takes no velocity: once a run was lost at its first picture."""
    rolling = ("memory=anchor", "rollout=rolling_few_steps", "training_rollout=rolling")
    lengths = ("module.prefix_blocks=[0,0]", "module.window_frames=6", "trainer.max_steps=1")
    shown = ("callbacks.samples.every_steps=1", "callbacks.samples.count=1")
    made = fit(tmp_path / "run", *student(start, *rolling, *lengths, *shown, "objective=dmd"))
    assert (made / "samples" / "step_00000001.png").is_file()
