"""Networks whose weights lie in shards on all processes: PyTorch's FSDP2."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from cf.models.adapters import AdaptedBackbone, parts_with_shared
from cf.models.base import Backbone
from cf.models.blocks import TransformerBlock
from cf.models.transformer import VideoTransformer
from cf.models.wrapped import WrappedBackbone


@dataclass(frozen=True)
class Sharding:
    """How the weights of a network are spread over processes.

    Attributes:
        mesh: over whom. With two dimensions, each row holds a copy (hybrid sharding).
        reads: the type in which weights are gathered for a pass; None: as they are stored.
            Gradients are reduced in the type of the stored weights.
        gather_again: give a block's weights back after its forward, and gather them once more for
            the backward pass; without it, a pass sends less and holds more.
    """

    mesh: DeviceMesh
    reads: torch.dtype | None = None
    gather_again: bool = True

    def shard(self, network: nn.Module) -> None:
        """Shard a network in place, block by block; it then runs on all processes or on none.

        What is called besides `forward` gathers its weights too.

        Raises:
            ValueError: if the network holds weights twice, or itself rather than in its parts.
        """
        ids = set[int]()
        for name, weight in network.named_parameters(remove_duplicate=False):
            if id(weight) in ids:
                raise ValueError(
                    f"{type(network).__name__} holds {name} twice, and shared weights cannot be "
                    "sharded; give trainer=ddp"
                )
            ids.add(id(weight))
        self._shard(network)

    def _shard(self, network: nn.Module) -> None:
        if isinstance(network, AdaptedBackbone):
            return  # its factors lie in the layers of the network that it shares
        if isinstance(network, VideoTransformer):
            for block in network.blocks:
                self._block(block)
            if network.compressor is not None:
                self._unit(network.compressor, self.gather_again)
            self._unit(network, False, "prepare")
        elif isinstance(network, WrappedBackbone):
            if names := [name for name, _ in network.named_parameters(recurse=False)]:
                raise ValueError(
                    f"{type(network).__name__} holds {names[0]} itself, which cannot be sharded; "
                    "put it into a module of its own"
                )
            for part in network.children():
                self._shard(part)
        elif next(network.parameters(), None) is not None:
            called = ("prepare",) if isinstance(network, Backbone) else ()
            self._unit(network, False, *called)

    def _block(self, block: nn.Module) -> None:
        assert isinstance(block, TransformerBlock)
        if block.cross_attn is not None:  # the text is projected before the blocks run
            self._unit(block.cross_attn, self.gather_again, "keys_values")
        self._unit(block, self.gather_again)

    def _unit(self, module: nn.Module, gather_again: bool, *called: str) -> None:
        stored = max(module.parameters(), key=lambda weight: weight.requires_grad).dtype
        policy = MixedPrecisionPolicy(
            param_dtype=self.reads, reduce_dtype=stored, cast_forward_inputs=False
        )
        fully_shard(module, mesh=self.mesh, reshard_after_forward=gather_again, mp_policy=policy)
        for name in called:
            register_fsdp_forward_method(module, name)


def is_sharded(module: nn.Module) -> bool:
    """Whether some of its weights lie in shards."""
    return any(isinstance(part, FSDPModule) for part in parts_with_shared(module))


def each_shard(module: nn.Module, do: Callable[[FSDPModule], None]) -> None:
    """Call something with each part that is gathered by itself."""
    for part in parts_with_shared(module):
        if isinstance(part, FSDPModule):
            do(part)


def let_go(module: nn.Module) -> None:
    """Give back gathered weights, once their shards have been changed."""
    each_shard(module, FSDPModule.reshard)


def local(tensor: Tensor) -> Tensor:
    """This process's shard, which shares memory with the tensor; any other tensor itself."""
    if not isinstance(tensor, DTensor):
        return tensor
    shard: Tensor = tensor.to_local()
    return shard


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process has to ask for it."""
    if not isinstance(tensor, DTensor):
        return tensor
    gathered: Tensor = tensor.full_tensor()
    return gathered


def whole_state(module: nn.Module, keep: bool) -> dict[str, Tensor]:
    """The state dict with whole tensors, on the CPU where they were sharded.

    Args:
        module: every process has to ask for it, if it is sharded.
        keep: whether this process wants it; else it gets nothing, and holds one tensor at a time.
    """
    state = {}
    for name, tensor in module.state_dict().items():
        gathered = whole(tensor)
        if keep:
            state[name] = gathered.cpu() if isinstance(tensor, DTensor) else tensor
    return state
