"""Which checkpoint a run is resumed from."""

from __future__ import annotations

import logging
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cf.files.steps import checkpoints

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("cf.fit")

_WHY = "it may have been cut short, or holds code, which is never run"


def newest(folder: Path, state: Mapping[str, Tensor]) -> Path | None:
    """The checkpoint to resume from; None if the run was stopped before the first.

    A damaged one is passed over, for the one before it.

    Args:
        folder: of checkpoints, whose names are in the order of their steps.
        state: of the module that is to take it up.

    Raises:
        ValueError: if all are damaged or hold code, one belongs to another module, or none is
            named as checkpoints are.
    """
    paths = checkpoints(folder)[::-1]
    if not paths and (misnamed := sorted(folder.glob("*.ckpt"))):
        raise ValueError(
            f"{folder} holds {misnamed[0].name} and no step=NUMBER.ckpt; rename the one to resume "
            f"from to the steps that were taken, such as step=00000100.ckpt"
        )
    for path, before in zip(paths, [*paths[1:], None], strict=False):
        theirs = _weights(path)
        if theirs is None:
            if before is not None:
                log.warning("%s cannot be read (%s); going on from %s", path, _WHY, before.name)
            continue
        if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in state.items()}:
            raise ValueError(
                f"{path} does not belong to the model of config.yaml (other weights, or weights "
                f"of other sizes); delete it to resume from "
                f"{'the beginning' if before is None else before.name}"
            )
        return path
    if paths:
        raise ValueError(
            f"{paths[0]} cannot be read ({_WHY}), nor one before it; delete {folder} to train "
            "from the beginning"
        )
    return None


def _weights(checkpoint: Path) -> Mapping[str, Tensor] | None:
    """The weights in a checkpoint; None if it is damaged or holds code, which is not run."""
    from cf.files.pickled import load_tensors  # takes PyTorch along, which --help can do without

    if checkpoint.is_dir():
        return _weights_in_shards(checkpoint)
    if not checkpoint.is_file():  # a link that leads nowhere or round, a pipe without an end
        return None
    try:
        with zipfile.ZipFile(checkpoint) as file:
            if file.testzip() is not None:  # whole, but with other bytes than were written
                return None
        saved = load_tensors(checkpoint, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error):
        return None
    state: Mapping[str, Tensor] = saved.get("state_dict", {}) if isinstance(saved, dict) else {}
    return state


def _weights_in_shards(checkpoint: Path) -> Mapping[str, Tensor] | None:
    """The weights in a folder that several processes wrote, without their numbers."""
    from cf.files.sharded import rest_of
    from cf.models.distributed import read_distributed
    from cf.models.stored import CheckpointError

    try:
        state = read_distributed(checkpoint).state
        rest_of(checkpoint)
    except (CheckpointError, OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    lead = "state_dict."
    return {
        name.removeprefix(lead): tensor for name, tensor in state.items() if name.startswith(lead)
    }
