"""The engine of game rooms: side by side, missing, crashing, killed; it leaves nothing behind."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("vizdoom")

from cf.data.world.doom import engine, game
from cf.data.world.doom.engine import EngineError
from cf.data.world.doom.world import Doom
from cf.files.atomic import DiskFullError
from cf.files.output_folder import working

pytestmark = [pytest.mark.whole, pytest.mark.xdist_group("doom")]  # one engine for all


def orphans() -> set[str]:
    """Shared memory of engines that no process holds."""
    return {path.name for path in game.unheld()}


def guarded(place: Path) -> bool:
    """Whether an engine's process runs on a folder in this place."""
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if f"{place}/cf-doom-" in words.read_text(errors="replace"):
                return True
    return False


def in_time(holds: Callable[[], bool]) -> bool:
    """Whether something comes about within twenty seconds."""
    end = time.monotonic() + 20
    while not (found := holds()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("which", ["engine", "process"])
def test_what_is_killed_is_started_again(which: str) -> None:
    world = Doom(size=(60, 80))
    whole = world.draw(0, [1], 6).video
    mine = next(iter(engine._engines.values()))
    found = game.engine(mine.folder)
    assert found is not None
    before = orphans()
    os.kill(found if which == "engine" else mine.process.pid, signal.SIGKILL)
    assert torch.equal(world.draw(0, [1, 2], 6).video[:1], whole)
    assert game.engine(mine.folder) is None
    assert not mine.folder.exists()
    assert in_time(lambda: orphans() <= before)


def test_an_engine_that_cannot_start_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine._end()
    before, text = orphans(), Path(game.__file__).read_text()
    broken = text.replace("game.init()", "game.set_vizdoom_path('/bin/false'); game.init()")
    assert broken != text
    (tmp_path / "broken.py").write_text(broken)
    monkeypatch.setattr(game, "__file__", str(tmp_path / "broken.py"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EngineError, match=r"ended twice while it painted \(status -11"):
        Doom().draw(0, [1], 2)  # ViZDoom's library ends the process with it
    assert [path.name for path in tmp_path.iterdir()] == ["broken.py"]
    assert in_time(lambda: orphans() <= before)


def test_an_engine_that_is_not_installed_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    engine._end()
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(EngineError, match=r"pip install -e '.\[doom\]'"):
        Doom().draw(0, [1], 2)


def test_a_question_that_is_interrupted_leaves_no_answer_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Doom()
    whole = world.draw(0, [1], 6).video

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine._Engine, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            world.draw(0, [2], 6)
    assert torch.equal(world.draw(0, [1], 6).video, whole)


def test_an_engine_leaves_nothing_where_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine._end()
    monkeypatch.chdir(tmp_path)
    Doom().draw(0, [1], 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["starting", "started"])
def test_no_engine_outlives_its_process(when: str, tmp_path: Path) -> None:
    script = (
        "import sys; from cf.data.world.doom import engine;"
        "from cf.data.world.doom.world import Doom;"
        "print('starting', flush=True); Doom().draw(0, [1], 2); print('started', flush=True);"
        "sys.stdin.read()"
    )
    before = orphans()
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert child.stdout is not None
    while child.stdout.readline().strip() != when:
        pass
    assert in_time(lambda: guarded(tmp_path))
    folders = list(tmp_path.iterdir())
    child.kill()
    child.communicate()
    assert in_time(lambda: not folders[0].exists())
    assert game.engine(folders[0]) is None
    assert in_time(lambda: orphans() <= before)


def test_processes_side_by_side_paint_the_same_pixels() -> None:
    script = (
        "import hashlib; from cf.data.world.doom.world import Doom;"
        "print(hashlib.sha256(Doom().draw(0, [9, 1], 8).video.numpy().tobytes()).hexdigest())"
    )
    begin = partial(subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    other = begin([sys.executable, "-c", script])
    mine = Doom().draw(0, [9, 1], 8).video.numpy().tobytes()
    told, failed = other.communicate()
    assert told.strip() == hashlib.sha256(mine).hexdigest(), failed


def test_a_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    engine._end()
    (full_disk := tmp_path / "full").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(full_disk))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError) as told, working("cf.x", tmp_path / "run", lambda: "kept"):
        Doom().draw(0, [1], 2)
    assert told.value.filename == str(full_disk), "not the folder of the run, which has space"
    assert not list(full_disk.iterdir())
