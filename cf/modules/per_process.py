"""What every process of a run keeps for itself, in the one checkpoint that the first one writes."""

from typing import Any

import lightning as L  # noqa: N812  (its usual name)
import torch
from lightning.fabric.utilities import move_data_to_device


def gather_states(own: dict[str, Any], trainer: L.Trainer) -> list[dict[str, Any]]:
    """What each process keeps, on the CPU, in their order; empty on all but the first.

    Nobody waits where nothing is kept, which all of them agree upon.
    """
    if not own:
        return []
    own = move_data_to_device(own, "cpu")
    if trainer.world_size == 1:
        return [own]
    states: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(own, states, dst=0)
    return states or []


def mine(kept: list[dict[str, Any]], trainer: L.Trainer) -> dict[str, Any]:
    """What this process kept.

    Raises:
        ValueError: if there were more or fewer processes then.
    """
    if kept and len(kept) != trainer.world_size:
        raise ValueError(
            f"this run's checkpoint holds a rollout of each of {len(kept)} processes, and there "
            f"are {trainer.world_size} now; go on with trainer.devices that make {len(kept)}"
        )
    return kept[trainer.global_rank] if kept else {}
