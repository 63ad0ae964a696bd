"""Work that is done in order by a thread of its own, while its giver goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Task = Callable[[], None]


class Background:
    """Does one task after the other, of which a few may wait; the giver waits when there are more.

    What a task raises is raised to the giver by the next call, and what waited behind it is not
    begun.
    """

    def __init__(self, waiting: int = 2) -> None:
        self._tasks: queue.Queue[Task | None] = queue.Queue(waiting)
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def do(self, task: Task) -> None:
        """Have a task done after those before it."""
        self._raise()
        self._tasks.put(task)

    def wait(self) -> None:
        """Until all that was given is done."""
        self._tasks.join()
        self._raise()

    def end(self, finish: bool = True) -> None:
        """Let the thread end, after what waits if that is to be finished; a second time is nothing.

        Without `finish` nothing is raised: there is an error already, and it is to be seen.
        """
        if not self._ended:
            self._ended = True
            if not finish:
                self._error = self._error or InterruptedError()
            self._tasks.put(None)
            self._thread.join()
        if finish:
            self._raise()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                if task is None:
                    return
                if self._error is None:
                    task()
            except BaseException as error:  # told to the giver, whatever it is
                self._error = error
            finally:
                self._tasks.task_done()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
