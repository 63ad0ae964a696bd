"""Files of `torch.save`, opened only where all that they name are tensors and plain values."""

from __future__ import annotations

import encodings
import encodings.aliases
import io
import pickle
import pickletools
import pkgutil
import re
import zipfile
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
_ENCODE, _LATIN = "_codecs encode", ("latin1", "latin-1")
"""How bytes are spelt, which PyTorch itself calls: harmless with this codec alone."""


def _letters(text: str) -> str:
    """What counts of a codec's name at most: neither signs nor letters beyond ASCII may."""
    return re.sub("[^0-9a-z]", "", text.lower())


_CODECS = {
    _letters(name)
    for name in (
        *(one.name for one in pkgutil.iter_modules(encodings.__path__)),
        *encodings.aliases.aliases,
        *encodings.aliases.aliases.values(),
    )
}
_BEFORE_STORAGES = 5  # pickles in PyTorch's old format; the last lists the storages
_DESCRIPTION = "data.pkl"
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
    for name in _named(path if isinstance(path, io.BytesIO) else Path(path), set()):
        dotted = name.replace(" ", ".")
        if not _TENSORS.fullmatch(name) and dotted not in known:
            raise pickle.UnpicklingError(f"GLOBAL {dotted} is no part of a tensor")
    with torch.serialization.safe_globals(list(inert)):
        if isinstance(path, io.BytesIO):
            path.seek(0)
        elif Path(path).suffix == ".safetensors":  # which torch.load believes of any such path
            with Path(path).open("rb") as file:
                return torch.load(file, "cpu", weights_only=True, **(more | {"mmap": False}))
        return torch.load(path, map_location="cpu", weights_only=True, **more)


def _named(path: Path | io.BytesIO, codecs: set[str]) -> Iterator[str]:
    """Everything that the file's pickles name, as "module name", as PyTorch will read them.

    Args:
        path: the file.
        codecs: takes `_codecs encode`, and texts that name another codec than Latin-1.

    Raises:
        UnpicklingError: there are both.
    """
    with path.open("rb") if isinstance(path, Path) else io.BytesIO(path.getvalue()) as file:
        if file.read(4) != b"PK\x03\x04":
            file.seek(0)
            for _ in range(_BEFORE_STORAGES):
                yield from _names(file, codecs)
            return
    archive = torch._C.PyTorchFileReader(str(path) if isinstance(path, Path) else path)
    if (size := _description_bytes(path, archive)) > _MOST_BYTES:
        raise pickle.UnpicklingError(f"the description of its tensors has {size} bytes")
    yield from _names(archive.get_record(_DESCRIPTION), codecs)


def _description_bytes(path: Path | io.BytesIO, archive: Any) -> int:
    """The size of what describes the tensors, which PyTorch's reader tells from 2.12 on only.

    Raises:
        UnpicklingError: Python's reader sees another archive than PyTorch's, so that it cannot say.
    """
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise pickle.UnpicklingError(f"it is no archive of tensors: {error}") from None
    infos = {one.filename.partition("/")[2]: one for one in entries}
    if sorted(infos) != sorted(archive.get_all_records()):
        raise pickle.UnpicklingError("its two tables of contents differ")
    start = archive.get_record_header_offset(_DESCRIPTION)
    if infos[_DESCRIPTION].header_offset != start:
        raise pickle.UnpicklingError(f"{_DESCRIPTION} lies in it twice")
    return infos[_DESCRIPTION].file_size


def _names(file: bytes | io.BufferedReader | io.BytesIO, codecs: set[str]) -> Iterator[str]:
    try:
        for code, value, _ in pickletools.genops(file):
            named = code.name in ("GLOBAL", "INST")
            if named:
                yield str(value)
            if value == _ENCODE if named else _is_other_codec(value):
                codecs.add(str(value))
            if len(codecs) > 1 and _ENCODE in codecs:
                raise pickle.UnpicklingError("GLOBAL _codecs.encode may use other codecs")
    except (ValueError, IndexError) as error:
        raise pickle.UnpicklingError(f"it is no pickle: {error}") from None


def _is_other_codec(value: Any) -> bool:
    """Whether a text may name one besides Latin-1; it is not looked up, which would import it."""
    if not isinstance(value, str | bytes):
        return False
    text = value if isinstance(value, str) else value.decode("latin-1")
    return text not in _LATIN and _letters(text) in _CODECS
