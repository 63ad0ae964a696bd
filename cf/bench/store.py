"""Jobs and the folder of their results: a finished job is a folder, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cf.bench.measures import States
from cf.bench.tasks.base import Sample, VideoSpec
from cf.files.atomic import DiskFullError, disk_is_full, sync
from cf.files.pickled import load_tensors
from cf.metrics.measurement import digest
from cf.settings.build import Settings
from cf.settings.renamed import with_first_names

ROW = "row.json"
STATES = "states.pt"
VIDEO = "video.mp4"
SHEET = "sheet.png"
_PARTIAL = ".partial-"
_UNSAFE = set('/\\:*?"<>|\0')


def folder_of(contestant: str) -> str:
    """A contestant's name as that of a folder."""
    return "".join("_" if c in _UNSAFE or c <= " " else c for c in contestant)


@dataclass(frozen=True)
class Job:
    """A contestant and a video.

    Attributes:
        contestant: its name; `settings` are how it is built.
        fingerprint: of its weights or files.
        durations: seconds at which metrics are read, rising.
        keep_video: whether it is written as a file too.
        chunk_frames: frames that metrics are fed at once; changes rounding at most.
    """

    contestant: str
    settings: Settings
    fingerprint: str
    asked: Settings
    item: Sample
    terms: VideoSpec
    durations: tuple[float, ...]
    metrics: Mapping[str, Settings]
    keep_video: bool = False
    chunk_frames: int = 24

    def digest(self) -> str:
        """Eight hex digits of all that the row depends on."""
        inputs = {**asdict(self), "contestant": folder_of(self.contestant)}  # as it always was
        if self.item.seconds is None:  # as before there were videos that end by themselves
            del inputs["item"]["seconds"]
        if self.item.image:  # its contents count, and not where it lies
            inputs["item"]["image"] = hashlib.sha256(Path(self.item.image).read_bytes()).hexdigest()
        else:
            del inputs["item"]["image"]
        return digest(with_first_names(inputs))

    def frames(self) -> int:
        """The number of frames: up to the longest duration, or to the video's own end."""
        most = max(self.durations)
        seconds = most if self.item.seconds is None else min(self.item.seconds, most)
        return max(round(seconds * self.terms.fps), 1)


@dataclass(frozen=True)
class Store:
    """`videos/<contestant>/<item>/` with a row, metric states, and perhaps a video and a sheet."""

    path: Path

    def folder(self, contestant: str, item: str) -> Path:
        """The folder of a finished job."""
        return self.path / "videos" / folder_of(contestant) / item

    def row(self, job: Job) -> dict[str, Any] | None:
        """What a finished job left; None if it is not finished, or had other settings."""
        file = self.folder(job.contestant, job.item.key) / ROW
        if not file.is_file():
            return None
        row: dict[str, Any] = json.loads(file.read_text())
        return row if row["digest"] == job.digest() else None

    def finished(self, job: Job) -> bool:
        """Whether the row of a job is there, and no failure."""
        row = self.row(job)
        return row is not None and row["status"] != "failed"

    def states(self, job: Job) -> dict[float, States]:
        """The metrics' states of a finished job, by seconds."""
        file = self.folder(job.contestant, job.item.key) / STATES
        states: dict[float, States] = load_tensors(file)
        assert all(math.isfinite(seconds) for seconds in states)
        return states

    @contextmanager
    def writing(self, job: Job) -> Iterator[Path]:
        """A folder that takes the place of the job's once all is written.

        Raises:
            DiskFullError: no space is left; nothing half done stays behind.
        """
        final = self.folder(job.contestant, job.item.key)
        partial = final.with_name(f"{_PARTIAL}{final.name}-{os.getpid()}")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            for file in partial.iterdir():
                sync(file)
            old = final.with_name(f"{_PARTIAL}old-{final.name}-{os.getpid()}")
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
        """Remove what killed jobs left; only while nobody else works in the folder."""
        for folder in (self.path / "videos").glob(f"*/{_PARTIAL}*"):
            shutil.rmtree(folder, ignore_errors=True)
