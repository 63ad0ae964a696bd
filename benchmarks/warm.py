"""Commands in forks of this process, which has imported what takes them seconds to import."""

from __future__ import annotations

import atexit
import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import lightning  # noqa: F401 # for the forks
import matplotlib.pyplot  # noqa: F401
import scipy.stats  # noqa: F401
import torch
import torchmetrics  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
Command = tuple[str, list[str]]
_LONGEST = 300.0  # seconds that a command takes at most
_LOOKS = 0.02  # seconds between two looks at what runs


@dataclass
class Running:
    """A command that was begun in a session of its own."""

    pid: int
    status: int | None = None

    def ended(self, seconds: float) -> int | None:
        """Its exit status (as of `subprocess`) if it ends in so many seconds, None if not."""
        self.until(lambda: False, seconds)
        return self.status

    def until(self, so: Callable[[], bool], seconds: float) -> bool:
        """Whether something becomes so before the command ends and the seconds are over."""
        limit = time.monotonic() + seconds
        while self.status is None and not so():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > limit:
                return False
            else:
                time.sleep(_LOOKS)
        return self.status is None

    def send(self, number: int, group: bool) -> None:
        """A signal, to the command alone or to whoever it began too."""
        (os.killpg if group else os.kill)(self.pid, number)

    def processes(self) -> int:
        """How many run in its session."""
        return len(self._session())

    def outlived(self, seconds: float) -> int:
        """How many it began that still run so many seconds after it ended."""
        limit = time.monotonic() + seconds
        while (left := self._session()) and time.monotonic() < limit:
            time.sleep(0.2)
        return len(left)

    def end(self) -> None:
        """End all of it."""
        for one in self._session():
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.ended(60)

    def _session(self) -> list[int]:
        """Who runs in its session; who ended and waits to be counted does not."""
        listed = ["ps", "-eo", "pid=,sess=,stat="]
        told = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        rows = (line.split() for line in told.splitlines())
        return [int(pid) for pid, of, state in rows if int(of) == self.pid and state[0] != "Z"]


def run(given: Command, work: Path) -> None:
    """A command to its end.

    Raises:
        RuntimeError: it failed, or does not end.
    """
    with begin(given, work / "log") as running:
        status = running.ended(_LONGEST)
    if status != 0:
        told = (work / "log").read_text(errors="replace")[-1500:]
        raise RuntimeError(f"{given[0]} {' '.join(given[1])}: status {status}\n{told}")


@contextmanager
def begin(given: Command, log: Path) -> Iterator[Running]:
    """A command that runs while the block does, at most; it writes into the log."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _become(given, log)
    running = Running(pid)
    try:
        yield running
    finally:
        running.end()


def _as_begun() -> None:
    """Undo what this process, such as one of tests, set up for itself."""
    sys.stdin = open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)  # type: ignore[misc] # noqa: SIM115
    warnings.resetwarnings()
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.raiseExceptions = False  # of loggers that hold a stream of before
    weakref.finalize._registry.clear()  # type: ignore[attr-defined] # temporary folders of others


def _become(given: Command, log: Path) -> None:
    """`python -m` of a module in this process, which then ends."""
    status = 1
    try:
        os.setsid()
        os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        torch.set_num_threads(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        _as_begun()
        module, sys.argv = given[0], [given[0], *given[1]]
        fresh = types.ModuleType("__main__")  # in which workers look for what is pickled
        sys.modules["__main__"] = sys.modules["__mp_main__"] = fresh
        sys.modules.pop(module, None)  # whoever forked may have imported it; it begins anew
        runpy._run_module_as_main(module, alter_argv=False)  # type: ignore[attr-defined]
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:  # as an interpreter ends
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)
