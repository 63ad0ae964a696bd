"""Weights of a pickle, of which nothing is run, and which of its networks is meant."""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cf.files.pickled import load_tensors
from cf.models.averages import average_of, preferred
from cf.models.inert import INERT
from cf.models.names import bare_name, named, networks
from cf.models.stored import CheckpointError, State, Stored, shown_key, some

CONTAINERS = ("generator_ema", "generator", "model", "state_dict")
"""Networks of a file that are taken where none is named, best first."""
_BESIDE = re.compile(r"critic|fake|disc|teacher|guidance|optim|scaler|text|vae", re.IGNORECASE)
"""Networks and states that a training has beside the network that it makes."""
_DEPTH = 3


def read_pickle(file: Path, container: str | None, default: Sequence[str]) -> Stored:
    """The tensors of one network, and the plain values beside it.

    Args:
        file: written by `torch.save`.
        container: which network; None: the first there is of `default`.
        default: containers to look for, best first; a pickle of tensors alone needs none.

    Raises:
        CheckpointError: if it is damaged, names code, or holds no such network.
    """
    loaded = _loaded(file)
    if isinstance(loaded, dict) and "pytorch-lightning_version" in loaded and not container:
        _refuse_training(file, loaded)
    state, chosen = _choose(loaded, container, default, file)
    if container is None and default == CONTAINERS:
        _refuse_nameless(loaded, file)
    for name, weight in state.items():
        size = weight.untyped_storage().nbytes() if weight.layout == torch.strided else 0
        if weight.numel() * weight.element_size() > size or weight.is_quantized:
            raise CheckpointError(
                f"{file} holds {shown_key(name)} as {weight.dtype} of {tuple(weight.shape)}, laid "
                "out as weights are not (sparse, expanded, or quantised by PyTorch); "
                "give plain tensors"
            )
    return Stored(state, _plain(loaded), file, chosen)


