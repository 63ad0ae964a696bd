"""A folder of results: a finished job is a folder of its own, there complete or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROW = "row.json"
STATES = "states.pt"
VIDEO = "video.mp4"
SHEET = "sheet.png"
_PARTIAL = ".partial-"


class DiskFullError(OSError):
    """No space is left; what is finished is kept."""


@dataclass(frozen=True)
class Store:
    """`videos/<contestant>/<item>/` with a row, metric states, and perhaps a video and a sheet."""

    path: Path

    def job(self, contestant: str, item: str) -> Path:
        """The folder of a finished job."""
        return self.path / "videos" / contestant / item

    def row(self, contestant: str, item: str) -> dict[str, Any] | None:
        """What a finished job left; None if it is not finished."""
        file = self.job(contestant, item) / ROW
        if not file.is_file():
            return None
        row: dict[str, Any] = json.loads(file.read_text())
        return row

    @contextmanager
    def writing(self, contestant: str, item: str) -> Iterator[Path]:
        """A folder that takes the place of the job's once all is written.

        Raises:
            DiskFullError: no space is left; nothing half done stays behind.
        """
        final = self.job(contestant, item)
        partial = final.with_name(f"{_PARTIAL}{item}-{os.getpid()}")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            for file in partial.iterdir():
                _flush(file)
            old = final.with_name(f"{_PARTIAL}old-{item}-{os.getpid()}")
            if final.exists():
                final.rename(old)
            partial.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            if full(error):
                raise DiskFullError(
                    errno.ENOSPC, f"no space is left for {final}; free some and start again"
                ) from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what killed jobs left; only while the folder is locked."""
        for left in (self.path / "videos").glob(f"*/{_PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder; a kill unlocks it.

        Raises:
            ValueError: if another process works in it now.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise ValueError(
                    f"another benchmark is running in {self.path}; wait for it, or give another "
                    f"folder: hydra.run.dir=..."
                ) from None
            yield


def full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def write(path: Path, text: str) -> None:
    """A file that is there complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _flush(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
