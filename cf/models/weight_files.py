"""Files and folders of weights as they lie on disk: safetensors, shards, pickles without code."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from cf.files.downloads import unfinished
from cf.files.text import existing_file, read_json_file
from cf.models.averages import averages_beside
from cf.models.distributed import is_distributed, read_distributed
from cf.models.file_formats import foreign_format
from cf.models.gguf_file import is_gguf, read_gguf
from cf.models.pickles import read_pickle
from cf.models.stored import CheckpointError as CheckpointError
from cf.models.stored import State as State
from cf.models.stored import Stored, absent, shown_key, some

_LARGEST_HEADER = 100_000_000
_MOST_LOOKED_AT = 100
_DEEPEST = 3
_NOTES = (".json", ".md", ".txt", ".yaml", ".yml", ".csv", ".py", "")
_PICKLES = ("*.pt", "*.pth", "*.bin")
_DEFAULTS = (
    "network",
    "diffusion_pytorch_model",
    "model",
    "pytorch_model",
    "adapter_model",
    "pytorch_lora_weights",
)
_INDEX = ("*.safetensors.index.json", "*.bin.index.json")
_SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)(\.\w+)")


def one_file(path: Path) -> Path:
    """The file itself, or the one file of weights of a folder, in its default variant.

    Raises:
        CheckpointError: if there is none, or several.
    """
    if not os.path.lexists(path):
        raise absent(path)
    if not path.is_dir():
        return _there(path)
    for patterns in (("*.safetensors",), _PICKLES, ("*.gguf",)):
        files = sorted(file for pattern in patterns for file in path.glob(pattern))
        defaults = _default(files)
        if len(defaults) == 1:
            _refuse_average(defaults[0])
            return _there(defaults[0])
        if files:
            contents = f"several, {some([file.name for file in files])}{_of_deepspeed(path)}"
            break
    else:
        contents = "none" + _of_another_layout(path)
    raise CheckpointError(
        f"{path} is a folder that should hold one .safetensors file, but holds {contents}; give "
        "the file"
    )


def _there(file: Path) -> Path:
    try:
        existing_file(file, "file of weights")
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    if problem := unfinished(file):
        raise CheckpointError(f"{file} {problem}")
    return file


def _refuse_average(plain: Path) -> None:
    """Refuse to choose between a network and its average, each in a file or folder of its own."""
    if averages := averages_beside(plain):
        either = " or ".join(str(path) for path in (*averages, plain))
        raise CheckpointError(
            f"{plain.parent} holds {plain.name} and an average of it; give the one that is meant, "
            f"{either}"
        )


def _refuse_whole(index: Path) -> None:
    """Refuse to choose between shards and a whole file of the same name, which may be older."""
    single = index.with_name(index.name.removesuffix(".index.json"))
    if single.is_file():
        raise CheckpointError(
            f"{index.parent} holds {single.name} and shards of a model of that name; give the one "
            f"that is meant, {single} or {index}"
        )


def is_safetensors(file: Path) -> bool:
    """Whether a file begins as safetensors do."""
    with file.open("rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def refuse_foreign(file: Path) -> None:
    """Refuse a file that is known to be something else.

    Raises:
        CheckpointError: names the format and the remedy.
    """
    if not is_safetensors(file) and (problem := foreign_format(file)):
        raise CheckpointError(f"{file} {problem}")


def read_safetensors(file: Path) -> tuple[dict[str, str], State]:
    """Metadata and tensors, which are read from disk as they are used.

    Raises:
        CheckpointError: if the file is cut off or damaged.
    """
    try:
        with safe_open(file, framework="pt") as stream:
            names = list(stream.keys())
            return stream.metadata() or {}, {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{file} is truncated or damaged, or holds numbers that PyTorch lacks; copy it again, "
            "or export it again"
        ) from error


def read_stored(path: Path, container: str | None, default: Sequence[str]) -> Stored:
    """The tensors of one network, under the names that the file has for them.

    Args:
        path: a file, an index of shards, a folder with one of these, or a folder with one in its
            subfolder `transformer`.
        container: which network of a pickle; None: the first there is of `default`.
        default: containers to look for, best first; a pickle of tensors alone needs none.

    Raises:
        CheckpointError: if the file is missing, damaged, something else, or holds no such network.
    """
    if path.is_dir() and not _holds_weights(path) and (path / "transformer").is_dir():
        if (path / "transformer_2").is_dir():
            raise CheckpointError(
                f"{path} holds two transformers, for high and for low noise; give one of them, "
                f"{path / 'transformer'} or {path / 'transformer_2'}"
            )
        path = path / "transformer"
        _refuse_average(path)
    if path.is_dir() and is_distributed(path):
        return read_distributed(path)
    if path.is_file() and path.name.endswith(".json") and (shards := _shards_of(path)):
        return _read_shards(path, shards, container, default)
    if path.is_dir():
        indices = [file for pattern in _INDEX for file in sorted(path.glob(pattern))]
        indices = [file for file in indices if file.name.count(".") == 3] or indices
        if len(indices) > 1:  # the same model twice, as repositories have had it since safetensors
            indices = [index for index in indices if ".safetensors." in index.name] or indices
        if len(indices) == 1:
            shards = _shards_of(indices[0])
            if shards is None:
                raise CheckpointError(f"{indices[0]} is damaged; copy it again")
            _refuse_whole(indices[0])
            return _read_shards(indices[0], shards, container, default)
        if not indices and (alone := _shards_without_index(path)):
            return _read_shards(path, alone, container, default)
    file = one_file(path)
    if (shard := _SHARD.fullmatch(file.name)) and int(shard[3]) > 1:
        raise CheckpointError(
            f"{file} is one of the {int(shard[3])} files of a model; give their folder, "
            f"{file.parent}"
        )
    return _read_file(file, container, default)


def read_json(file: Path) -> Any:
    """What a JSON file says; None if it is too large or no JSON."""
    try:
        return read_json_file(file)
    except (OSError, ValueError, RecursionError):
        return None


def _read_file(file: Path, container: str | None, default: Sequence[str]) -> Stored:
    if is_gguf(file):
        return read_gguf(file)
    if not is_safetensors(file):
        refuse_foreign(file)
        return read_pickle(file, container, default)
    metadata, state = read_safetensors(file)
    return Stored(state, dict(metadata), file)


def _holds_weights(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", *_INDEX))


def _default(files: list[Path]) -> list[Path]:
    """The file without a variant (`.fp16.`), or the one of a customary name, if it is one."""
    names = {file.name for file in files}
    plain = [
        file
        for file in files
        if not ((parts := file.name.split("."))[2:] and f"{parts[0]}.{parts[-1]}" in names)
    ]
    return plain if len(plain) == 1 else [file for file in plain if file.stem in _DEFAULTS]


def _of_another_layout(folder: Path) -> str:
    """What a folder without files of weights holds instead, and what to do about it."""
    if any(folder.glob("*.distcp")):
        return " (it is a distributed checkpoint without its index .metadata; copy it again)"
    if deepspeed := _of_deepspeed(folder):
        return deepspeed
    if inner := _folders_within(folder):
        return f" (its folders {some(inner)} do)"
    for file in sorted(entry for entry in folder.iterdir() if entry.is_file())[:_MOST_LOOKED_AT]:
        if file.suffix not in _NOTES and (problem := unfinished(file) or foreign_format(file)):
            return f" ({file.name} {problem})"
    return ""


def _of_deepspeed(folder: Path) -> str:
    patterns = (*("*/" * depth + "*zero_pp_rank*" for depth in range(_DEEPEST)), "mp_rank_*")
    if any(any(folder.glob(pattern)) for pattern in patterns):
        return " (it is a checkpoint of DeepSpeed ZeRO; make one file of it by its zero_to_fp32.py)"
    return ""


def _folders_within(folder: Path) -> list[str]:
    """Folders some levels below that hold weights, such as those of steps, or of a cache."""
    level, folders = [folder], list[str]()
    for _ in range(_DEEPEST):
        below = [sub for at in level for sub in sorted(at.glob("[!.]*/"))]
        level = below[:_MOST_LOOKED_AT]
        folders += [sub.relative_to(folder).as_posix() for sub in level if _gives_weights(sub)]
    return folders


def _gives_weights(folder: Path) -> bool:
    files = any(any(folder.glob(pattern)) for pattern in (*_PICKLES, "*.gguf"))
    return files or _holds_weights(folder) or is_distributed(folder)


def _shards_of(index: Path) -> dict[str, list[str]] | None:
    """The tensors that each file of an index should hold; None if it is no index."""
    try:
        where = read_json(index)["weight_map"]
        shards: dict[str, list[str]] = {}
        for name, file in where.items():
            shards.setdefault(str(PurePosixPath(str(file))), []).append(str(name))
    except (KeyError, TypeError, AttributeError):
        return None
    for file in shards:
        if PurePosixPath(file).is_absolute() or file == "." or ".." in PurePosixPath(file).parts:
            raise CheckpointError(
                f"{index} names {shown_key(file)}, which is not beside it; copy it again"
            )
    return shards


def _shards_without_index(folder: Path) -> dict[str, list[str]] | None:
    """Numbered files of a folder, where all of them are there and nothing else is."""
    kinds = ("*.safetensors", *_PICKLES, "*.gguf")
    files = next((matches for kind in kinds if (matches := sorted(folder.glob(kind)))), [])
    shards = [match for file in files if (match := _SHARD.fullmatch(file.name))]
    if not shards or len(shards) != len(files) or len({m[1] + m[3] + m[4] for m in shards}) != 1:
        return None
    m, numbers = shards[0], {int(shard[2]) for shard in shards}
    first = min(1, *numbers)  # some count from 0
    names = [f"{m[1]}-{first + i:0{len(m[2])}}-of-{m[3]}{m[4]}" for i in range(int(m[3]))]
    return {name: [] for name in names} if len(shards) <= len(names) else None


def _read_shards(
    index: Path, shards: dict[str, list[str]], container: str | None, default: Sequence[str]
) -> Stored:
    folder = index if index.is_dir() else index.parent
    state: State = {}
    said: dict[str, Any] = {}
    makers: dict[str, Callable[[Tensor], Tensor]] = {}
    chosen = False
    for name in sorted(shards):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} lacks the shard {shown_key(name)}; copy the folder again"
            )
        part = _read_file(_there(folder / name), container, default)
        if twice := [key for key in part.state if key in state]:
            raise CheckpointError(f"{folder} holds {some(twice)} in several shards; copy it again")
        state |= part.state
        said |= part.said
        makers |= part.made
        chosen = part.chosen
    if lost := [key for names in shards.values() for key in names if key not in state]:
        raise CheckpointError(f"{folder} lacks {some(lost)} of {index.name}; copy it again")
    return Stored(state, said, index, chosen, makers)
