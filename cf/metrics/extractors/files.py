"""Published files of weights, read without running anything that is in them."""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cf.files.pickled import load_tensors

State = dict[str, Tensor]

_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
}


def read_state(path: Path) -> State:
    """Tensors by name, floats as float32: of safetensors, a pickle of tensors, or TorchScript.

    Raises:
        ValueError: if the file is damaged, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        elif _is_script(path):
            state = _read_script(path)
        else:
            state = load_tensors(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read as weights, and nothing in it was run: {error}; copy it again"
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise ValueError(f"{path} holds more than tensors by name; give the published file")
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


class _Bag:
    """Stands for any object of a TorchScript archive: its attributes, none of its code."""

    attributes: dict[str, Any]

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes


class _Unpickler(pickle.Unpickler):
    """Knows tensors and bags, and refuses all else."""

    def __init__(self, archive: zipfile.ZipFile, top: str) -> None:
        super().__init__(archive.open(f"{top}/data.pkl"))
        self.archive = archive
        self.top = top

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Bag
        if module == "torch" and name in _STORAGES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":
            return _listed
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        _, storage, key, *_ = pid
        dtype = _STORAGES[storage]
        entry = self.archive.getinfo(f"{self.top}/data/{key}")
        if entry.file_size > entry.compress_size:  # PyTorch never packs what it stores
            raise pickle.UnpicklingError(f"{entry.filename} was packed again")
        data = self.archive.read(entry)
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0).to(dtype)


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    if math.prod(size) > storage.numel():
        raise pickle.UnpicklingError(f"a tensor of {tuple(size)} has {storage.numel()} numbers")
    return torch.as_strided(storage, size, stride, offset).clone()


def _listed(*parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else list(parts)


def _read_script(path: Path) -> State:
    with zipfile.ZipFile(path) as archive:
        data = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        top = data[0].removesuffix("/data.pkl")
        return dict(_tensors(_Unpickler(archive, top).load(), ""))


def _tensors(bag: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(bag, _Bag):
        for name, value in bag.attributes.items():
            if torch.is_tensor(value):
                yield prefix + name, value
            else:
                yield from _tensors(value, f"{prefix}{name}.")
