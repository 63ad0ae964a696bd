"""Processes that share work: one that dies takes one task, and all end with who began them.

Those begun here import this file, and torch takes seconds: it is imported where it is used.
"""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cf.data.stream import serve_loader
from cf.files.atomic import DiskFullError
from cf.system.processes import Died, spread


def worked(task: tuple[str, str]) -> tuple[str, int]:
    """Dies as often as it has marks left to take; otherwise tells its process."""
    name, marks = task
    for mark in sorted(Path(marks).glob(f"{name}-*")):
        mark.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "full":
        raise DiskFullError("a.file")
    time.sleep(0.1)
    return name, os.getpid()


class _Told:
    """Each item is the process that made it."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        return os.getpid()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_loader_serves_until_its_parent_has_come_to_an_end(number: int) -> None:
    from torch.utils.data import DataLoader

    pids = iter(DataLoader(_Told(), None, num_workers=1, worker_init_fn=serve_loader))
    worker = next(pids)
    os.kill(worker, number)
    assert set(pids) == {worker}


@pytest.mark.whole
def test_every_loader_of_the_package_begins_its_workers_so() -> None:
    for file in (Path(__file__).parents[1] / "cf").rglob("*.py"):
        calls = [one for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, ast.Call)]
        for call in calls:
            given = {one.arg: ast.unparse(one.value) for one in call.keywords}
            if ast.unparse(call.func).startswith("DataLoader") and "num_workers" in given:
                assert given.get("worker_init_fn") == "serve_loader", file


@pytest.mark.whole
def test_a_process_that_dies_is_replaced_and_the_rest_goes_on_beside_it(tmp_path: Path) -> None:
    for name, deaths in {"once": 1, "twice": 2, "always": 3}.items():
        for death in range(deaths):
            (tmp_path / f"{name}-{death}").touch()
    names = ["always", "a", "once", "b", "twice", "c"]
    made = {task[0]: one for task, one in spread(worked, [(n, str(tmp_path)) for n in names], 2)}
    assert set(made) == set(names)
    died = made.pop("always")
    assert isinstance(died, Died)
    assert "SIGKILL" in died.reason
    assert all(not isinstance(one, Died) and one[0] == name for name, one in made.items())
    assert not list(tmp_path.iterdir())


def test_what_a_task_raises_is_raised_here_and_ends_all(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"a\.file"):
        list(spread(worked, [(name, str(tmp_path)) for name in ("a", "full", "b")], 2))


def refusing(number: int) -> None:
    """Ends a process before its work."""
    raise RuntimeError(f"no process {number}")


def test_processes_that_cannot_begin_end_all_at_once(tmp_path: Path) -> None:
    tasks = [(name, str(tmp_path)) for name in "abcdef"]
    with pytest.raises(ChildProcessError, match=r"before its work \(exit status 1\)"):
        list(spread(worked, tasks, 1, refusing))


def gone(process: int, seconds: float = 10) -> bool:
    """Whether a process is no more, if one waits until somebody has taken its exit status."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


HOLDER = """
import sys, time
from pathlib import Path
from cf.system.processes import spread
sys.path.insert(0, {tests!r})
from test_processes import scribbled
list(spread(scribbled, [{folder!r} + "/0", {folder!r} + "/1"], 2))
"""


def scribbled(path: str) -> None:
    """Writes for ever."""
    while True:
        with Path(path).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.01)


@pytest.mark.whole
def test_workers_end_with_their_parent_and_write_nothing_after(tmp_path: Path) -> None:
    code = HOLDER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", code])
    files = [tmp_path / "0", tmp_path / "1"]
    until = time.monotonic() + 60
    while not all(file.exists() for file in files) and time.monotonic() < until:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    time.sleep(1)
    sizes = [file.stat().st_size for file in files]
    time.sleep(0.3)
    assert [file.stat().st_size for file in files] == sizes
    assert all(gone(int(file.read_text().split()[0])) for file in files)


PHASE = """
import os, time
from cf.system.processes import end_with_parent
end_with_parent()
assert "CF_BEGUN_BY" not in os.environ
while True:
    open({file!r}, "a").write(f"{{os.getpid()}}\\n")
    time.sleep(0.01)
"""


@pytest.mark.whole
def test_a_command_that_a_killed_command_began_ends_too(tmp_path: Path) -> None:
    file = tmp_path / "written"
    phase = [sys.executable, "-c", PHASE.format(file=str(file))]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from cf.system.signals import run; run({phase!r})"]
    )
    until = time.monotonic() + 60
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert gone(int(file.read_text().split()[0]))


SLOW = """
import multiprocessing, os, time
if multiprocessing.parent_process() is not None:
    open({file!r}, "w").write(str(os.getpid()) + " ")
    time.sleep(60)
def work(task):
    return task
"""


def test_a_hang_up_of_the_group_spares_joblibs_tracker() -> None:
    code = (
        "from cf.system.signals import spare_tracker; spare_tracker(); "
        "from joblib.externals.loky.backend.resource_tracker import _resource_tracker as one; "
        "import os, signal, time; os.kill(one._pid, signal.SIGHUP); time.sleep(0.3); "
        "assert os.waitpid(one._pid, os.WNOHANG) == (0, 0), 'it has ended'; "
        "assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.whole
def test_a_process_that_still_imports_ends_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "importing"
    (tmp_path / "slow.py").write_text(SLOW.format(file=str(file)))
    code = "import slow; from cf.system.processes import spread; list(spread(slow.work, [1], 1))"
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": places}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith(" ")) and time.monotonic() < until:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert gone(int(file.read_text()))
