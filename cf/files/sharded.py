"""Checkpoints in shards: folders to which every process of a run writes, and from which any read.

PyTorch's distributed checkpoints (DCP), of which nothing is run, with plain values beside them.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from cf.files.atomic import DiskFullError, disk_is_full, remove, shared_temporary, sync
from cf.files.pickled import load_tensors

_REST = "rest.pt"


@dataclass
class Shards:
    """What a process adds to a checkpoint that all of them write.

    Attributes:
        state: state dicts of the module and of its optimisers, this process's shards of them.
        rest: plain values, those of the first process.
        rank: of this process.
    """

    state: dict[str, Any]
    rest: dict[str, Any]
    rank: int

    def write(self, path: Path) -> None:
        """Write the folder, which appears complete or not at all; every process has to ask for it.

        Raises:
            DiskFullError: no space is left for some process.
            OSError: some process cannot write.
        """
        temporary = shared_temporary(path)
        if self.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        _wait()
        try:
            save(self.state, storage_writer=FileSystemWriter(temporary, overwrite=True))
        except CheckpointException as error:  # which is no Exception, and the same everywhere
            causes = [cause for cause, _ in error.failures.values()]
            if any(map(disk_is_full, causes)):
                raise DiskFullError(path) from causes[0]
            raise OSError(f"{path} cannot be written: {causes[0]}") from causes[0]
        if self.rank == 0:
            torch.save(self.rest, temporary / _REST)
            sync(temporary / _REST)
            remove(path)  # it may be a file, of one process
            temporary.rename(path)
            with suppress(OSError):  # not every file system can flush a folder
                sync(path.parent)
        _wait()


def read_shards(path: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Take up a checkpoint in place, and return its plain values.

    Args:
        path: the folder, whose index has been found to name nothing but plain objects.
        module: each process reads its own shards.
        optimizers: of the module, in their order.
    """
    state: dict[str, Any] = {"state_dict": get_model_state_dict(module)}
    _load(state, path)
    module.load_state_dict(state["state_dict"])
    for number, optimizer in enumerate(optimizers):
        states = {f"optimizer_{number}": get_optimizer_state_dict(module, optimizer)}
        _load(states, path)
        set_optimizer_state_dict(module, optimizer, states[f"optimizer_{number}"])
    return rest_of(path)


def rest_of(path: Path) -> dict[str, Any]:
    """A checkpoint's plain values."""
    rest: dict[str, Any] = load_tensors(path / _REST)
    return rest


class _Planner(DefaultLoadPlanner):
    """Makes nothing but tensors and plain values of what a file holds."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        safe = io.BytesIO()
        torch.save(load_tensors(value), safe)
        safe.seek(0)
        super().load_bytes(read_item, safe)


def _load(state: dict[str, Any], path: Path) -> None:
    load(state, storage_reader=FileSystemReader(path), planner=_Planner())


def _wait() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
