"""Who began this process, and when a run began, told alike by all of its processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

_KEY = "cf/begun"
_PATIENCE = timedelta(minutes=5)
_STRANGERS = ("OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "JSM_NAMESPACE_SIZE")
"""How many processes mpirun or jsrun began, which no training joins."""
_OWN_STEPS = 0xFFFF0000  # numbers from here on are SLURM's own: of a script, of salloc's shell


@dataclass(frozen=True)
class Launch:
    """Who began this process, and beside how many.

    Attributes:
        by: srun, torchrun, or "hand": somebody set WORLD_SIZE and LOCAL_RANK; empty: it is alone.
        first: whether it is the first of its processes.
        count: of all processes that were begun.
    """

    by: str = ""
    first: bool = True
    count: int = 1


def launched() -> Launch:
    """What the environment tells of who began this process.

    Raises:
        ValueError: it tells of several processes that cannot find each other, or of no number.
    """
    ranks = {name: _number(name) for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")}
    task, count = _number("SLURM_PROCID"), _number("WORLD_SIZE", 1)
    if (tasks := _tasks()) > 1:
        return Launch("srun", task == 0, tasks)
    first = not any(ranks.values())
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return Launch("torchrun", first, count)
    if "WORLD_SIZE" not in os.environ and (size := [n for n in _STRANGERS if _number(n) > 1]):
        raise ValueError(_unclear(size))
    if count == 1 and (high := [n for n in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if _number(n)]):
        raise ValueError(_unclear(high))
    if "LOCAL_RANK" in os.environ:
        return Launch("hand", first, count)
    if count > 1 and "RANK" in os.environ:
        raise ValueError(_unclear(("RANK", "WORLD_SIZE")))
    return Launch(first=first)


def check_count(launch: Launch, devices: int, nodes: int) -> None:
    """Raise a ValueError unless as many processes were begun as a training takes.

    Args:
        launch: who began them.
        devices: of a node, a process each.
        nodes: machines.
    """
    if not launch.by or launch.count == devices * nodes:
        return
    several = f"trainer.devices={devices} and trainer.num_nodes={nodes} take {devices * nodes}"
    remedy = "begin as many, or exchange these settings"
    if launch.by == "hand":
        remedy += "; if another program left LOCAL_RANK: unset LOCAL_RANK WORLD_SIZE RANK"
    began = {"hand": "LOCAL_RANK and WORLD_SIZE tell of"}.get(launch.by, f"{launch.by} began")
    count = f"{launch.count} process{'es' * (launch.count > 1)}"
    raise ValueError(f"{began} {count}, but {several}; {remedy}")


def run_folder(root: str, resumed: str | None) -> str:
    """The folder of a run that goes on, or of one that begins now."""
    return f"{root}/{begun()}" if resumed is None else resumed


def begun() -> str:
    """A name for the folder of what begins now: the time; on SLURM, the job's step.

    The processes of one run may start seconds apart, and shall still share a folder. A step of a
    job that is queued again finds the folder that it left, and goes on in it.

    Raises:
        ValueError: if this is one of several processes that nothing in common tells a name.

    >>> len(begun())
    19
    """
    now = time.strftime("%Y-%m-%d/%H-%M-%S")
    env, launch = os.environ, launched()
    if launch.by == "srun":
        return f"slurm/{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
    if launch.count == 1:
        return now
    if env.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return _agreed(env["MASTER_ADDR"], int(env["MASTER_PORT"]), now)
    raise ValueError(
        f"{_unclear(('LOCAL_RANK', 'WORLD_SIZE'))}; or give all of them one folder, "
        "hydra.run.dir=..."
    )


def _tasks() -> int:
    """How many tasks srun began of which this is one; 1 where a person typed the command.

    Within a job, a shell and a script have the variables of the whole job, or of its first task.
    """
    step = _number("SLURM_STEP_ID", _OWN_STEPS)
    if step >= _OWN_STEPS or _typed():
        return 1
    return _number("SLURM_STEP_NUM_TASKS", _number("SLURM_NTASKS", 1))


def _typed() -> bool:
    """Whether this process belongs to a terminal, which tasks of srun have only with --pty."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _number(name: str, missing: int = 0) -> int:
    value = os.environ.get(name)
    if value is None:
        return missing
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"the variable {name} is {value!r}, which is no number; unset {name}")
    return int(value)


def _unclear(names: Iterable[str]) -> str:
    settings = ", ".join(f"{name}={os.environ[name]}" for name in names)
    return (
        f"{settings}: this is one of several processes that neither torchrun nor srun began; begin "
        f"them by one of these, or, if another program left this: unset {' '.join(names)}"
    )


def _agreed(host: str, port: int, proposal: str) -> str:
    """What the first process to ask has proposed to torchrun's store."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(host, port, is_master=False, timeout=_PATIENCE)
    return str(store.compare_set(_KEY, "", proposal).decode())
