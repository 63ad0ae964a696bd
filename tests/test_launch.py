"""Trainings on a cluster: in shells, scripts and tasks of a job, and with what others left."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import ROOMS, fit, rows

from cf.runs.trainer import built_trainer
from cf.system.launch import Launch, begun, launched

TRAINER = {"_target_": "lightning.Trainer", "accelerator": "cpu", "logger": False}
TWO = {**TRAINER, "devices": 2, "strategy": "ddp"}
JOB = {"JOB_ID": "7", "NTASKS": "4", "NTASKS_PER_NODE": "4", "NNODES": "1", "JOB_NAME": "study"}
TASK = {**JOB, "PROCID": "1", "LOCALID": "1", "NODEID": "0", "STEP_ID": "0", "STEP_NUM_TASKS": "4"}
SCRIPT = {**JOB, "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
SALLOC = {**JOB, "PROCID": "0", "STEP_ID": "4294967290", "STEP_NUM_TASKS": "1"}


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher has begun this process, no terminal is there, and what a test sets goes."""
    for name in os.environ:
        if name.startswith("SLURM_") or name.endswith(("RANK", "WORLD_SIZE")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("cf.system.launch._typed", lambda: False)


def tell(monkeypatch: pytest.MonkeyPatch, before: str = "", **told: str) -> None:
    for name, value in told.items():
        monkeypatch.setenv(before + name, value)


@pytest.mark.parametrize("name", ["study", "interactive"])
@pytest.mark.parametrize("place", [JOB, SCRIPT, SALLOC], ids=["shell", "script", "salloc"])
def test_a_shell_and_a_script_of_a_job_train_as_anywhere(
    place: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tasks the job may have: the script of `sbatch` waited for three others."""
    tell(monkeypatch, "SLURM_", **{**place, "JOB_NAME": name})
    assert launched() == Launch()
    assert time.strptime(begun(), "%Y-%m-%d/%H-%M-%S")
    trainer = built_trainer(TWO)  # type: ignore[arg-type]
    assert not trainer.strategy.cluster_environment.creates_processes_externally  # type: ignore[attr-defined]
    assert trainer.world_size == 2


def test_a_shell_that_srun_began_is_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """`srun --ntasks=4 --pty zsh`: each of its trainings went into one folder."""
    tell(monkeypatch, "SLURM_", **{**TASK, "PROCID": "0", "LOCALID": "0"})
    assert launched() == Launch("srun", True, 4)
    monkeypatch.setattr("cf.system.launch._typed", lambda: True)
    assert launched() == Launch()


@pytest.mark.parametrize("name", ["study", "interactive"])
def test_tasks_of_srun_train_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a job of `salloc`, which is called so, each trained for itself in the folder of all."""
    tell(monkeypatch, "SLURM_", **{**TASK, "JOB_NAME": name})
    tell(monkeypatch, MASTER_ADDR="127.0.0.1")
    assert (launched(), begun()) == (Launch("srun", False, 4), "slurm/7.0")
    trainer = built_trainer({**TWO, "devices": 4})  # type: ignore[arg-type]
    assert (trainer.global_rank, trainer.world_size) == (1, 4)
    with pytest.raises(ValueError, match=r"srun began 4 processes, but trainer\.devices=1"):
        built_trainer({**TRAINER, "devices": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"RANK": "1"}, "RANK=1: .*: unset RANK$"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "1"}, "LOCAL_RANK=1: .*: unset LOCAL_RANK$"),
        ({"SLURM_PROCID": "3"}, "SLURM_PROCID=3: .* unset"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "RANK=0, WORLD_SIZE=2: .* unset RANK WORLD_SIZE"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE=2: .* neither torchrun nor srun"),
        ({"MPI_LOCALNRANKS": "2"}, "MPI_LOCALNRANKS=2: "),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is '', which is no number; unset WORLD_SIZE"),
        ({"RANK": "$R"}, "RANK is '[$]R', which is no number"),
    ],
)
def test_what_another_program_left_is_refused(
    told: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With RANK=1 a training left no metrics and no scalars, and said nothing of it."""
    tell(monkeypatch, **told)
    with pytest.raises(ValueError, match=message):
        launched()


@pytest.mark.parametrize(
    "told",
    [
        {"WORLD_SIZE": "4", "MASTER_ADDR": "x", "MASTER_PORT": "y"},
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"PBS_JOBID": "1", "PBS_NP": "4", "LSB_JOBID": "1", "KUBERNETES_PORT": "tcp://x"},
    ],
)
def test_what_says_nothing_of_others_changes_nothing(
    told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, **told)
    assert launched().count == 1
    assert time.strptime(begun(), "%Y-%m-%d/%H-%M-%S")
    assert built_trainer({**TRAINER, "devices": 1}).world_size == 1  # type: ignore[arg-type]


def test_one_process_does_not_wait_for_others_that_nobody_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell(monkeypatch, LOCAL_RANK="0")
    with pytest.raises(ValueError, match=r"tell of 1 process, but .* unset LOCAL_RANK"):
        built_trainer(TWO)  # type: ignore[arg-type]


@pytest.mark.whole
def test_a_training_says_so_before_it_begins(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, RANK="1")
    told = refused("cf.fit", *ROOMS)
    assert told.strip().startswith("cf.fit: RANK=1: this is one of several processes")
    assert "RANK=1" in refused("cf.fit", *ROOMS, f"hydra.run.dir={tmp_path / 'run'}")
    monkeypatch.delenv("RANK")
    sweep = ("-m", "seed=0,1", "trainer.devices=2", "+trainer.strategy=ddp")
    assert "a sweep (-m) begins one process for a run" in refused("cf.fit", *ROOMS, *sweep)
    tell(monkeypatch, "SLURM_", **{**SCRIPT, "JOB_NAME": "study"})
    assert len(rows(fit(tmp_path / "alone", *ROOMS))) == 4


def test_all_processes_name_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = begun()
    assert time.strptime(alone, "%Y-%m-%d/%H-%M-%S")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ValueError, match=r"hydra\.run\.dir"):
        begun()
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    first = begun()
    later = time.strftime("%Y-%m-%d/%H-%M-%S", time.localtime(time.time() + 3))
    monkeypatch.setattr("cf.system.launch.time.strftime", lambda _: later)
    assert begun() == first != later
    for name, value in (("JOB_ID", "7"), ("STEP_ID", "0"), ("NTASKS", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert begun() == "slurm/7.0"
