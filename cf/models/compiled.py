"""How a transformer's blocks run: as they are written, compiled, or recorded as CUDA graphs."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from cf.models.adapters import parts_with_shared, shared_networks
from cf.models.blocks import Compiled, TransformerBlock
from cf.models.recorded import Recorder
from cf.models.transformer import VideoTransformer

_MOST_GRAPHS = 64
Compile = Literal["none", "blocks", "graphs"]


def check_compile(how: Compile, device: torch.device) -> None:
    """Make sure, before anything is loaded, that blocks can be compiled for a device.

    Raises:
        ValueError: they cannot; says what is missing, or what to give.
    """
    if how == "none":
        return
    if how == "graphs" and device.type != "cuda":
        raise ValueError(
            f"compile=graphs records CUDA graphs, and the device is {device.type}: give "
            "compile=blocks, or device=cuda where there is a GPU"
        )
    if device.type == "cpu" and shutil.which(_compiler()) is None:
        raise ValueError(
            f"compile={how} needs a C++ compiler on the CPU, and there is no {_compiler()}: "
            "install one (Debian: apt install g++), name it in CXX, or give compile=none"
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise ValueError(
            f"compile={how} needs Triton, which comes with PyTorch for Linux: pip install triton, "
            "or give compile=none"
        )


def compile_blocks(network: nn.Module, how: Compile) -> None:
    """Let every `VideoTransformer` within a network run its blocks so; weights are the same ones.

    What depends on the past stays as it is written, so that a context that grows, then is full,
    compiles nothing anew: once for each shape of a block's own tokens, and for all layers together.
    """
    if how == "none":
        return
    if shared_networks([network]):  # a graph for each role; above a limit, blocks run as written
        import torch._dynamo

        torch._dynamo.config.recompile_limit = _MOST_GRAPHS
    for part in parts_with_shared(network):
        if isinstance(part, TransformerBlock):
            part.compiled = compiled_block()
        if isinstance(part, VideoTransformer) and how == "graphs":
            part.recorder = Recorder()


@cache
def compiled_block(backend: str = "inductor") -> Compiled:
    """The two parts of a block without its past, for static shapes."""
    parts: list[Any] = [
        torch.compile(part, dynamic=False, backend=backend)
        for part in (TransformerBlock.before, TransformerBlock.after)
    ]
    return Compiled(*parts)


def _compiler() -> str:
    """What inductor calls."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
