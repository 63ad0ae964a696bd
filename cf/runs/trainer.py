"""Lightning's trainer, in one of the processes that somebody began or that it begins itself."""

from typing import Any

import lightning as L  # noqa: N812  (its usual name)
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from cf.files.output_folder import sweeps
from cf.settings.build import Settings, build
from cf.system.launch import check_count, launched


def built_trainer(settings: Settings, **given: Any) -> L.Trainer:
    """The trainer of some settings, told who began this process.

    By itself Lightning goes by the job: it waits for tasks that a shell or a script within a job of
    SLURM does not have, and tasks of a job that is called `interactive` train each for itself.

    Args:
        settings: of the trainer.
        given: what it takes besides.

    Raises:
        ValueError: more or fewer processes were begun than it takes, or one of a sweep.
    """
    launch = launched()
    if launch.by != "torchrun" and not settings.get("plugins"):
        srun = launch.by == "srun"
        given["plugins"] = [SLURMEnvironment() if srun else LightningEnvironment()]
    trainer: L.Trainer = build(settings, "trainer", **given)
    devices, nodes = trainer.num_devices, trainer.num_nodes
    check_count(launch, devices, nodes)
    if not launch.by and devices > 1 and sweeps():  # Lightning would begin the sweep again
        raise ValueError(
            f"trainer.devices={devices}: a sweep (-m) begins one process for a run; give one run "
            "at a time, or, on SLURM, hydra/launcher=submitit_slurm "
            f"hydra.launcher.tasks_per_node={devices}"
        )
    return trainer
