"""The samples of a prepared folder, read by their numbers, and how its files are written."""

import hashlib
import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cf.data.shard_index import INDEX, LATENTS, TEXTS, Shard, ShardIndex
from cf.data.shard_place import ShardPlace
from cf.files.atomic import replacing

PICTURES = "pictures"
_OPEN = 16  # files that a process holds open


class DamagedSample(ValueError):  # noqa: N818  (it names what happened)
    """What a shard holds is not what was written.

    Attributes:
        name: of the sample.
        reason: in words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"{name} cannot be read: {reason}. The command that made the folder mends it, with "
            "verify=true"
        )
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["DamagedSample"], tuple[str, str]]:  # between processes
        return type(self), (self.name, self.reason)


class StoredClip(NamedTuple):
    """A clip of latents.

    Attributes:
        source: the video that it was cut from.
        start: seconds at which it begins there.
        text: number of the prompt's states; None where no text was encoded.
        picture: with which it begins; None where none was kept.
    """

    latents: Float[Tensor, "f c h w"]
    source: str
    start: float
    prompt: str
    text: int | None
    picture: UInt8[Tensor, "3 h w"] | None = None


class StoredText(NamedTuple):
    """States of a prompt, without the zeros behind them."""

    states: Float[Tensor, "s d"]
    prompt: str


@dataclass
class ShardFolder:
    """Reads the samples of a prepared folder by their numbers.

    Every sample is compared with its hash when it is read.

    Attributes:
        folder: a path, or the address of an object store that fsspec knows (`s3://...`).
        cache_bytes: of an object store, what is kept on the disk of this machine.
    """

    folder: str
    cache_bytes: int = 2**36
    index: ShardIndex = field(init=False)
    _opened: OrderedDict[str, tuple[Any, list[Any]]] = field(
        default_factory=OrderedDict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        self._place = ShardPlace(self.folder, self.cache_bytes)
        self.index = ShardIndex.read(self._place.text(INDEX), f"{self.folder}/{INDEX}")
        self._ends = {
            kind: list(accumulate(shard.count for shard in getattr(self.index, kind)))
            for kind in (LATENTS, TEXTS)
        }

    def __getstate__(self) -> dict[str, Any]:
        """A process opens files of its own."""
        return {**vars(self), "_opened": OrderedDict()}

    def count(self, kind: str) -> int:
        """How many clips of latents there are, or texts."""
        return int((self._ends[kind] or [0])[-1])

    def sources(self) -> list[str]:
        """The video that each clip was cut from."""
        return [name for shard in self.index.latents for name, n in shard.sources for _ in range(n)]

    def clip(self, number: int, frames: int | None = None) -> StoredClip:
        """A clip of latents, or its first frames.

        Raises:
            DamagedSample: the file is missing or damaged.
        """
        handle, said, place, name = self._found(LATENTS, number)
        latents = self._numbers(name, lambda: handle.get_slice(LATENTS)[place : place + 1][0])
        sample = said[place]
        _compare(latents, sample["sha256"], name)
        picture = None
        if "picture_sha256" in sample:
            picture = self._numbers(name, lambda: handle.get_slice(PICTURES)[place : place + 1][0])
            _compare(picture, sample["picture_sha256"], name)
        details = sample["source"], sample["start"], sample["prompt"], sample["text"]
        return StoredClip(latents[:frames], *details, picture)

    def text(self, number: int) -> StoredText:
        """The states of a prompt.

        Raises:
            DamagedSample: the file is missing or damaged.
        """
        handle, said, place, name = self._found(TEXTS, number)
        states = self._numbers(name, lambda: handle.get_tensor(str(place)))
        _compare(states, said[place]["sha256"], name)
        return StoredText(states, said[place]["prompt"])

    def prompts(self) -> list[str]:
        """Every prompt that has states, by its number.

        Raises:
            DamagedSample: a file is missing or damaged.
        """
        prompts = []
        for shard in self.index.texts:
            prompts += [str(sample["prompt"]) for sample in self._open(shard)[1]]
        return prompts

    def _found(self, kind: str, number: int) -> tuple[Any, list[Any], int, str]:
        """The file that holds a sample, opened, what it says of its samples, and the place."""
        ends = self._ends[kind]
        at = bisect_right(ends, number)
        shard = getattr(self.index, kind)[at]
        place = number - (ends[at - 1] if at else 0)
        return *self._open(shard), place, f"{shard.file}, sample {place}"

    def _open(self, shard: Shard) -> tuple[Any, list[Any]]:
        if shard.file not in self._opened:
            from safetensors import safe_open

            try:
                path = self._place.local(shard.file, shard.sha256, shard.size)
                handle: Any = safe_open(path, "pt")
                said = json.loads((handle.metadata() or {})["samples"])
                if not isinstance(said, list) or len(said) != shard.count:
                    raise ValueError("it holds other samples than the index says")
            except Exception as error:  # safetensors raises errors of its own
                raise DamagedSample(shard.file, " ".join(str(error).split())[:200]) from None
            self._opened[shard.file] = handle, said
            while len(self._opened) > _OPEN:
                self._opened.popitem(last=False)
        self._opened.move_to_end(shard.file)
        return self._opened[shard.file]

    @staticmethod
    def _numbers(name: str, read: Any) -> Tensor:
        try:
            return cast(Tensor, read())
        except Exception as error:
            raise DamagedSample(name, " ".join(str(error).split())[:200]) from None


def write_shard(
    path: Path, tensors: dict[str, Tensor], samples: Sequence[dict[str, Any]]
) -> tuple[int, str]:
    """Write a file of a prepared folder whole or not at all; its bytes and its hash.

    Args:
        path: of the file.
        tensors: on the CPU.
        samples: what is told of each; goes into the header.

    Raises:
        DiskFullError: no space is left.
    """
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        header = json.dumps(list(samples), ensure_ascii=False)
        save_file(tensors, temporary, metadata={"samples": header})
        return temporary.stat().st_size, file_hash(temporary)


def padded_states(
    states: Sequence[Float[Tensor, "_ d"]], shape: tuple[int, ...]
) -> Float[Tensor, "b s d"]:
    """States of several texts, each with the zeros behind its last token that an encoder gives."""
    padded = states[0].new_zeros(len(states), *shape)
    for state, row in zip(states, padded, strict=True):
        row[: len(state)] = state
    return padded


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensor_hash(x: Tensor) -> str:
    """SHA-256 of the numbers of a tensor."""
    return hashlib.sha256(x.contiguous().flatten().view(torch.uint8).numpy().data).hexdigest()


def _compare(x: Tensor, wanted: Any, name: str) -> None:
    if tensor_hash(x) != wanted:
        raise DamagedSample(name, "its numbers are not those that were written (SHA-256)")
