"""The engine that paints a place from any pose: one process of ViZDoom for each of ours."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from cf.data.world.doom.place import Place
from cf.data.world.doom.wad import MAP, START, slot, udmf, wad
from cf.data.world.doom.walking import TURN, Pose
from cf.data.world.doom.watch import Watch
from cf.files.atomic import disk_is_full
from cf.system.opencv import cv2

log = logging.getLogger(__name__)

_SCREENS = ((160, 120), (320, 240), (640, 480), (1280, 960))
_AWAKE = 12
"""Tics after which a new player obeys: for the first 8 the engine lets nobody turn."""
_NEAR = 24.0
"""Map units within which a label is a thing's own."""


class EngineError(OSError):
    """The engine cannot be had or has ended; the message says what to do."""


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
    screen = next((s for s in _SCREENS if s[0] >= size[1] and s[1] >= size[0]), _SCREENS[-1])
    for attempt in (1, 2):
        engine = _running(screen)
        try:
            return engine.views(place, poses, size)
        except _failures() as error:
            _engines.pop((os.getpid(), screen), None)
            engine.close()
            if attempt == 2:
                raise EngineError(
                    f"the engine ended twice while it painted ({error}); is there enough memory?"
                ) from error
            log.warning("the engine ended (%s) and is started again", error)
    raise AssertionError("unreachable")


class _Engine:
    """One game that shows map after map from one file, whose text is written over."""

    def __init__(self, screen: tuple[int, int]) -> None:
        vizdoom = _vizdoom()
        self.folder = Path(tempfile.mkdtemp(prefix="cf-doom-"))
        self.file = self.folder / "place.wad"
        self.text = b""
        self.file.write_bytes(wad(b""))
        game = self.game = vizdoom.DoomGame()
        game.set_doom_scenario_path(str(self.file))
        game.set_doom_game_path(str(Path(vizdoom.__file__).parent / "freedoom2.wad"))
        game.set_doom_config_path(str(self.folder / "engine.ini"))
        game.set_doom_map(MAP.lower())
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        resolution = f"RES_{screen[0]}X{screen[1]}"
        game.set_screen_resolution(getattr(vizdoom.ScreenResolution, resolution))
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        for what in ("hud", "weapon", "crosshair", "decals", "particles", "messages", "corpses"):
            getattr(game, f"set_render_{what}")(False)
        game.set_render_screen_flashes(False)
        game.set_depth_buffer_enabled(True)
        game.set_labels_buffer_enabled(True)
        game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
        game.set_available_game_variables([])
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_episode_timeout(0)
        game.add_game_args("+sv_cheats 1")
        game.set_seed(0)
        self.watch: Watch | None = None
        self.heading = 0

    def views(self, place: Place, poses: Sequence[Pose], size: tuple[int, int]) -> Views:
        """See the function of that name."""
        self._load(place)
        items = [(item.x, item.y) for room in place.rooms for item in room.items]
        made = [self._view(pose, size, np.array(items, float).reshape(-1, 2)) for pose in poses]
        return Views(*(np.stack(field) for field in zip(*made, strict=True)))

    def close(self) -> None:
        """End the engine's process and remove its files."""
        self.game.close()
        if self.watch is not None:
            self.watch.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _load(self, place: Place) -> None:
        text = udmf(place)
        if text == self.text and self.watch is not None:
            return
        with self.file.open("r+b") as file:
            file.seek(START)
            file.write(slot(text))
        if self.watch is None:
            self.game.init()
            self.watch = Watch(self.folder)
        else:
            self.game.new_episode()
        self.game.advance_action(_AWAKE)
        self.text, self.heading = text, TURN // 4  # a player begins with its face to the north

    def _view(
        self, pose: Pose, size: tuple[int, int], items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        turn = (pose.heading - self.heading + TURN // 2) % TURN - TURN // 2
        self.game.send_game_command(f"warp {pose.x} {pose.y}")
        self.game.make_action([-turn * 360 / TURN])  # exact: a power of two divides the circle
        self.heading = pose.heading
        state: Any = self.game.get_state()
        assert state is not None
        numbers = np.zeros(256, np.uint8)
        for label in state.labels:
            at = (label.object_position_x, label.object_position_y)
            apart = np.hypot(*(items - at).T) if len(items) else np.array([np.inf])
            if apart.min() < _NEAR:
                numbers[label.value] = int(apart.argmin()) + 1
        pixels = _fitted(state.screen_buffer, size, cv2.INTER_AREA)
        thing = _fitted(numbers[state.labels_buffer], size, cv2.INTER_NEAREST)
        return pixels, thing, _fitted(state.depth_buffer, size, cv2.INTER_NEAREST)


_engines: dict[tuple[int, tuple[int, int]], _Engine] = {}


def _running(screen: tuple[int, int]) -> _Engine:
    """This process's engine: one that was forked belongs to the parent."""
    key = (os.getpid(), screen)
    if key not in _engines:
        try:
            _engines[key] = _Engine(screen)
        except OSError as error:
            if disk_is_full(error):
                raise EngineError(
                    f"no space is left in {tempfile.gettempdir()}, where the engine keeps a map; "
                    "free some, or set TMPDIR to another folder"
                ) from error
            raise
    return _engines[key]


@atexit.register
def _end() -> None:
    for (process, _), engine in _engines.items():
        if process == os.getpid():
            engine.close()
    _engines.clear()


def _vizdoom() -> Any:
    try:
        import vizdoom
    except ImportError as error:
        raise EngineError(
            "data=doom needs ViZDoom: pip install -e '.[doom]' (or pip install vizdoom)"
        ) from error
    return vizdoom


def _failures() -> tuple[type[Exception], ...]:
    """What the library raises when its engine has ended or does not answer."""
    vizdoom = _vizdoom()
    return (
        vizdoom.ViZDoomErrorException,
        vizdoom.ViZDoomIsNotRunningException,
        vizdoom.ViZDoomUnexpectedExitException,
        vizdoom.MessageQueueException,
        vizdoom.SharedMemoryException,
    )


def _fitted(picture: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """Cropped about its centre to the shape of `size`, then scaled."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    rows, columns = round(size[0] * scale), round(size[1] * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    return cv2.resize(cut, (size[1], size[0]), interpolation=how)
