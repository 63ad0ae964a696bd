"""GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): weights in blocks of few bits.

The header is walked here, with bounds, since a stranger wrote it; the numbers are the package's.
"""

import math
import mmap
import struct
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cf.models.stored import CheckpointError, State, Stored, shown_key

_MAGIC = b"GGUF"
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES, _MOST_TEXTS, _LONGEST_NAME, _MOST_AXES = 100_000, 2_000_000, 1024, 8
_SHAPE_KEY = "comfy.gguf.orig_shape."
_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


class _BadHeaderError(ValueError):
    """A header that no GGUF file has."""


class _Header:
    """Reads values one after the other, and never beyond the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.texts = data, 0, 0

    def number(self, kind: str) -> Any:
        """The next number, of a letter of `struct`."""
        size = struct.calcsize(f"<{kind}")
        self.skip(size)
        return struct.unpack_from(f"<{kind}", self.data, self.at - size)[0]

    def count(self, most: int) -> int:
        """The next number of things."""
        value = int(self.number("Q"))
        if value > most:
            raise _BadHeaderError
        return value

    def skip(self, size: int) -> None:
        """Go on by so many bytes."""
        if size > len(self.data) - self.at:
            raise _BadHeaderError
        self.at += size

    def text(self, longest: int) -> str:
        """The next text."""
        size = self.count(longest)
        self.skip(size)
        return self.data[self.at - size : self.at].decode(errors="replace")

    def value(self, wanted: bool) -> Any:
        """The next value with its type; None of one that is only gone over."""
        kind = self.number("I")
        if kind == _STRING:
            return self.text(len(self.data)) if wanted else self.skip(self.count(len(self.data)))
        if kind != _ARRAY:
            if kind not in _SCALARS:
                raise _BadHeaderError
            return self.number(_SCALARS[kind])
        kind, size = self.number("I"), self.count(len(self.data))
        if kind == _STRING:
            self.texts += size
            if self.texts > _MOST_TEXTS:
                raise _BadHeaderError
            for _ in range(size):
                self.skip(self.count(len(self.data)))
            return None
        if kind not in _SCALARS:
            raise _BadHeaderError
        if wanted and size <= _MOST_AXES:
            return [self.number(_SCALARS[kind]) for _ in range(size)]
        return self.skip(size * struct.calcsize(_SCALARS[kind]))


def is_gguf(file: Path) -> bool:
    """Whether a file begins as GGUF does."""
    with file.open("rb") as stream:
        return stream.read(4) == _MAGIC


def read_gguf(file: Path) -> Stored:
    """The tensors of a GGUF file; those in blocks are made when they are asked for.

    Raises:
        CheckpointError: if it is cut off, damaged or in numbers that the package lacks, or if the
            package `gguf` is not installed.
    """
    gguf = _package(file)
    try:
        with (
            file.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            said, tensors, start = _walk(_Header(data))
        size = file.stat().st_size
        raw = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
        state: State = {}
        makers = {}
        for name, (shape, code, offset) in tensors.items():
            kind = gguf.GGMLQuantizationType(code)
            block, width = gguf.GGML_QUANT_SIZES[kind]
            numbers = math.prod(shape)
            length = numbers // block * width
            begin = start + offset
            if numbers % block or shape[-1] % block or length > size - begin or name in state:
                raise _BadHeaderError
            bits = raw[begin : begin + length]
            shape = _original(said, name, shape)
            if kind.name in _PLAIN:
                state[name] = _viewed(bits, _PLAIN[kind.name]).view(shape)
            else:
                _check(kind, file)
                state[name] = torch.empty(shape, device="meta")
                makers[name] = partial(_numbers, bits=bits, kind=kind, shape=shape)
    except (ValueError, KeyError, struct.error, OSError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{file} is GGUF that is truncated or damaged, or of a version that is not read; copy "
            "it again"
        ) from error
    return Stored(state, {k: x for k, x in said.items() if isinstance(x, str)}, file, made=makers)


def _package(file: Path) -> Any:
    try:
        import gguf
    except ImportError as error:
        raise CheckpointError(
            f"{file} is GGUF, which is read by the package gguf: pip install -e '.[gguf]' (or pip "
            "install gguf)"
        ) from error
    return gguf


def _walk(header: _Header) -> tuple[dict[str, Any], dict[str, tuple[list[int], int, int]], int]:
    """What the header says, the tensors' shape, kind and place, and where the numbers begin."""
    header.skip(4)
    if header.number("I") not in (2, 3):
        raise _BadHeaderError
    count, values = header.count(_MOST_ENTRIES), header.count(_MOST_ENTRIES)
    said: dict[str, Any] = {}
    for _ in range(values):
        key = header.text(_LONGEST_NAME)
        wanted = key.startswith(("general.", _SHAPE_KEY))
        value = header.value(wanted)
        if wanted:
            said[key] = value
    tensors: dict[str, tuple[list[int], int, int]] = {}
    for _ in range(count):
        name = header.text(_LONGEST_NAME)
        axes = int(header.number("I"))
        if not 1 <= axes <= _MOST_AXES or name in tensors:
            raise _BadHeaderError
        shape = [header.count(len(header.data) * 256) for _ in range(axes)][::-1]
        if 0 in shape:
            raise _BadHeaderError
        tensors[name] = (shape, int(header.number("I")), int(header.number("Q")))
    alignment = said.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**20:
        raise _BadHeaderError
    return said, tensors, -(-header.at // alignment) * alignment


def _original(said: dict[str, Any], name: str, shape: list[int]) -> list[int]:
    """The shape of a tensor that was stored under fewer or other axes."""
    stored = said.get(_SHAPE_KEY + name)
    if stored is None:
        return shape
    if not isinstance(stored, list) or math.prod(stored) != math.prod(shape) or min(stored) < 1:
        raise _BadHeaderError
    return stored


def _viewed(bits: Tensor, dtype: torch.dtype) -> Tensor:
    aligned = bits.storage_offset() % dtype.itemsize == 0
    return (bits if aligned else bits.clone()).view(dtype)


def _check(kind: Any, file: Path) -> None:
    if not _is_read(kind):
        raise CheckpointError(
            f"{file} holds weights as {shown_key(kind.name)}, which the package gguf does not "
            "read; give Q8_0, Q4_K or F16"
        )


@lru_cache
def _is_read(kind: Any) -> bool:
    import gguf
    import numpy as np

    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def _numbers(_: Tensor, bits: Tensor, kind: Any, shape: list[int]) -> Tensor:
    """In float32."""
    import gguf

    block, width = gguf.GGML_QUANT_SIZES[kind]
    rows = bits.numpy().reshape(-1, width)
    assert rows.size // width * block == math.prod(shape)
    return torch.from_numpy(gguf.dequantize(rows, kind)).view(shape)
