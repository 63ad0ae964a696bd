"""The commands as a user gives them, and small settings with which they take seconds."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

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


def command(module: str, *arguments: str, **kwargs: str) -> list[str]:
    """How a command is started."""
    return [sys.executable, "-m", module, *arguments, *(f"{k}={v}" for k, v in kwargs.items())]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a user gives it; slow to start, so used where the process itself matters."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(module, *arguments), capture_output=True, text=True, env=environment, check=False
    )


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
