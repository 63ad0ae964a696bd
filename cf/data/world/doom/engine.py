"""The engine that paints a place from any pose: one process of ViZDoom for each of ours."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from cf.data.world.doom import game
from cf.data.world.doom.place import Place
from cf.data.world.doom.wad import START, slot, udmf, wad
from cf.data.world.doom.walking import TURN, Pose
from cf.files.atomic import DiskFullError, disk_is_full

log = logging.getLogger(__name__)

_SCREENS = ((160, 120), (320, 240), (640, 480), (1280, 960))
_AWAKE = 12
"""Tics after which a new player obeys: for the first 8 the engine lets nobody turn."""
_LOG = "engine.log"
_PATIENCE = 5.0
"""Seconds that an engine has to end once nobody asks it any more."""


class EngineError(OSError):
    """The engine cannot be had or has ended; the message says what to do."""


class _EndedError(Exception):
    """An engine has ended; another may be begun."""


@dataclass(frozen=True)
class Views:
    """Pictures of a place.

    Attributes:
        pixels: RGB.
        thing: number of the thing, counted over the place's rooms from 1, that a pixel shows; 0:
            none.
        depth: the engine's own measure, from 0 (near) to 255 (far).
    """

    pixels: UInt8[np.ndarray, "t h w 3"]
    thing: UInt8[np.ndarray, "t h w"]
    depth: UInt8[np.ndarray, "t h w"]


def views(place: Place, poses: Sequence[Pose], size: tuple[int, int]) -> Views:
    """What a camera in these poses sees, the same bytes in every process.

    Raises:
        EngineError: if ViZDoom is not installed or does not run.
    """
    return Views(*_fields(place, poses, size, all_fields=True))


def pictures(
    place: Place, poses: Sequence[Pose], size: tuple[int, int]
) -> UInt8[np.ndarray, "t h w 3"]:
    """The pixels of `views` alone, which take three quarters of the time."""
    (pixels,) = _fields(place, poses, size, all_fields=False)
    return pixels


def _fields(
    place: Place, poses: Sequence[Pose], size: tuple[int, int], all_fields: bool
) -> tuple[np.ndarray, ...]:
    """Those of `Views`, or pixels alone, by an engine that is started again if it ends once."""
    screen = next((s for s in _SCREENS if s[0] >= size[1] and s[1] >= size[0]), _SCREENS[-1])
    reason: Exception | None = None
    for attempt in (1, 2):
        engine = _running(screen)
        try:
            return engine.fields(place, poses, size, all_fields)
        except (_EndedError, BrokenPipeError) as error:
            _discard(screen)
            reason = error
            if attempt == 1:
                log.warning("the engine ended (%s) and is started again", error)
        except BaseException:  # interrupted between a question and its answer
            _discard(screen)
            raise
    raise EngineError(
        f"the engine ended twice while it painted ({reason}); is there enough memory, and room in "
        "/dev/shm?"
    ) from reason


class _Engine:
    """One game that shows map after map from one file, whose text is written over.

    It runs in a process of its own (`cf.data.world.doom.game`), in a folder of its own.
    """

    def __init__(self, screen: tuple[int, int]) -> None:
        _check_installed()
        self.since = time.time()
        self.folder = Path(tempfile.mkdtemp(prefix="cf-doom-"))
        try:
            self._begin(screen)  # at once: from here on the folder has somebody who removes it
        except BaseException:
            game.clear(self.folder, self.since)
            raise
        self.file = self.folder / "place.wad"
        try:
            self.file.write_bytes(wad(b""))
        except BaseException:
            self.close()
            raise
        self.text: bytes | None = None
        self.heading = 0

    def _begin(self, screen: tuple[int, int]) -> None:
        request_end, requests = os.pipe()
        replies, reply_end = os.pipe()
        with (self.folder / _LOG).open("wb") as log_file:
            words = [self.folder, *screen, request_end, reply_end]
            self.process = subprocess.Popen(
                [sys.executable, "-P", game.__file__, *map(str, words)],
                pass_fds=(request_end, reply_end),
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                cwd=self.folder,  # the engine makes a folder where it stands
                start_new_session=True,  # Ctrl-C is for us
            )
        os.close(request_end)
        os.close(reply_end)
        with suppress(AttributeError, OSError):  # more than a page at once, where that is allowed
            fcntl.fcntl(replies, fcntl.F_SETPIPE_SZ, 1 << 20)
        self.requests = os.fdopen(requests, "wb")
        self.replies = os.fdopen(replies, "rb")

    def fields(
        self, place: Place, poses: Sequence[Pose], size: tuple[int, int], all_fields: bool
    ) -> tuple[np.ndarray, ...]:
        """Those of `Views`, or pixels alone."""
        text, awake = udmf(place), None
        if text != self.text:
            with self.file.open("r+b") as file:
                file.seek(START)
                file.write(slot(text))
            awake = _AWAKE
            self.heading = TURN // 4  # a player begins with its face to the north
        things = None
        if all_fields:
            items = [(item.x, item.y) for room in place.rooms for item in room.items]
            things = np.array(items, float).reshape(-1, 2)
        moves = [self._move(pose) for pose in poses]
        pickle.dump((awake, moves, things, size), self.requests, protocol=5)
        self.requests.flush()
        self.text = text
        parts: list[tuple[np.ndarray, ...]] = []
        while sum(len(pixels) for pixels, *_ in parts) < len(moves):
            parts.append(self._answer())
        return tuple(np.concatenate(field) for field in zip(*parts, strict=True))

    def close(self) -> None:
        """End the engine's process and remove its files."""
        for file in (self.requests, self.replies):
            with suppress(OSError):  # what was not sent is lost with the process
                file.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.folder.exists():  # it could not do so itself
            game.clear(self.folder, self.since)

    def _move(self, pose: Pose) -> tuple[int, int, float]:
        """Where to stand and how far to turn."""
        turn = (pose.heading - self.heading + TURN // 2) % TURN - TURN // 2
        self.heading = pose.heading
        return pose.x, pose.y, -turn * 360 / TURN  # exact: a power of two divides the circle

    def _answer(self) -> tuple[np.ndarray, ...]:
        try:
            reply = pickle.load(self.replies)
        except (EOFError, pickle.UnpicklingError) as error:
            raise _EndedError(self._last_words()) from error
        if isinstance(reply, str):
            raise _EndedError(reply)
        answer: tuple[np.ndarray, ...] = reply
        return answer

    def _last_words(self) -> str:
        """Of a process that says nothing any more: how it ended, and the last line it wrote."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        code = self.process.returncode
        with suppress(OSError, IndexError):
            lines = (self.folder / _LOG).read_text(errors="replace").split("\n")
            return f"status {code}: {[line.strip() for line in lines if line.strip()][-1][:200]}"
        return f"status {code}"


_engines: dict[tuple[int, tuple[int, int]], _Engine] = {}


def _running(screen: tuple[int, int]) -> _Engine:
    """This process's engine: one that was forked belongs to the parent."""
    key = (os.getpid(), screen)
    if key not in _engines:
        try:
            _engines[key] = _Engine(screen)
        except OSError as error:
            if disk_is_full(error):
                raise DiskFullError(
                    tempfile.gettempdir(), "an engine keeps its map there; free some, or set TMPDIR"
                ) from error
            raise
    return _engines[key]


def _discard(screen: tuple[int, int]) -> None:
    _engines.pop((os.getpid(), screen)).close()


@atexit.register
def _end() -> None:
    for (process, _), engine in _engines.items():
        if process == os.getpid():
            engine.close()
    _engines.clear()


def _check_installed() -> None:
    if find_spec("vizdoom") is None:
        raise EngineError(
            "data=doom needs ViZDoom: pip install -e '.[doom]' (or pip install vizdoom)"
        )
