"""What a run's folder is worth: copied, killed, damaged, full, stopped; nothing of it is lost."""

import hashlib
import json
import os
import resource
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import ROOMS, STUDENT, fit, forked, give, rows
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from cf.files.sharded import Shards, rest_of
from cf.fit import train
from cf.modules.base import VideoModule
from cf.paths import CONFIG_DIR
from cf.runs.resumption import newest
from cf.runs.run_folder import RunFolder
from cf.settings.build import to_settings
from cf.system.signals import Stop, run

pytestmark = pytest.mark.whole

VALIDATED = (*ROOMS, "trainer.val_check_interval=2", "data.val_clips=4")
RUN = tuple(one for one in VALIDATED if "check_interval=1000" not in one)


def dying_at(number: int, folder: Path) -> Callable[[], int]:
    """End this process before it touches a file of the folder for the n-th time."""
    touched = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal touched
        writes = event in ("os.rename", "os.remove") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        )
        if writes and isinstance(arguments[0], str | Path) and str(folder) in str(arguments[0]):
            touched += 1
            if touched == number:
                os._exit(9)

    sys.addaudithook(hook)
    return lambda: touched


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def timeless(folder: Path) -> list[dict[str, str]]:
    """What is logged, without times."""
    return [
        {name: value for name, value in row.items() if not name.startswith("speed/")}
        for row in rows(folder)
    ]


def equal(mine: Path, theirs: Path) -> bool:
    ours, others = (load_file(one / "network.safetensors") for one in (mine, theirs))
    weights = all(torch.equal(ours[name], others[name]) for name in others)
    return weights and timeless(mine) == timeless(theirs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("whole") / "run", *RUN)


def go_on(folder: Path, settings: dict[str, Any]) -> None:
    """What `cf.fit` does with a folder, without Hydra's second."""
    run = RunFolder(folder)
    given = run.begin(settings)
    with run.locked():
        resumes = run.config.is_file()
        if resumes:
            run.refuse_others(given)
        train(given, run, resumes, Stop())


