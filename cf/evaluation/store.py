"""States of each video on disk, so that a killed evaluation goes on."""

import hashlib
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cf.evaluation.decoding import header
from cf.evaluation.videos import Listed
from cf.files.atomic import replacing, write_text
from cf.files.pickled import load_tensors
from cf.files.text import read_json_file
from cf.metrics.base import VideoMetric
from cf.video.listing import stamp

State = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Facts:
    """What is known of a video once it has been decoded to its end."""

    frames: int
    fps: float
    height: int
    width: int
    note: str


@dataclass(frozen=True)
class MeasurementStore:
    """A folder with a file per video and measurement, named by all that its content depends on.

    Attributes:
        size: height and width that videos are scaled to; None: their own.
    """

    folder: Path
    size: Sequence[int] | None = None

    def facts(self, video: Listed) -> Facts | None:
        """None unless the video has been decoded to its end.

        Raises:
            ValueError: if what is known cannot be read.
        """
        path = self._file(video, "facts.json")
        if not path.is_file():
            return None
        try:
            return Facts(**read_json_file(path))
        except (ValueError, TypeError) as error:
            raise _damaged(path, error) from error

    def keep_facts(self, video: Listed, facts: Facts) -> None:
        """Note that a video has been decoded to its end."""
        write_text(self._file(video, "facts.json"), json.dumps(asdict(facts)))

    def has(self, video: Listed, metric: VideoMetric) -> bool:
        """Whether the video has been measured."""
        return self._states(video, metric).is_file()

    def keep(self, video: Listed, metric: VideoMetric) -> None:
        """Write down what a metric has seen, which is this video."""
        state = {name: torch.cat(list(rows)) for name, rows in metric.metric_state.items()}
        with replacing(self._states(video, metric)) as path:
            torch.save(state, path)

    def state(self, video: Listed, metric: VideoMetric) -> dict[str, Tensor]:
        """The states that were kept.

        Raises:
            ValueError: if it cannot be read.
        """
        path = self._states(video, metric)
        try:
            tensors: dict[str, Tensor] = load_tensors(path)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise _damaged(path, error) from error
        return tensors

    def _states(self, video: Listed, metric: VideoMetric) -> Path:
        return self._file(video, f"{_digest(sorted(metric.metric_state))}.pt")

    def _file(self, video: Listed, kind: str) -> Path:
        files = [_stamp(path) for path in (video.path, video.reference) if path is not None]
        size = None if self.size is None else list(self.size)
        identity = [video.contestant, video.name, video.prompt, video.seed, video.boundaries]
        return self.folder / f"{_digest([files, size, identity])}.{kind}"


def _damaged(path: Path, error: Exception) -> ValueError:
    why = str(error).partition("\n")[0][:200]
    return ValueError(f"{path} is damaged ({why}); delete it, and its video is measured again")


def _digest(description: Any) -> str:
    return hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]


def _stamp(path: Path) -> list[str | float]:
    """Path, bytes and time of change of a file, which tell it from one that replaces it.

    What is converted when it is read comes last: it was read as it is by versions before.
    """
    try:
        size, changed, rate = stamp(path)
    except OSError:
        return [os.path.realpath(path)]
    info = header(path)
    kinds = info.kinds if info else ()
    return [os.path.realpath(path), size, changed, *([rate] if rate else []), *kinds]
