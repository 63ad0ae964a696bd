"""Files of tensors as they lie on disk: safetensors, shards, and pickles without code."""

import json
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

State = dict[str, Tensor]

_LARGEST_HEADER = 100_000_000


class CheckpointError(ValueError):
    """A file of weights cannot be used; the message names it and the remedy."""


def one_file(path: Path) -> Path:
    """The file itself, or the only safetensors file of a folder.

    Raises:
        CheckpointError: if there is none, or several.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; give a file of weights, or its folder")
    if path.is_file():
        return path
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    found = f"several, {some([file.name for file in files])}" if files else "none"
    raise CheckpointError(
        f"{path} is a folder that should hold one .safetensors file, but holds {found}; give the "
        "file"
    )


def is_safetensors(file: Path) -> bool:
    """Whether a file begins as safetensors do."""
    with file.open("rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def read_safetensors(file: Path) -> tuple[dict[str, str], State]:
    """Metadata and tensors.

    Raises:
        CheckpointError: if the file is cut off or damaged.
    """
    try:
        with safe_open(file, framework="pt") as stream:
            names = list(stream.keys())
            return stream.metadata() or {}, {name: stream.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(
            f"{file} is truncated or damaged; copy it again, or export it again"
        ) from error


def read_state(path: Path, container: str | None, default: Sequence[str]) -> State:
    """The tensors of one network, under the names that the file has for them.

    Args:
        path: a file, a folder with one, a folder of shards and their index, or a folder with one
            of these in its subfolder `transformer`.
        container: which network of a pickle; None: the first there is of `default`.
        default: containers to look for, best first; a pickle of tensors alone needs none.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds no such network.
    """
    if path.is_dir() and not any(path.glob("*.safetensors")) and (path / "transformer").is_dir():
        path = path / "transformer"
    indices = sorted(path.glob("*.safetensors.index.json")) if path.is_dir() else []
    if len(indices) == 1:
        return _read_shards(indices[0])
    file = one_file(path)
    if is_safetensors(file):
        if container is not None:
            raise CheckpointError(f"{file} holds one network, so leave container={container!r} out")
        return read_safetensors(file)[1]
    return _choose(_read_pickle(file), container, default, file)


def _read_shards(index: Path) -> State:
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged; copy it again") from error
    state: State = {}
    for name in sorted(names):
        file = index.parent / Path(str(name)).name
        if not file.exists():
            raise CheckpointError(f"{index.parent} lacks the shard {name}; copy the folder again")
        state |= read_safetensors(file)[1]
    return state


def _read_pickle(file: Path) -> Any:
    try:
        zipped = zipfile.is_zipfile(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|global) `?([\w.]+)", str(error))
        if code is None:
            raise CheckpointError(
                f"{file} is damaged or holds no weights; copy it again"
            ) from error
        raise CheckpointError(
            f"{file} was refused and nothing in it was run: besides tensors it names {code[1]}; "
            "ask for it as safetensors, or save its tensors alone"
        ) from error
    except Exception as error:  # a damaged pickle fails in many ways
        raise CheckpointError(
            f"{file} is truncated or damaged, or holds no weights; copy it again"
        ) from error


def _choose(loaded: Any, container: str | None, default: Sequence[str], file: Path) -> State:
    if container is None and _is_state(loaded):
        return dict(loaded)
    networks = {k: v for k, v in loaded.items() if _is_state(v)} if isinstance(loaded, dict) else {}
    wanted = default if container is None else (container,)
    for name in wanted:
        if name in networks:
            return dict(networks[name])
    there = some([str(name) for name in networks]) if networks else "no named network"
    raise CheckpointError(
        f"{file} holds {there}, but {' or '.join(wanted)} was looked for; say which container to "
        "take, or give another file"
    )


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(map(torch.is_tensor, value.values()))


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