def test_a_run_killed_before_a_write_ends_as_if_it_had_not_been(
    whole: Path, tmp_path: Path
) -> None:
    every = 12  # all of them (every = 1) were tried, which takes two minutes
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        settings = to_settings(compose("fit", [*RUN, f"folder={tmp_path}"]))
    folder = tmp_path / "run"
    for number in range(every // 2 + 1, 1000, every):
        shutil.rmtree(folder, ignore_errors=True)

        def killed(number: int = number) -> None:
            dying_at(number, folder)
            go_on(folder, settings)

        status = forked(killed)
        assert status in (0, 9)
        if status:
            assert forked(lambda: go_on(folder, settings)) == 0
        assert equal(folder, whole), number
        assert not list(folder.rglob(".*tmp*"))
        if not status:
            break
    assert number > 20


def asked_to_end(step: int, number: int = signal.SIGTERM, times: int = 1) -> None:
    """Ask this process to end in the middle of a step."""
    conditioning, left = VideoModule.conditioning, times

    def asks(self: Any, batch: Any, prompts: Any) -> Any:
        nonlocal left
        if self.global_step == step and self.trainer.training and left:
            left -= 1
            os.kill(os.getpid(), number)
        return conditioning(self, batch, prompts)

    VideoModule.conditioning = asks  # type: ignore[method-assign] # in a process of its own


def killed(folder: Path, settings: Sequence[str], step: int = 3) -> None:
    """A run that was stopped after its third step, which has a checkpoint at the second too."""

    def work() -> None:
        asked_to_end(step - 1)
        fit(folder, *settings)

    assert forked(work) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "how", [pytest.param("copied", marks=pytest.mark.exhaustive), "moved", "of old"]
)
def test_a_copied_run_goes_on_by_itself(how: str, whole: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "other place" / "second=2"
    killed(first, RUN)
    if how == "of old":
        as_of_old(first)
    before = contents(first)
    second.parent.mkdir()
    shutil.copytree(first, second)
    if how == "moved":
        shutil.rmtree(first)
    assert str(first) not in (second / "config.yaml").read_text() or how == "of old"
    assert forked(lambda: go_on_by_command(second)) == 0
    assert equal(second, whole)
    assert not first.exists() if how == "moved" else contents(first) == before
    left, expected = (
        sorted(p.name for p in (one / "checkpoints").iterdir()) for one in (second, whole)
    )
    assert left == expected, "a stop between two checkpoints leaves none of its own"


def test_a_run_of_before_a_setting_was_added_goes_on(whole: Path, tmp_path: Path) -> None:
    """If the setting leaves the run as it was: it is null, or what the class takes by itself."""
    of_old = RunFolder(tmp_path)
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        given = of_old.begin(to_settings(compose("fit", [*RUN, f"folder={tmp_path}"])))
    there = yaml.safe_load((whole / "config.yaml").read_text())
    assert there["module"].pop("image_encoder", "") is None
    assert there["module"].pop("ema_decay") == 0.99
    del there["rollout"]["num_steps"], there["module"]["rollout"]["num_steps"]
    of_old.config.write_text(yaml.safe_dump(there))
    given["rollout"]["num_steps"] = given["module"]["rollout"]["num_steps"] = 4
    of_old.refuse_others(given)
    given["module"]["rollout"]["num_steps"] = 5
    with pytest.raises(ValueError, match="num_steps: None there, 5 here") as told:
        of_old.refuse_others(given)
    assert f"resume={tmp_path}" in str(told.value)


def test_a_run_does_not_depend_on_what_its_scale_is_called(tmp_path: Path) -> None:
    """Its numbers stand where they are used; an experiment may be given a scale later."""
    folder = RunFolder(tmp_path)
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        settings = to_settings(compose("fit", ["experiment=doom_base", f"folder={tmp_path}"]))
    assert settings["scale"]["name"] == "cpu"
    given = folder.begin(settings)
    for scale in (None, {"name": "small", "batch_size": 4}):
        folder.start({**given, "scale": scale})
        folder.refuse_others(folder.begin(settings))
    folder.start({**given, "data": {**given["data"], "batch_size": 8}})
    with pytest.raises(ValueError, match="batch_size: 8 there, 4 here"):
        folder.refuse_others(folder.begin(settings))


def test_checkpoints_with_names_of_their_own_are_left_and_not_taken_up(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed(folder, RUN)
    last = folder / "checkpoints" / "step=00000003.ckpt"
    own = [last.with_name(name) for name in ("best.ckpt", "step=3 (copy).ckpt", "zz.ckpt")]
    for path in own:
        path.write_bytes(b"mine")
    assert forked(lambda: go_on_by_command(folder)) == 0
    assert equal(folder, whole)
    assert [path.read_bytes() for path in own] == [b"mine"] * 3
    for path in folder.glob("checkpoints/step=0*.ckpt"):
        path.unlink()
    with pytest.raises(ValueError, match=r"holds best\.ckpt and no step=NUMBER\.ckpt; rename"):
        newest(folder / "checkpoints", {})


def test_a_run_killed_before_its_summary_tells_the_same_losses(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "summary.json").unlink()
    (folder / "network.safetensors").unlink()
    assert forked(lambda: go_on_by_command(folder)) == 0
    told, once = (json.loads((one / "summary.json").read_text()) for one in (folder, whole))
    assert "train/loss" in once
    assert {**told, "seconds": 0} == {**once, "seconds": 0}
    export = "network.safetensors"
    assert (folder / export).read_bytes() == (whole / export).read_bytes()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def spoilt_inside(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))


def holding_code(path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {path}.ran",)

    torch.save({"generator": Evil()}, path)


def leading_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.ckpt")


def leading_round(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def without_an_end(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_of_another(path: Path) -> None:
    """What is left of one that several processes wrote."""
    path.unlink()
    path.mkdir()
    (path / "__0_0.distcp").write_bytes(b"x")


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_shards_take_the_place_of_a_file(tmp_path: Path) -> None:
    """Of one process, where several go on."""
    path = tmp_path / "step=00000002.ckpt"
    path.write_bytes(b"x")
    for _ in range(2):
        Shards({"state_dict": {"a": torch.ones(2)}}, {"global_step": 2}, 0).write(path)
        assert rest_of(path) == {"global_step": 2}


SPOILT = [cut, spoilt_inside, holding_code, leading_nowhere, leading_round, without_an_end]


@pytest.mark.parametrize("spoil", [leading_nowhere, without_an_end, folder_of_another])
def test_a_run_goes_on_over_whatever_stands_where_its_checkpoint_will(
    spoil: Callable[[Path], None], whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    _before, last = sorted((folder / "checkpoints").iterdir())
    for name in ("network.safetensors", "summary.json"):
        (folder / name).unlink()
    spoil(last)
    give("cf.fit", f"resume='{folder}'")
    assert torch.load(last, weights_only=True)["global_step"] == 4
    assert equal(folder, whole)


@pytest.mark.parametrize("spoil", [*SPOILT, folder_of_another])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    spoil: Callable[[Path], None],
    whole: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(whole / "checkpoints", folder)
    before, last = sorted(folder.iterdir())
    state = torch.load(last, weights_only=True)["state_dict"]
    spoil(last)
    assert newest(folder, state) == before
    (line,) = [one.getMessage() for one in caplog.records]
    assert f"{last} cannot be read" in line
    assert f"going on from {before.name}" in line
    with pytest.raises(ValueError, match=r"step=00000002\.ckpt does not belong to the model"):
        newest(folder, {"other": torch.zeros(1)})
    spoil(before)
    with pytest.raises(ValueError, match=r"cannot be read .* delete .* from the beginning"):
        newest(folder, state)
    assert newest(tmp_path / "none", state) is None
    assert not list(folder.glob("*.ran"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_asked_to_end_says_how_it_goes_on(
    number: int, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a (second) run=2"

    def work() -> None:
        asked_to_end(2, number)
        fit(folder, *RUN)

    assert forked(work) == 128 + number
    told = "".join(capfd.readouterr())
    assert f"stopped by {signal.Signals(number).name}; go on with: " in told
    command = told.split("go on with: ")[1].splitlines()[0]
    assert forked(lambda: give("cf.fit", *shlex.split(command)[3:])) == 0
    assert equal(folder, whole)


def test_asked_twice_a_run_ends_at_once(tmp_path: Path) -> None:
    def work() -> None:
        asked_to_end(1, signal.SIGTERM, times=2)
        asked_to_end(1, signal.SIGTERM)
        fit(tmp_path / "run", *RUN)

    assert forked(work) == -signal.SIGTERM
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_what_is_asked_of_a_parent_is_passed_on(tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print(1)"
    child = f"{code}; open({str(tmp_path / 'on')!r}, 'w').close(); time.sleep(60)"

    def work() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)

        def ask(*_: object) -> None:
            if (tmp_path / "on").exists():
                signal.setitimer(signal.ITIMER_REAL, 0)
                os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGALRM, ask)
        run([sys.executable, "-c", child])

    assert forked(work) == 130


def test_a_full_disk_is_told_and_keeps_what_was_there(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        fit(folder, *RUN)

    assert forked(work) == 1
    told = "".join(capfd.readouterr())
    assert "no space is left on the disk for" in told
    assert "Traceback" not in told
    assert not list(folder.rglob("*tmp*"))
    assert forked(lambda: fit(folder, *RUN)) == 0
    assert equal(folder, whole)


def go_on_by_command(folder: Path, *settings: str) -> None:
    give("cf.fit", f"resume={folder}", *settings)


def as_of_old(folder: Path) -> None:
    """A run as it was written before folders could be copied: whole paths, Lightning's callback."""
    config = folder / "config.yaml"
    old = yaml.safe_load(config.read_text().replace("${folder}", str(folder)))
    outside = old.pop("outside", {})
    assert outside is not None
    old["folder"] = str(folder)
    old["callbacks"]["checkpoint"] = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": f"{folder}/checkpoints",
        "filename": "{step:08d}",
        "every_n_train_steps": 2,
        "save_top_k": 1,
        "enable_version_counter": False,
    }
    config.write_text(yaml.safe_dump(old, sort_keys=False))


def test_a_folder_that_cannot_be_written_is_told_before_training(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/run", "/proc/run"):
        told = refused("cf.fit", *ROOMS, f"hydra.run.dir={place}")
        assert f"{place} cannot be written (" in told
    before = contents(tmp_path)
    (tmp_path / "results").mkdir()
    assert "results is not the folder of a run" in refused("cf.fit", "resume=results")
    assert contents(tmp_path) == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "results"]


def test_a_distillation_that_was_stopped_and_moved_reports_what_it_would_have(
    tmp_path: Path,
) -> None:
    family, other = tmp_path / "family", tmp_path / "moved" / "far"
    settings = [one for one in ROOMS if "log_every" not in one]
    settings += [*STUDENT, "objective=direct_forcing", "trainer.log_every_n_steps=2"]

    def student(folder: Path) -> None:
        begun = [f"start.{who}.path={folder / 'start'}" for who in ("teacher", "student")]
        fit(folder / "run", *settings, *begun)

    def stopped() -> None:
        asked_to_end(2)
        student(family)

    fit(family / "start", *ROOMS)
    assert forked(lambda: student(family)) == 0
    whole = tmp_path / "whole"
    (family / "run").rename(whole)
    assert forked(stopped) == 128 + signal.SIGTERM
    other.parent.mkdir()
    family.rename(other)
    assert forked(lambda: go_on_by_command(other / "run")) == 0
    assert equal(other / "run", whole)
