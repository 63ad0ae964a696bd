"""Files of `torch.save`, opened only where all that they name are tensors and plain values."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

_TENSORS = re.compile(
    r"torch (\w*Storage|Size|device|(b?float|u?int|q(u?int)|complex|bits)\w*|bool|per_\w+)"
    r"|torch\.storage (Unt|T)ypedStorage"
    r"|torch\._utils _rebuild_(parameter(_with_state)?|(sparse_|q)?tensor(_v[23])?)"
    r"|torch\.nn\.parameter Parameter"
    r"|torch\.serialization _get_layout"
    r"|collections (OrderedDict|Counter)"
    r"|(__builtin__|builtins) (set|complex)"
)
"""What tensors are made of. PyTorch allows more, and some of that takes memory without bound."""
_BEFORE_STORAGES = 5  # pickles in PyTorch's old format; the last lists the storages
_MOST_BYTES = 2**28  # of what describes the tensors, without their numbers


def load_tensors(path: str | Path | io.BytesIO, inert: Collection[Any] = (), **more: Any) -> Any:
    """What `torch.load` reads of a file, of which nothing is run, and which asks for no memory.

    Args:
        path: of the file, or its bytes.
        inert: further objects that it may name, as `torch.serialization.safe_globals` takes them.
        more: for `torch.load`.

    Raises:
        UnpicklingError: if it names anything else; says what, after "GLOBAL".
    """
    known = {
        one[1] if isinstance(one, tuple) else f"{one.__module__}.{one.__name__}" for one in inert
    }
    for name in _named(path if isinstance(path, io.BytesIO) else Path(path)):
        dotted = name.replace(" ", ".")
        if not _TENSORS.fullmatch(name) and dotted not in known:
            raise pickle.UnpicklingError(f"GLOBAL {dotted} is no part of a tensor")
    with torch.serialization.safe_globals(list(inert)):
        if isinstance(path, io.BytesIO):
            path.seek(0)
        return torch.load(path, map_location="cpu", weights_only=True, **more)


def _named(path: Path | io.BytesIO) -> Iterator[str]:
    """Everything that the file's pickles name, as "module name", as PyTorch will read them."""
    with path.open("rb") if isinstance(path, Path) else io.BytesIO(path.getvalue()) as file:
        if file.read(4) != b"PK\x03\x04":
            file.seek(0)
            for _ in range(_BEFORE_STORAGES):
                yield from _names(file)
            return
    archive = torch._C.PyTorchFileReader(str(path) if isinstance(path, Path) else path)
    if (size := archive.get_record_size("data.pkl")) > _MOST_BYTES:
        raise pickle.UnpicklingError(f"the description of its tensors has {size} bytes")
    yield from _names(archive.get_record("data.pkl"))


def _names(file: bytes | io.BufferedReader | io.BytesIO) -> Iterator[str]:
    try:
        for code, value, _ in pickletools.genops(file):
            if code.name in ("GLOBAL", "INST"):
                yield str(value)
    except (ValueError, IndexError) as error:
        raise pickle.UnpicklingError(f"it is no pickle: {error}") from None
