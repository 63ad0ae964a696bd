"""Headers of safetensors files, whose metadata the library writes in an order of chance."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LARGEST = 100_000_000
_MOST_ORDERS = 24


def order_metadata(file: Path) -> None:
    """Put a file's metadata in the order of their names, so that equal content has equal bytes."""
    header = _header(file)
    if header is not None:
        metadata, _, _ = header
        with file.open("r+b") as stream:
            stream.write(_bytes(header, dict(sorted(metadata.items()))))


def other_orders(file: Path) -> Iterator[tuple[bytes, int]]:
    """How the file may begin with its metadata in other orders, and where the rest begins."""
    header = _header(file)
    if header is None:
        return
    metadata, _, end = header
    for order in itertools.islice(itertools.permutations(metadata.items()), _MOST_ORDERS):
        yield _bytes(header, dict(order)), end


def _header(file: Path) -> tuple[dict[str, str], bytes, int] | None:
    """Metadata, the whole beginning of the file, and its length; None if metadata is not first."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LARGEST:
            return None
        text = stream.read(length)
    try:
        said: Any = json.loads(text)
        metadata = said["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    header = (metadata, length.to_bytes(8, "little") + text, 8 + length)
    return header if _bytes(header, metadata) == header[1] else None


def _bytes(header: tuple[dict[str, str], bytes, int], metadata: dict[str, str]) -> bytes:
    before, data, _ = header
    start = b'{"__metadata__":'
    written, new = (
        json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        for entries in (before, metadata)
    )
    return data[:8] + start + new + data[8 + len(start) + len(written) :]
