"""Folders of PyTorch's distributed checkpoints (DCP), of whose index nothing is run."""

import io
import math
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cf.files.pickled import load_tensors
from cf.models.stored import CheckpointError, State, Stored, shown_key

_INDEX = ".metadata"
_LARGEST_INDEX = 2**28
_PLAIN = "torch.distributed.checkpoint.metadata"
_KNOWN = {
    _PLAIN: (
        *("Metadata", "TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata"),
        *("BytesStorageMetadata", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING"),
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    "collections": ("OrderedDict",),
}
_PATHS = ("pathlib", "pathlib._local")


@dataclass(frozen=True)
class _Piece:
    """Where a part of a tensor lies in the folder, and in the tensor."""

    file: Path
    begin: int
    length: int
    at: tuple[int, ...]
    shape: tuple[int, ...]


class _Inert:
    """Stands for a path, which is not looked at."""

    def __init__(self, *_: Any) -> None:
        """Take whatever the file says."""


class _Reader(pickle.Unpickler):
    """Makes the index's own plain objects and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _PATHS and name.endswith("Path"):
            return _Inert
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        if name in _KNOWN.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def is_distributed(folder: Path) -> bool:
    """Whether a folder is a distributed checkpoint with its index."""
    return (folder / _INDEX).is_file()


def read_distributed(folder: Path) -> Stored:
    """The tensors of a distributed checkpoint, each of which is read when it is asked for.

    Raises:
        CheckpointError: if it is damaged, or its index names anything but plain objects.
    """
    index = folder / _INDEX
    try:
        if index.stat().st_size > _LARGEST_INDEX:
            raise pickle.UnpicklingError("its index is too large")
        said: Any = _Reader(io.BytesIO(index.read_bytes())).load()
        places = {(key.fqn, _whole(key.offset)): info for key, info in said.storage_data.items()}
        state: State = {}
        makers = {}
        for name, entry in said.state_dict_metadata.items():
            if not hasattr(entry, "chunks"):
                continue  # plain values
            shape, dtype = _whole(entry.size), entry.properties.dtype
            pieces = [
                _piece(folder, places[name, _whole(chunk.offsets)], chunk) for chunk in entry.chunks
            ]
            if sum(math.prod(piece.shape) for piece in pieces) != math.prod(shape):
                raise ValueError(f"the parts of {shown_key(name)} do not cover it")
            state[str(name)] = torch.empty(shape, dtype=dtype, device="meta")
            makers[str(name)] = partial(_joined, pieces=pieces, name=str(name))
    except Exception as error:  # a damaged pickle fails in many ways
        raise CheckpointError(
            f"{folder} is a distributed checkpoint that is damaged or was refused, and nothing in "
            f"it was run ({str(error)[:200]}); make one file of it where you trust it: python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch '{folder}' model.pt"
        ) from error
    return Stored(state, {}, index, made=makers)


def _whole(numbers: Iterable[int] | None) -> tuple[int, ...]:
    values = tuple(numbers or ())
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("sizes are no whole numbers")
    return values


def _piece(folder: Path, place: Any, chunk: Any) -> _Piece:
    file = folder / str(place.relative_path)
    begin, length = _whole((place.offset, place.length))
    if file.name != place.relative_path or begin + length > file.stat().st_size:
        raise ValueError(f"{shown_key(str(place.relative_path))} is no such file beside the index")
    if place.transform_descriptors:
        raise ValueError("it is compressed")
    shape = _whole(chunk.sizes)
    if math.prod(shape) > length:  # of at least a byte each
        raise ValueError("its tensors are larger than its files")
    return _Piece(file, begin, length, _whole(chunk.offsets), shape)


def _joined(empty: Tensor, pieces: list[_Piece], name: str) -> Tensor:
    """The tensor, of its own type."""
    tensor = torch.empty(empty.shape, dtype=empty.dtype)
    for piece in pieces:
        with piece.file.open("rb") as stream:
            stream.seek(piece.begin)
            bits = io.BytesIO(stream.read(piece.length))
        try:
            part = load_tensors(bits)
            if not isinstance(part, Tensor) or tuple(part.shape) != piece.shape:
                raise ValueError("it is of another shape")
        except Exception as error:
            raise CheckpointError(
                f"{piece.file} is damaged where {shown_key(name)} lies; copy the folder again"
            ) from error
        at = tuple(slice(a, a + n) for a, n in zip(piece.at, piece.shape, strict=True))
        tensor[at] = part
    return tensor
