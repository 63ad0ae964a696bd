"""AdamW whose states take a byte each: torchao's, with checkpoints of plain tensors."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from cf.bounds import pair_below_one

_BLOCK = 256  # numbers that share a scale
_LEAST = 4096  # numbers of a parameter whose states are quantised, as in bitsandbytes
_TABLE = 256 * 4  # bytes of the numbers that codes stand for
_PLACE = re.compile(r" \d+ of (\d+)$")
_SIGNED = {"exp_avg": True, "exp_avg_sq": False}


class AdamWIn8Bit(Optimizer):
    """torchao's `AdamW8bit` on every trainable parameter, with learning rates that are numbers.

    Both moments are codes of 8 bits with a scale for each 256 of them; those of small parameters
    stay as wide as the parameter. A checkpoint holds codes and scales as they are, so that a run
    that is gone on with takes the very steps of one that was not stopped. Under FSDP2 each process
    quantises its own shard, and as many processes have to go on.

    On the CPU the library's step runs as it is written; on GPUs it is compiled, as it wants to be.

    Attributes:
        lr, betas, weight_decay: AdamW's.
    """

    def __init__(
        self, module: nn.Module, lr: float, betas: Sequence[float], weight_decay: float
    ) -> None:
        check_torchao()
        first, second = pair_below_one(betas=betas)
        parameters = [p for p in module.parameters() if p.requires_grad]
        settings = {"lr": lr, "betas": (first, second), "weight_decay": weight_decay}
        super().__init__(parameters, settings)
        cls: Any = _library("torchao.optim").AdamW8bit
        self._theirs: Any = cls(parameters, block_size=_BLOCK, **settings)
        self._theirs.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the library's, with the rates as they are now."""
        for group, theirs in zip(self.param_groups, self._theirs.param_groups, strict=True):
            theirs["lr"].fill_(group["lr"])
            theirs["betas"], theirs["weight_decay"] = group["betas"], group["weight_decay"]
        with self._as_written():
            return self._theirs.step(closure)

    def state_dict(self) -> dict[str, Any]:
        """The states, of which those in 8 bits are pairs of plain tensors."""
        saved = super().state_dict()
        state = {
            number: {name: _plain(value) for name, value in moments.items()}
            for number, moments in saved["state"].items()
        }
        return {**saved, "state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a saved state.

        Raises:
            ValueError: it is of another optimiser.
        """
        current, saved = (
            [p for group in groups for p in group["params"]]
            for groups in (self.param_groups, state_dict["param_groups"])
        )
        parameters = dict(zip(saved, current, strict=False))  # numbers, or names under FSDP2
        state = {
            key: {name: _quantised(name, x, parameters[key]) for name, x in moments.items()}
            for key, moments in state_dict["state"].items()
        }
        super().load_state_dict({**state_dict, "state": state})
        self._theirs.state = self.state

    def _as_written(self) -> AbstractContextManager[Any]:
        kinds = {p.device.type for group in self.param_groups for p in group["params"]}
        # A compiler takes ten seconds for each shape, and may not be there.
        return nullcontext() if "cuda" in kinds else torch.compiler.set_stance("force_eager")


def bytes_of_8bit_states(parameters: Iterable[Tensor]) -> int:
    """Of both moments of parameters, as `AdamWIn8Bit` holds them; needs no library."""
    total = 0
    for p in parameters:
        if _whole_bytes(p):
            total += 2 * (p.numel() + p.numel() // _BLOCK * 4 + _TABLE)
        else:
            total += 2 * p.nbytes
    return total


def makers_of(module: Any) -> tuple[Any, ...]:
    """What makes the optimisers of a module that is to be trained, in the order of its networks."""
    return tuple(getattr(module, "_make_optimizers", None) or (module._make_optimizer,))


def is_8bit(maker: Any) -> bool:
    """Whether it makes `AdamWIn8Bit`."""
    return getattr(maker, "func", maker) is AdamWIn8Bit


def check_torchao() -> None:
    """Refuse to go on without the library.

    Raises:
        ImportError: it is not installed; says what installs it.
    """
    if find_spec("torchao") is None:
        raise ImportError(
            "optimizer=adamw_8bit needs torchao: pip install -e '.[torchao]' (or pip install "
            "torchao); optimizer=adamw does without"
        )


def check_processes(names: Iterable[str], count: int) -> None:
    """Refuse states that another number of processes has quantised, each its own shard.

    Args:
        names: of what a checkpoint in shards holds.
        count: processes that are to go on.

    Raises:
        ValueError: says how many have to.
    """
    for name in names:
        match = _PLACE.search(name)
        if match is not None and int(match[1]) != count:
            raise ValueError(
                f"states of optimizer=adamw_8bit are in shards of {match[1]} processes, and "
                f"{count} cannot go on with them; give "
                f"trainer.devices={match[1]} (all nodes' together)"
            )


def _library(module: str) -> Any:
    """A module of torchao, whose import says what concerns its authors alone."""
    said = logging.getLogger("torch.utils._pytree")
    level = said.level
    said.setLevel(logging.ERROR)
    try:
        return import_module(module)
    finally:
        said.setLevel(level)


def _plain(value: Any) -> Any:
    """A state as tensors and nothing else; of a shard, under the number of its process."""
    shard = value.to_local() if isinstance(value, DTensor) else value
    if not hasattr(shard, "codes"):
        return value
    return {f"{name}{_place(value)}": getattr(shard, name) for name in ("codes", "scale")}


def _quantised(name: str, value: Any, parameter: Tensor) -> Any:
    """A state as the library has it; see `_plain`."""
    if not isinstance(value, dict):
        if name in _SIGNED and _whole_bytes(parameter):
            raise ValueError("the checkpoint is of optimizer=adamw; adamw_8bit begins anew")
        return value
    codes, scale = (value[f"{part}{_place(parameter)}"] for part in ("codes", "scale"))
    kind: Any = _library("torchao.optim.subclass_8bit").OptimState8bit
    where = {"device": parameter.device, "dtype": parameter.dtype}
    quantised = kind.zeros(codes.shape, _SIGNED[name], codes.numel() // scale.numel(), **where)
    quantised.codes.copy_(codes)
    quantised.scale.copy_(scale)
    if not isinstance(parameter, DTensor):
        return quantised
    sizes: Any = {"shape": parameter.shape, "stride": parameter.stride()}
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(quantised, mesh, placements, run_check=False, **sizes)


def _whole_bytes(parameter: Tensor) -> bool:
    shard = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return shard.numel() >= _LEAST and shard.numel() % _BLOCK == 0


def _place(tensor: Any) -> str:
    if not isinstance(tensor, DTensor):
        return ""
    processes = torch.distributed
    return f" {processes.get_rank()} of {processes.get_world_size()}"
