"""The process that holds the engine: where ViZDoom's library crashes, it dies alone.

It is run as a script and imports nothing of cf. It ends when nobody holds the other ends of its
pipes any more, and leaves no engine, no file and no shared memory. The library ends the process in
which an engine cannot start (a null pointer), and an engine whose parent was killed waits for ever.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

_PROC = Path("/proc")
_SHARED = Path("/dev/shm")  # ViZDoom's choice
_NEAR = 24.0
"""Map units within which a label is a thing's own."""
_AT_ONCE = 64
"""Pictures of an answer."""


def main(folder: Path, width: int, height: int, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more.

    A request is the tics to wait in a new map, or None to stay in the old one; tuples (x, y,
    degrees) of where to go and how far to turn; where the map's things are, or None if only pixels
    are asked for; and height and width of the pictures. An answer is an array of pixels, and one of
    things and one of depths if they were asked for, of `_AT_ONCE` pictures or as many as are left,
    or the text of a failure, which is the last.
    """
    game, since = None, time.time()
    try:
        while True:
            wait, moves, things, size = pickle.load(requests)
            if wait is not None:
                game = _loaded(game, folder, f"RES_{width}X{height}", wait)
            assert game is not None  # the first request is of a new map
            for buffer in ("depth", "labels"):  # by the next tic; half of the engine's time
                game.send_game_command(f"viz_{buffer} {int(things is not None)}")
            thing_numbers: dict[tuple[float, float], int] = {}
            for first in range(0, len(moves), _AT_ONCE):
                some = [
                    _shown(game, move, things, thing_numbers, size)
                    for move in moves[first : first + _AT_ONCE]
                ]
                _tell(tuple(np.stack(field) for field in zip(*some, strict=True)), replies)
    except EOFError:  # nobody asks any more
        pass
    except Exception as error:
        with suppress(OSError):
            _tell(f"{type(error).__name__}: {error}".strip(), replies)
    finally:
        clear(folder, since)


def _tell(answer: Any, replies: BinaryIO) -> None:
    pickle.dump(answer, replies, protocol=5)
    replies.flush()


def clear(folder: Path, since: float) -> None:
    """End the engine that runs on these files, if one does, and remove all that it leaves.

    Args:
        folder: of the engine's files.
        since: time of the clock before it began: a library that crashed does not tell how its
            shared memory is called, but nobody holds it.
    """
    pids = {os.getpid()}
    pid = engine(folder)
    if pid is not None:
        pids.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for memory in unheld(pids):
        with suppress(OSError):  # gone already, or of another user
            if memory.stat().st_mtime > since - 0.1:
                memory.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def engine(folder: Path) -> int | None:
    """Process of the engine that runs on these files; None where none does."""
    for place in _PROC.glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if any(str(folder) in word for word in words) and "+viz_instance_id" in words:
            return int(place.name)
    return None


def unheld(but_by: Container[int] = ()) -> list[Path]:
    """Engines' shared memory that no process holds, these left out."""
    memories = list(_SHARED.glob("ViZDoom*"))
    for place in _PROC.glob("[0-9]*") if memories else ():
        if int(place.name) not in but_by:
            with suppress(OSError):  # it has ended, or is not ours
                maps = (place / "maps").read_text()
                memories = [memory for memory in memories if f"{memory}\n" not in maps]
    return memories


def _loaded(game: Any, folder: Path, resolution: str, wait: int) -> Any:
    """The game, begun if there is none, in the map that now lies in its file."""
    if game is None:
        game = _begun(folder, resolution)
        game.init()
    else:
        game.new_episode()
    game.advance_action(wait)
    return game


def _begun(folder: Path, resolution: str) -> Any:
    import vizdoom

    game = vizdoom.DoomGame()
    game.set_doom_scenario_path(str(folder / "place.wad"))
    game.set_doom_game_path(str(Path(vizdoom.__file__).parent / "freedoom2.wad"))
    game.set_doom_config_path(str(folder / "engine.ini"))
    game.set_doom_map("map01")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
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
    return game


def _shown(
    game: Any,
    move: tuple[int, int, float],
    things: np.ndarray | None,
    thing_numbers: dict[tuple[float, float], int],
    size: tuple[int, int],
) -> tuple[np.ndarray, ...]:
    """Pixels, and if things are told, the thing that each shows, and depth.

    Args:
        game: the engine.
        move: place and heading of the camera.
        things: what stands where; None if things are not told.
        thing_numbers: of the things that were seen before, by where they stand.
        size: height and width of the pictures, in pixels.
    """
    x, y, degrees = move
    game.send_game_command(f"warp {x} {y}")
    game.make_action([degrees])
    state = game.get_state()
    pixels = _fitted(state.screen_buffer, size, cv2.INTER_AREA)
    if things is None:
        return (pixels,)
    numbers = np.zeros(256, np.uint8)
    for label in state.labels:
        at = (label.object_position_x, label.object_position_y)
        if at not in thing_numbers:
            apart = np.hypot(*(things - at).T) if len(things) else np.array([np.inf])
            thing_numbers[at] = int(apart.argmin()) + 1 if apart.min() < _NEAR else 0
        if thing_numbers[at]:
            numbers[label.value] = thing_numbers[at]
    thing = _fitted(numbers[state.labels_buffer], size, cv2.INTER_NEAREST)
    return pixels, thing, _fitted(state.depth_buffer, size, cv2.INTER_NEAREST)


def _fitted(picture: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """Cropped about its centre to the shape of `size`, then scaled."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    rows, columns = round(size[0] * scale), round(size[1] * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    return cv2.resize(cut, (size[1], size[0]), interpolation=how)


if __name__ == "__main__":
    _folder, _width, _height, *_ends = sys.argv[1:]
    for _end in map(int, _ends):
        os.set_inheritable(_end, False)  # not for the engine
    _pipes = os.fdopen(int(_ends[0]), "rb"), os.fdopen(int(_ends[1]), "wb")
    main(Path(_folder), int(_width), int(_height), *_pipes)
