"""Commands in odd folders, shells and interpreters."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cf.files.atomic import check_here
from cf.settings.mistakes import exit_on_user_error
from cf.system.processes import end_with_parent

ROOT = Path(__file__).parents[1]
SHADOWS = ("random", "hydra", "yaml", "logging", "torch", "platform")


def python(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_files_of_the_folder_one_works_in_hide_no_library(tmp_path: Path) -> None:
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "mine.py").write_text("")
    ended = python("-m", "cf.fit", "--help", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    own = "import sys; sys.argv = ['-m']; import cf, yaml, mine; print(mine.__file__)"
    assert python("-c", own, cwd=tmp_path).stdout.strip() == str(tmp_path / "mine.py")
    script = "import cf, yaml"  # of one's own, where the order is as Python has it
    assert "not this one" in python("-c", script, cwd=tmp_path).stderr


@pytest.mark.parametrize("name", ["fit", "evaluate", "compare"])
def test_a_command_that_is_given_as_a_file_says_how_it_is_given(name: str, tmp_path: Path) -> None:
    ended = python("-S", f"{ROOT}/cf/{name}.py", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("cf: give a command as a module: python -m cf.fit, not python")
    assert len(ended.stderr.splitlines()) == 1


def test_a_list_is_read_as_far_as_somebody_wants(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cf"]
    ended = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("${oc.env:HOME}", r"\$\{ in its name, .* rename it, or cd to another"),
        ("lat\udce9in", r"is not UTF-8 text; rename it, or cd to another"),
        (None, "is gone; cd to one that is there"),
    ],
)
def test_a_folder_that_cannot_be_told_is_refused(
    name: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `${` in its name Hydra's log ended in a traceback."""
    folder = tmp_path / (name or "gone")
    folder.mkdir()
    monkeypatch.chdir(folder)
    if name is None:
        folder.rmdir()
    with pytest.raises(ValueError, match=message):
        check_here()
    with pytest.raises(SystemExit), exit_on_user_error("cf.fit"):
        pytest.fail("the command began")
    monkeypatch.chdir(ROOT)  # of a folder that is gone no other test can say where it was


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "outputs").touch()
    told = refused("cf.memory_map", "memories=[sliding]")
    assert "cannot be written (Not a directory); give another folder: hydra.run.dir=..." in told
    (tmp_path / "outputs").unlink()
    (tmp_path / "outputs").symlink_to("/gone/disk")
    told = refused("cf.memory_map", "memories=[sliding]")
    assert "(outputs is a link to /gone/disk, which is not there); give another folder" in told
    (tmp_path / "multirun").touch()
    told = refused("cf.memory_map", "-m", "memories=[sliding]")
    assert "give another folder: hydra.sweep.dir=..." in told


def test_a_reader_takes_as_little_of_the_help_as_it_wants() -> None:
    """`--help | head -1`, whose pipe closes before all is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "cf.benchmark", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_without_streams_works_and_writes_into_no_file(tmp_path: Path) -> None:
    """`2>&-`, as some schedulers begin programs: a bar of progress met None."""
    within = """
import os, sys
from cf.settings.mistakes import exit_on_user_error
from cf.system.progress import progress
with exit_on_user_error("cf.fit"):
    with open("kept", "w") as file, progress(2, "a", "steps", every=0) as bar:
        bar.update(2)
        os.write(2, b"from a library")
"""
    line = '"$0" -c "$1" <&- >&- 2>&-'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", line, sys.executable, within]
    assert subprocess.run(command, cwd=tmp_path, env=environment).returncode == 0
    assert (tmp_path / "kept").read_bytes() == b""


def test_a_folder_of_temporary_files_that_is_too_long_for_workers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sockets have no place there, and a training waited for ever."""
    from cf.data.prompts import PromptData

    (tmp_path / "prompts.txt").write_text("a fox\n")

    def data(workers: int) -> PromptData:
        return PromptData(str(tmp_path / "prompts.txt"), num_workers=workers)

    place = tmp_path / "of_a_job" / ("x" * 60)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with pytest.raises(ValueError, match=r"TMPDIR=.*x is too long .*TMPDIR=/tmp before"):
        data(1)
    data(0)
    monkeypatch.setattr("tempfile.tempdir", "/" + "x" * 74)
    data(1)


def serve(seconds: float, pipe: Connection) -> None:
    end_with_parent()
    time.sleep(seconds)
    pipe.send("done")


def test_a_process_of_a_server_of_forks_lives_as_long_as_who_began_it() -> None:
    """Python 3.14 begins processes so: each ended at once, for its server is its parent."""
    context = multiprocessing.get_context("forkserver")
    for seconds, told in ((1.0, "done"), (60.0, None)):
        ours, theirs = context.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            process = context.Process(target=serve, args=(seconds, theirs))
            process.start()
            process.join(60.0 if told else 3.0)
            os._exit(0)
        theirs.close()
        assert ours.poll(60)
        if told:
            assert ours.recv() == told
        else:
            with pytest.raises(EOFError):
                ours.recv()
        os.waitpid(child, 0)
