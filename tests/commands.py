"""The commands as a user gives them, and small settings with which they take seconds."""

import csv
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from warm import begin

_LONGEST = 900.0  # seconds that a command takes at most
Command = Callable[..., str]
ROOMS = (
    "data=rooms",
    "model=rooms",
    "memory=full",
    "data.size=[16,16]",
    "data.world.view_cells=2",
    "data.world.room_cells=3",
    "data.clip_frames=12",
    "data.batch_size=4",
    "model.latent_shape=[3,16,16]",
    "model.patch_size=[8,8]",
    "model.dim=24",
    "model.num_heads=2",
    "model.num_layers=2",
    "model.ffn_dim=48",
    "model.rope_axes=[4,4,4]",
    "rollout.num_steps=2",
    "module.warmup_steps=2",
    "callbacks.samples.every_steps=1000",
    "callbacks.checkpoint.every_n_train_steps=2",
    "callbacks.throughput.every_steps=2",
    "trainer.max_steps=4",
    "trainer.val_check_interval=1000",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
)
"""A world of two cells across, a network of two layers."""
STUDENT = (
    "module=distill",
    "rollout=blockwise",
    "trainer.gradient_clip_val=null",
    "module.length.least=12",
    "module.length.most=12",
    "module.prefix_blocks=[1,2]",
    "module.critic_steps=2",
)


@dataclass(frozen=True)
class Done:
    """How a command ended, and all that it said."""

    status: int | None
    told: str


def run(module: str, *arguments: str) -> Done:
    """A command in a process of its own, where that matters: a fork, which imports nothing anew."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with begin((module, [*arguments]), log) as running:
            status = running.ended(_LONGEST)
        return Done(status, log.read_text(errors="replace"))


def forked(work: Callable[[], Any]) -> int:
    """The exit status of some work in a process of its own that is as warm as this one."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def let_workers_be_forks(patch: pytest.MonkeyPatch) -> None:
    """Of this process, so that they import nothing anew; `test_processes.py` begins them afresh."""
    context = multiprocessing.get_context("fork")
    patch.setattr("cf.system.processes.multiprocessing.get_context", lambda _: context)


def give(module: str, *arguments: str) -> None:
    """A command in this process; raises SystemExit where it would end with a message."""
    before, sys.argv = sys.argv, [module, *arguments]
    try:
        import_module(module).main()
    finally:
        sys.argv = before


def fit(folder: Path, *settings: str) -> Path:
    """A finished run of `cf.fit` in this process."""
    give("cf.fit", *settings, f"hydra.run.dir='{folder}'")
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    """What a training logged, a row a step."""
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
