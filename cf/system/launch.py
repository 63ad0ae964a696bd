"""When a run began, told alike by all of its processes, whoever started them and when."""

from __future__ import annotations

import os
import time
from datetime import timedelta

_KEY = "cf/begun"
_PATIENCE = timedelta(minutes=5)


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
    env = os.environ
    if "SLURM_STEP_ID" in env and int(env.get("SLURM_NTASKS", "1")) > 1:
        return f"slurm/{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
    if int(env.get("WORLD_SIZE", "1")) == 1 or not {"RANK", "LOCAL_RANK"} & set(env):
        return now
    if env.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return _agreed(env["MASTER_ADDR"], int(env["MASTER_PORT"]), now)
    raise ValueError(
        "this is one of several processes, started by neither torchrun nor srun; give all of them "
        "one folder, hydra.run.dir=..."
    )


def _agreed(host: str, port: int, mine: str) -> str:
    """What the first process to ask has proposed to torchrun's store."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    store = TCPStore(host, port, is_master=False, timeout=_PATIENCE)
    return str(store.compare_set(_KEY, "", mine).decode())
