"""Where the files of a prepared folder lie: on a disk, or in an object store."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cf.files.atomic import replacing
from cf.files.text import MOST_BYTES
from cf.files.user_cache import user_cache

_PIECE = 2**22  # bytes that are read at a time


@dataclass(frozen=True)
class ShardPlace:
    """A folder on a disk, or an address as fsspec has them (`s3://bucket/folder`).

    Attributes:
        cache_bytes: of an object store, what is kept in the user's cache; the file that was not
            asked for the longest goes first.
    """

    folder: str
    cache_bytes: int = 2**36

    @property
    def remote(self) -> bool:
        """Whether its files have to be fetched."""
        return "://" in self.folder

    def text(self, name: str) -> str:
        """A file of text.

        Raises:
            ValueError: it is not there, too large, or no UTF-8.
        """
        try:
            with self._open(name) as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, ImportError) as error:
            raise ValueError(
                f"{self.folder} is no prepared folder: {name} cannot be read ({_told(error)}). "
                "Make one with python -m cf.prepare; the same command finishes one that was stopped"
            ) from None
        if len(data) > MOST_BYTES:
            raise ValueError(f"{self.folder}/{name} has more than {MOST_BYTES:,} bytes")
        try:
            return str(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise ValueError(f"{self.folder}/{name} is no text in UTF-8") from None

    def local(self, name: str, sha256: str, size: int) -> Path:
        """The path of a file on this machine; it is fetched and compared with its hash first.

        Raises:
            OSError: it cannot be had.
            ValueError: it is another file than the index says.
        """
        if not self.remote:
            path = Path(self.folder, name)
            if path.stat().st_size != size:
                raise ValueError(f"it has {path.stat().st_size} bytes and not {size}")
            return path
        within = user_cache("shards") / hashlib.sha256(self.folder.encode()).hexdigest()[:16]
        target = within / f"{hashlib.sha256(f'{name} {sha256}'.encode()).hexdigest()}.safetensors"
        if target.is_file():
            with suppress(OSError):
                os.utime(target)
            return target
        self._fetch(name, sha256, size, target)
        self._forget(within, target)
        return target

    def _fetch(self, name: str, sha256: str, size: int, target: Path) -> None:
        digest, remaining = hashlib.sha256(), size
        with replacing(target) as temporary:
            with self._open(name) as file, temporary.open("wb") as out:
                while piece := file.read(min(_PIECE, remaining + 1)):
                    remaining -= len(piece)
                    digest.update(piece)
                    if remaining < 0:
                        break
                    out.write(piece)
            if remaining or digest.hexdigest() != sha256:
                raise ValueError("what was fetched is not the file that the index says (SHA-256)")

    def _forget(self, within: Path, target: Path) -> None:
        """Files beyond what may be kept; who reads one still has it open."""
        others = [file for file in within.glob("*.safetensors") if file != target]
        room = self.cache_bytes - target.stat().st_size
        with suppress(OSError):
            for file in sorted(others, key=lambda file: -file.stat().st_mtime):
                room -= file.stat().st_size
                if room < 0:
                    file.unlink(missing_ok=True)

    def _open(self, name: str) -> Any:
        if not self.remote:
            return Path(self.folder, name).open("rb")
        import fsspec

        return fsspec.open(f"{self.folder.rstrip('/')}/{name}", "rb")


def _told(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:150]
