"""The state of videos in the making, on the disk: the newest one, whole or not at all."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from cf.files.atomic import DiskFullError, replacing
from cf.files.pickled import load_tensors
from cf.generation.requests import VideoRequest

log = logging.getLogger("cf.generate")
UNFINISHED = "unfinished.pt"
_VERSION = 1
_MOST_SHARE = 0.05  # of the time, which saving may take


class Unfinished:
    """Saves a state every so many seconds; of the size of a context, however long the video is.

    Attributes:
        seconds: between two states; more where saving itself takes long. None: none is saved.
    """

    def __init__(self, folder: Path, seconds: float | None) -> None:
        self._path, self.seconds = folder / UNFINISHED, seconds
        self._last, self._took = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Whether it is time."""
        if self.seconds is None:
            return False
        waited = time.monotonic() - self._last
        return waited >= max(self.seconds, self._took / _MOST_SHARE)

    def save(self, batch: list[VideoRequest], state: dict[str, Any]) -> bool:
        """Replace the state before; whether there was space for it, which is told."""
        began = time.monotonic()
        described = {request.name: request.described() for request in batch}
        try:
            with replacing(self._path) as temporary:
                torch.save({"version": _VERSION, "videos": described, **state}, temporary)
        except DiskFullError:
            log.warning(
                "no space is left for %s; the videos go on, and if they are stopped begin again "
                "from the state before",
                self._path,
            )
            return False
        finally:
            self._last = time.monotonic()
            self._took = self._last - began
        return True

    def read(self) -> dict[str, Any] | None:
        """The state that is there.

        Raises:
            ValueError: the file is damaged, or another version's.
        """
        if not self._path.exists():
            return None
        try:
            state = load_tensors(self._path)
            valid = state["version"] == _VERSION and bool(state["videos"])
        except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, KeyError, TypeError):
            valid = False
        if not valid:
            raise self.damaged()
        saved: dict[str, Any] = state
        return saved

    def damaged(self) -> ValueError:
        """That the file is no state from which this version goes on."""
        return ValueError(
            f"{self._path} is damaged, or was written by another version; remove it, and the "
            f"unfinished videos begin anew"
        )

    def forget(self) -> None:
        """Remove the state of what is finished."""
        self._path.unlink(missing_ok=True)

    def tidy(self, finished: Sequence[VideoRequest]) -> None:
        """Remove a state that is of these videos alone, or of none that can be read."""
        with suppress(ValueError):
            saved = self.read()
            if saved is not None and set(saved["videos"]) - {request.name for request in finished}:
                return
        self.forget()