def _loaded(file: Path) -> Any:
    try:
        zipped = zipfile.is_zipfile(file)
        return load_tensors(file, INERT, mmap=zipped)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|global) `?([\w.]+)", str(error))
        if code is None and "Unsupported operand" in str(error):
            raise CheckpointError(
                f"{file} was saved by another protocol than torch.save's own, which is not read "
                "here; ask for it as safetensors, or save its tensors again without pickle_protocol"
            ) from error
        if code is None:
            raise CheckpointError(
                f"{file} is damaged or holds no weights; copy it again"
            ) from error
        if code[1].startswith(("torchao.", "optimum.quanto.", "bitsandbytes.")):
            raise CheckpointError(
                f"{file} is quantised by {code[1].split('.')[0]}, which is not read here; give the "
                "model's weights in bfloat16 or float32"
            ) from error
        raise CheckpointError(
            f"{file} was refused and nothing in it was run: besides tensors it names {code[1]}; "
            "ask for it as safetensors, or save its tensors alone"
        ) from error
    except Exception as error:  # a damaged pickle fails in many ways
        raise CheckpointError(
            f"{file} is truncated or damaged, or holds no weights; copy it again"
        ) from error


def _refuse_training(file: Path, loaded: Mapping[str, Any]) -> None:
    """Refuse a training's own checkpoint, whose networks are not what the training made."""
    names = {**loaded}.get("state_dict")
    prefixes = ("student.", "average.network.")  # of a distillation, of a training from nothing
    if not isinstance(names, Mapping) or not any(str(n).startswith(prefixes) for n in names):
        return
    export = file.absolute().parent.parent / "network.safetensors"
    remedy = f"give {export}" if export.is_file() else "give that run's network.safetensors"
    raise CheckpointError(
        f"{file} is a checkpoint from which a training goes on, not the network that it makes; "
        f"{remedy}"
    )


def _choose(
    loaded: Any, container: str | None, default: Sequence[str], file: Path
) -> tuple[State, bool]:
    """The tensors, and whether `container` names them rather than a prefix of their names."""
    flat = _state(loaded)
    containers = dict(_networks(loaded, ""))
    if flat and (container is None or named(networks(flat), container) is not None):
        beside = {name: state for name, state in containers.items() if average_of(name) is not None}
        return flat if container else _or_average("", {"": flat, **beside}, file), False
    wanted = default if container is None else (container,)
    for name in wanted:
        paths = [path for path in containers if name in (path, path.rpartition(".")[2])]
        paths = [path for path in paths if path == name] or paths
        if len(paths) == 1 and container is not None:
            return containers[paths[0]], True
        if len(paths) == 1:
            return _or_average(paths[0], containers, file), False
    for name in default if container is not None else ():
        if named(networks(containers.get(name, {})), container or "") is not None:
            return containers[name], False
    alone = [path for path in containers if default != CONTAINERS or networks(containers[path])]
    alone = [path for path in alone or containers if not _BESIDE.search(path)]
    alone = [path for path in alone if average_of(path) is None] or alone
    if container is None and len(alone) == 1:
        return _or_average(alone[0], containers, file), False
    if not containers and container is None:
        kind = type(loaded).__name__
        keys = f" of {some([str(key) for key in loaded])}" if isinstance(loaded, dict) else ""
        raise CheckpointError(
            f"{file} holds no named network: it is a {kind}{keys}, in which no tensors have the "
            "names of weights; save the network's state_dict() alone"
        )
    found_names = some(list(containers)) if containers else "no named network"
    remedy = (
        "say which container to take" if default == CONTAINERS else "save the one that is meant"
    )
    raise CheckpointError(
        f"{file} holds {found_names}, but {' or '.join(wanted)} was looked for; {remedy}, or give "
        "another file"
    )


def _or_average(path: str, containers: Mapping[str, State], file: Path) -> State:
    bare = {name: {*map(bare_name, state)} for name, state in containers.items()}
    weights = containers[preferred(path, bare, file)]
    return {name: weight for name, weight in weights.items() if bare_name(name) in bare[path]}


def _refuse_nameless(loaded: Any, file: Path, at: str = "", depth: int = 0) -> None:
    """Refuse to pass over an average whose weights are a list: nothing says which is which."""
    if not isinstance(loaded, dict) or depth > _DEPTH:
        return
    for name, value in dict.items(loaded):
        path = f"{at}.{name}".lstrip(".")
        within = [x for item in value for x in _within(item)] if isinstance(value, list) else []
        average = average_of(path) is not None or name == "shadow_params"
        if within and average and not _BESIDE.search(path):
            raise CheckpointError(
                f"{file} holds an average as a list without names, {shown_key(path)}; save its "
                "weights under their names, or say container=NAME for the network beside it "
                "(model, if it has no name)"
            )
        _refuse_nameless(value, file, path, depth + 1)


def _within(item: Any) -> list[Any]:
    """Tensors of an entry of a list, or of a network in it."""
    inner = [item, *dict.values(item)] if isinstance(item, dict) else []
    return [item] if isinstance(item, Tensor) else [x for x in inner if _state(x)]


def _networks(loaded: Any, at: str, depth: int = 0) -> Iterator[tuple[str, State]]:
    if not isinstance(loaded, dict) or depth > _DEPTH:
        return
    for name, value in dict.items(loaded):
        if isinstance(name, str) and isinstance(value, dict):
            if state := _state(value):
                yield at + name, state
            else:
                yield from _networks(value, f"{at}{name}.", depth + 1)


def _state(value: Any) -> State:
    """The tensors of a network, whatever lies among them; nothing if it is none."""
    if not isinstance(value, dict):
        return {}
    # An object's own attribute may stand where a method was: `value.items` is the file's.
    tensors = {n: x for n, x in dict.items(value) if isinstance(n, str) and isinstance(x, Tensor)}
    weights = any("." in name for name in tensors)
    return tensors if tensors and (weights or len(tensors) == len(value)) else {}


def _plain(loaded: Any) -> dict[str, Any]:
    """What a file says beside its tensors, as a header of safetensors would."""
    said = dict.items(loaded) if isinstance(loaded, dict) else ()
    return {
        name: value
        for name, value in said
        if isinstance(name, str)
        and (
            isinstance(value, str | int | float) or (isinstance(value, dict) and not _state(value))
        )
    }
