"""Lightning's strategy for FSDP2, with meshes, precision and checkpoints as cf wants them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from typing_extensions import override

from cf.files.sharded import Shards, read_shards
from cf.models.context_parallel import Split
from cf.models.distributed import read_distributed
from cf.models.sharding import Sharding, each_shard, let_go
from cf.modules.optim_8bit import check_processes


class FullyShard(ModelParallelStrategy):
    """Every process holds a shard of each network, and of the optimisers' states.

    Checkpoints are folders to which every process writes its shards; any number of processes goes
    on from them.

    Attributes:
        copies: "one": the weights are spread over all processes; "nodes": over the processes of a
            node, and every node holds a copy (hybrid sharding), which sends less between nodes.
        gather_again: see `cf.models.sharding.Sharding`.
        sync_while_accumulating: reduce gradients after every batch of an update rather than after
            its last: more is sent, and no process ever holds whole gradients.
        context_parallel: processes that share the tokens of a sample (Ulysses); it has to divide
            the heads of every network, the tokens of a frame, and the processes.
        timeout_minutes: how long a process waits for the others.
    """

    def __init__(
        self,
        copies: Literal["one", "nodes"] = "one",
        gather_again: bool = True,
        sync_while_accumulating: bool = False,
        context_parallel: int = 1,
        timeout_minutes: float = 30.0,
    ) -> None:
        if copies not in ("one", "nodes"):
            raise ValueError(f"trainer.strategy.copies must be one or nodes, got {copies!r}")
        if context_parallel < 1:
            raise ValueError(
                f"trainer.strategy.context_parallel must be at least 1, got {context_parallel}"
            )
        super().__init__(timeout=timedelta(minutes=timeout_minutes))
        self.context_parallel = context_parallel
        self.copies, self.gather_again = copies, gather_again
        self.sync_while_accumulating = sync_while_accumulating

    @override
    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    @property
    @override
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which of how many batches at once this process has; some may share one."""
        alike = self.context_parallel
        return {"num_replicas": self.world_size // alike, "rank": self.global_rank // alike}

    def split(self) -> Split | None:
        """How the tokens of a sample are spread.

        Raises:
            ValueError: if the processes cannot be grouped so.
        """
        count = self.context_parallel
        if count == 1:
            return None
        if self.world_size % count:
            raise ValueError(
                f"trainer.strategy.context_parallel={count} must divide the {self.world_size} "
                "processes"
            )
        sizes, names = (self.world_size // count, count), ("data", "context")
        mesh = init_device_mesh(self.root_device.type, sizes, mesh_dim_names=names)
        return Split(mesh.get_group("context"))

    def sharding(self, reads: torch.dtype | None) -> Sharding:
        """How networks that are gathered in this type are sharded."""
        return Sharding(self._shard_mesh(), reads, self.gather_again)

    def _shard_mesh(self) -> DeviceMesh:
        kind, nodes = self.root_device.type, self.num_nodes
        if self.copies == "one" or nodes == 1:
            return init_device_mesh(kind, (self.world_size,), mesh_dim_names=("shard",))
        sizes = nodes, self.world_size // nodes
        return init_device_mesh(kind, sizes, mesh_dim_names=("copy", "shard"))

    @contextmanager
    @override
    def block_backward_sync(self) -> Iterator[None]:
        """Within, gradients are gathered up in each process and not yet reduced."""
        if self.sync_while_accumulating or self.model is None:
            yield
            return
        self._sync(False)
        try:
            yield
        finally:
            self._sync(True)

    def _sync(self, on: bool) -> None:
        def say(part: FSDPModule) -> None:
            part.set_requires_gradient_sync(on, recurse=False)

        assert self.model is not None
        each_shard(self.model, say)

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Hand the shards to the trainer's checkpoint IO, in every process."""
        state = {"state_dict": checkpoint.pop("state_dict")}
        for number, values in enumerate(checkpoint.pop("optimizer_states", [])):
            state[f"optimizer_{number}"] = values
        shards: Any = Shards(state, checkpoint, self.global_rank)
        self.checkpoint_io.save_checkpoint(shards, self.broadcast(str(filepath)))

    @override
    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Take up a folder that any number of processes has written.

        Raises:
            CheckpointError: if it is damaged, or holds code.
            ValueError: its optimiser's states want as many processes as before.
        """
        assert self.model is not None
        path = Path(self.broadcast(str(checkpoint_path)))
        stored = read_distributed(path)  # before PyTorch, which would run what its index names
        check_processes(stored.state, self.world_size)
        checkpoint = read_shards(path, self.model, self.optimizers)
        let_go(self.model)
        return checkpoint
