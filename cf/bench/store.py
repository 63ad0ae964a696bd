"""A folder of results: a finished job is a folder of its own, there complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cf.files.atomic import DiskFullError, disk_is_full, locked, sync

ROW = "row.json"
STATES = "states.pt"
VIDEO = "video.mp4"
SHEET = "sheet.png"
_PARTIAL = ".partial-"


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
                sync(file)
            old = final.with_name(f"{_PARTIAL}old-{item}-{os.getpid()}")
            if final.exists():
                final.rename(old)
            partial.rename(final)
            shutil.rmtree(old, ignore_errors=True)
        except Exception as error:
            if disk_is_full(error) and not isinstance(error, DiskFullError):
                raise DiskFullError(final) from error
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
        busy = (
            f"another benchmark is running in {self.path}; wait for it, or give another folder: "
            "hydra.run.dir=..."
        )
        with locked(self.path, busy):
            yield
