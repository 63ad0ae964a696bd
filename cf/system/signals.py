"""What a command does when it is asked to end: go on to a point where nothing is lost, then end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from cf.system.processes import BEGUN_BY

# Ctrl-C, the end that schedulers and `kill` ask for, and a terminal that was closed.
ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ended: list[Any] = []  # exit status, once this worker was asked to end


class Stopped(SystemExit):
    """The command was asked to end and is at a point where it can; its code is the exit status.

    Attributes:
        told: whether it was said how the command goes on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.told = False

    def __reduce__(self) -> tuple[type[Stopped], tuple[int]]:  # travels between processes
        return type(self), (int(self.code or 0) - 128,)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(int(self.code or 0) - 128).name}"


class Stop:
    """Whether this command was asked to end.

    Attributes:
        asked: the signal that asked, 0 while none did.
        waits: whether the work reads `asked` by itself; otherwise it is ended where it is.
    """

    def __init__(self) -> None:
        self.asked, self.waits = 0, False
        self._passed_on: set[int] = set()

    def now(self) -> None:
        """End here if the command was asked to.

        Raises:
            Stopped: if it was.
        """
        if self.asked:
            raise Stopped(self.asked)

    def heard(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; the same one a second time ends the process at once.

        Another one after the first changes nothing: a terminal asks the whole group, and a parent
        its children too.
        """
        if number == self.asked:
            end_at_once(number)
        if self.asked:
            return
        self.asked = number
        if not self.waits:
            raise Stopped(number)
        name = signal.Signals(number).name
        _say(f"{name}: ending after this step, with a checkpoint; once more ends at once")

    def listen(self) -> None:
        """Hear what asks this process to end, in place of who hears it now."""
        for number in _heeded():
            signal.signal(number, self.heard)


@contextmanager
def heard(stop: Stop, only_unheard: bool = False) -> Iterator[Stop]:
    """While the block runs, `stop` hears what asks this process to end, or what nobody hears.

    Raises:
        Stopped: it was asked to end, whatever the work made of that.
    """
    unheard = (signal.SIG_DFL, signal.default_int_handler)
    with _handling(
        stop.heard, lambda number: not only_unheard or signal.getsignal(number) in unheard
    ):
        try:
            yield stop
        except Exception:  # C code that is interrupted may tell of an error of its own instead
            if stop.asked and not stop.waits:
                raise Stopped(stop.asked) from None
            raise


@contextmanager
def passed_on(children: Callable[[], Sequence[int]] | None = None) -> Iterator[None]:
    """While the block runs, what asks this process to end is passed on to its children.

    It then ends when they have; a second time, all end at once.

    Args:
        children: their process ids; None: what `multiprocessing` and its kin have started.

    Raises:
        Stopped: at the end of the block, if it was asked to.
    """
    signals: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        living = (children or _workers)()
        if number in signals:
            for child in living:
                _send(child, signal.SIGKILL)
            end_at_once(number)
        signals.append(number)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # it shall not print what comes of it, but raise
        for child in living:
            # A terminal has asked them as well; SIGTERM is then no second time.
            _send(child, signal.SIGTERM)
        if not living:
            raise Stopped(number)

    try:
        with _handling(hear):
            yield
    except Stopped:
        raise
    except BaseException:  # of children that had not begun to hear
        if signals:
            raise Stopped(signals[0]) from None
        raise
    if signals:
        raise Stopped(signals[0])


def spare_tracker() -> None:
    """Begin joblib's tracker of semaphores such that a hang-up of the whole group spares it.

    It ignores what else ends a group; ended before the others, it would be begun anew and say for
    each semaphore of theirs that it knows none, in a traceback.
    """
    from joblib.externals.loky.backend import resource_tracker

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, before)


def run(command: Sequence[str], **options: Any) -> int:
    """The exit status of a command of cf, which ends when this process does, however that ends.

    What asks this process to end is passed on to it.

    Raises:
        Stopped: once the command has ended, if this process or the command was asked to end.
    """
    own = {**(options.pop("env", None) or os.environ), BEGUN_BY: str(os.getpid())}
    with (
        subprocess.Popen(command, env=own, **options) as process,
        passed_on(lambda: [process.pid]),
    ):
        ended = process.wait()
    if -ended in ASKED or ended - 128 in ASKED:
        raise Stopped(-ended if ended < 0 else ended - 128)
    return ended


def job_status(task: Callable[..., Any], *arguments: Any) -> Any:
    """What a job of a worker returns, or its exit status if the worker was asked to end.

    After that the worker begins no other job.
    """
    if _ended:
        return _ended[0]
    try:
        return task(*arguments)
    except Stopped as stopped:
        if multiprocessing.parent_process() is None:  # no worker: the whole command ends
            raise
        _ended.append(stopped.code)
        return stopped.code


def end_at_once(number: int) -> None:
    """End this process as the signal does where nobody hears it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@contextmanager
def _handling(
    hear: Callable[[int, FrameType | None], None],
    takes: Callable[[int], bool] = lambda _: True,
) -> Iterator[None]:
    """`hear` in place of the handlers there are, of the signals that it takes."""
    before = {number: signal.getsignal(number) for number in _heeded() if takes(number)}
    for number in before:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    """Those that may be heard: what a process was started to ignore (`nohup`) stays ignored.

    Only the main thread can have handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in ASKED if signal.getsignal(number) is not signal.SIG_IGN]


def _workers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def _send(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _say(text: str) -> None:
    """On stderr, past its buffer: a handler may have come between two halves of a line."""
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{text}\n".encode())
