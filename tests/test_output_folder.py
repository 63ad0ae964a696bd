"""What a command says and leaves when it is stopped or the disk is full."""

import logging
import multiprocessing
import os
import shlex
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from cf.files.atomic import DiskFullError, disk_is_full
from cf.files.output_folder import stoppable, working
from cf.system.signals import Stopped
from cf.video.reader import read_video
from cf.video.writer import VideoWriter


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_stopped_says_what_is_kept_and_what_goes_on(
    number: int,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "argv", ["cf.x", "prompt=it's", "hydra.run.dir=old"])
    monkeypatch.setattr(logging.getLogger("cf.x"), "propagate", True)
    folder = tmp_path / "my run"

    def stop() -> None:
        with working("cf.x", folder, lambda: "two of three are kept"):
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped) as stopped:
        stop()
    assert stopped.value.code == status
    (line,) = caplog.messages
    assert "two of three are kept" in line
    command = shlex.split(line.split("go on with: ")[1])
    assert command == ["python", "-m", "cf.x", "prompt=it's", f"hydra.run.dir={folder}"]


@pytest.mark.parametrize("heard", [False, True])
def test_who_is_stopped_before_the_work_says_so_unless_another_hears(
    heard: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cf.x", "prompt=it's"])
    asked: list[int] = []
    own = lambda number, _: asked.append(number)  # noqa: E731
    before = signal.signal(signal.SIGTERM, own if heard else signal.SIG_DFL)
    try:
        with nullcontext() if heard else pytest.raises(Stopped), stoppable("cf.x"):
            sys.argv[1:] = ["prompt='it\\'s'"]  # as Hydra takes it
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    line = capsys.readouterr().err.strip()
    assert asked == [signal.SIGTERM] * heard
    assert line == "" or shlex.split(line.split("go on with: ")[1])[2:] == ["cf.x", "prompt=it's"]
    assert bool(line) != heard


def test_a_full_disk_is_told_with_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cf.x"])
    words = "[enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22"

    def fill() -> None:
        with working("cf.x", tmp_path, lambda: "one is kept"):
            raise RuntimeError(words)

    with pytest.raises(DiskFullError, match=r"one is kept; free some, then go on with: python -m"):
        fill()


def test_what_a_killed_writer_left_is_removed_and_its_video_plays(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 8, (16, 16))
    writer.write(torch.rand(20, 3, 16, 16))
    half = tmp_path / ".a.mp4.1.cf-tmp"  # as if it had been killed while it made it plain
    half.write_bytes(b"half")
    with working("cf.x", tmp_path, lambda: "nothing is kept"):
        assert not half.exists()
    assert len(read_video(tmp_path / "a.mp4")) >= 16
    writer.close()
    assert [one.name for one in sorted(tmp_path.iterdir())] == [".lock", "a.mp4"]


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()

    def hold() -> None:
        with working("cf.x", tmp_path, lambda: "nothing is kept"):
            theirs.send("held")
            theirs.recv()

    holder = multiprocessing.get_context("fork").Process(target=hold)
    holder.start()
    assert ours.recv() == "held"
    busy = pytest.raises(ValueError, match=r"another cf\.x is running")
    with busy, working("cf.x", tmp_path, lambda: "nothing is kept"):
        pass
    ours.send("enough")
    holder.join()
    assert holder.exitcode == 0


def test_a_cause_that_is_raised_anew_is_looked_at_once() -> None:
    error, cause = RuntimeError("building"), FileNotFoundError("no such weights")
    error.__cause__, cause.__context__ = cause, error
    assert not disk_is_full(cause)
