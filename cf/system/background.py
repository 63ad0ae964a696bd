"""Work that is done in order by a thread of its own, while its giver goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

Task = Callable[[], None]


def settle(wait_for: Callable[[], object]) -> None:
    """Wait until a thread has done its work, even if this one is asked to end meanwhile.

    What the work uses may then be closed, and the process may end: C code that runs on beside
    either ends in a segmentation fault. `Thread.join` does not serve: before Python 3.13, one that
    a signal cuts short takes the thread for ended.

    Args:
        wait_for: returns when the work is done; may be called twice.
    """
    try:
        wait_for()
    except BaseException:
        wait_for()
        raise


class Background:
    """Does one task after the other, of which a few may wait; the giver waits when there are more.

    What a task raises is raised to the giver by the next call, and what waited behind it is not
    begun.
    """

    def __init__(self, waiting: int = 2) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._room = threading.Semaphore(waiting + 1)
        self._last: Future[None] | None = None
        self._error: BaseException | None = None

    def do(self, task: Task) -> None:
        """Have a task done after those before it."""
        self._raise()
        self._room.acquire()
        self._last = self._executor.submit(self._work, task)

    def wait(self) -> None:
        """Until all that was given is done."""
        self._settle()
        self._raise()

    def end(self, finish: bool = True) -> None:
        """Let the thread end, after what waits if that is to be finished; a second time is nothing.

        Without `finish` nothing is raised: there is an error already, and it is to be seen.
        """
        if not finish:
            self._error = self._error or InterruptedError()
        self._settle()
        self._executor.shutdown()
        if finish:
            self._raise()

    def _settle(self) -> None:
        if self._last is not None:
            last = self._last
            settle(lambda: wait([last]))

    def _work(self, task: Task) -> None:
        try:
            if self._error is None:
                task()
        except BaseException as error:  # told to the giver, whatever it is
            self._error = error
        finally:
            self._room.release()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
