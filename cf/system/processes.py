"""Work spread over processes, which end with the one that began them; one that dies is replaced."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

log = logging.getLogger("cf")

T = TypeVar("T")
R = TypeVar("R")

BEGUN_BY = "CF_BEGUN_BY"
"""The variable that tells a command which process began it and waits for it."""
_LOOKS = 0.2  # seconds between two looks at whether the parent is there
_PATIENCE = 5.0  # seconds that a process has to end once it was told to
_watching = 0  # the process that watches its parent; a fork of it does not


@dataclass(frozen=True)
class Died:
    """Nothing came of a task: every process that took it up died.

    Attributes:
        reason: what they died of, as far as one can tell.
    """

    reason: str


def spread(
    work: Callable[[T], R],
    tasks: Sequence[T],
    workers: int,
    begin: Callable[[int], object] | None = None,
) -> Generator[tuple[T, R | Died]]:
    """What `work` makes of each task, in the order in which they come to an end.

    A process that dies is replaced, and its task tried once more after all others. A task that has
    taken two processes with it is tried a last time while nothing else runs: memory may have been
    too small for two at once. All processes end when this is exhausted or closed. One that ends by
    itself before it takes up anything would end so every time: that ends all.

    Args:
        work: runs in the processes; it and what it takes and gives must be picklable.
        tasks: what is to be done, begun in this order.
        workers: processes at once, one at least.
        begin: is called first in each process, with its number from 0 to `workers` - 1.

    Raises:
        ChildProcessError: a process ended before it was ready; its own message stands above.
        Exception: whatever `work` raises.
    """
    team = _Team(work, begin, min(workers, len(tasks)))
    waiting = deque((task, 1) for task in tasks)
    alone: list[tuple[T, int]] = []
    try:
        while waiting or alone or team.busy:
            if not waiting and alone and not team.busy:
                waiting.append(alone.pop())
            while waiting and team.idle and not (team.busy and waiting[0][1] > 2):
                team.give(*waiting.popleft())
            for task, attempt, answer in team.ended():
                if not isinstance(answer, Died) or attempt > 2:
                    yield task, answer
                    continue
                log.warning("a process died (%s); what it did is tried again", answer.reason)
                (waiting if attempt == 1 else alone).append((task, attempt + 1))
    finally:
        team.end()


def end_with_parent(*_: object) -> None:
    """End this process, as a kill would, soon after the one that began it has ended in any way.

    Nobody waits any more for what it does, and its folders may be taken by whoever starts again.
    Without effect in a process that neither `multiprocessing` and its kin nor `signals.run` began.
    """
    global _watching
    parent = multiprocessing.parent_process()
    parent_id = os.environ.pop(BEGUN_BY, None)  # of this process, and not of those that it begins
    begun_by = int(parent_id) if parent is None and parent_id else parent and parent.pid
    if begun_by is None or _watching == os.getpid():
        return
    _watching = os.getpid()
    served = parent is not None and os.getppid() != begun_by  # by a server of forks, or orphaned

    def watch() -> None:
        while parent.is_alive() if served else os.getppid() == begun_by:  # type: ignore[union-attr]
            time.sleep(_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with the parent").start()


@dataclass
class _Worker(Generic[T]):
    """A process, the end of a pipe to it, what it does now, and whether it has ever been ready."""

    process: Any
    pipe: Connection
    number: int
    task: tuple[T, int] | None = None
    ready: bool = False


@dataclass
class _Team(Generic[T, R]):
    """As many processes as are wanted, each begun when it is needed first."""

    work: Callable[[T], R]
    begin: Callable[[int], object] | None
    size: int
    members: list[_Worker[T]] = field(default_factory=list)

    @property
    def busy(self) -> list[_Worker[T]]:
        """Who does something."""
        return [worker for worker in self.members if worker.task is not None]

    @property
    def idle(self) -> bool:
        """Whether a task can be given."""
        return len(self.busy) < self.size

    def give(self, task: T, attempt: int) -> None:
        """Have somebody do a task."""
        without_task = (worker for worker in self.members if worker.task is None)
        free = next(without_task, None) or self._begun()
        free.task = task, attempt
        with suppress(OSError):  # if it has died, that is noticed where answers are read
            free.pipe.send_bytes(pickle.dumps(task))

    def ended(self) -> Iterator[tuple[T, int, R | Died]]:
        """Wait until something ends; the tasks, which attempts they were, and what came of them.

        Raises:
            ChildProcessError: a process ended by itself before it was ready.
            Exception: whatever `work` raised.
        """
        busy = {worker.pipe: worker for worker in self.busy}
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.task is not None
            task, attempt = worker.task
            try:
                message = worker.pipe.recv_bytes()
            except (EOFError, OSError):
                self.members.remove(worker)
                cause = fate(worker.process, worker.pipe)
                if not worker.ready and (worker.process.exitcode or 0) > 0:
                    raise ChildProcessError(
                        f"a process ended before its work ({cause}); its message stands above"
                    ) from None
                yield task, attempt, Died(cause)
                continue
            if not worker.ready:
                worker.ready = True
                continue
            error, answer = pickle.loads(message)
            if error is not None:
                raise error
            worker.task = None
            yield task, attempt, answer

    def end(self) -> None:
        """End all processes, whatever they do."""
        for worker in self.members:
            worker.process.terminate()
        for worker in self.members:
            end(worker.process, worker.pipe)
        self.members.clear()

    def _begun(self) -> _Worker[T]:
        number = min(set(range(self.size)) - {worker.number for worker in self.members})
        orders = pickle.dumps((self.work, self.begin))  # what they import takes seconds
        process, ours = spawned(_serve, orders, number)
        self.members.append(_Worker(process, ours, number))
        return self.members[-1]


def spawned(
    target: Callable[..., None], *given: Any, daemon: bool = False
) -> tuple[Any, Connection]:
    """A new process that runs `target(pipe, *given)`, and our end of the pipe.

    Args:
        target: what it does, a function of a module.
        given: to it, picklable.
        daemon: whether it is ended when this process ends by itself.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *given), daemon=daemon)
    # Ctrl-C in a terminal reaches the whole group, and the parent alone decides what ends.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return process, ours


def _serve(
    pipe: Connection,
    orders: bytes,
    number: int,
) -> None:
    """Do what comes through the pipe, until the parent ends this process.

    Args:
        pipe: to the parent.
        orders: pickled, what is to be done with each task and what is called first.
        number: of this process, from 0 to the number of processes less one.
    """
    end_with_parent()
    work, begin = pickle.loads(orders)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if begin is not None:
        begin(number)
    pipe.send_bytes(b"")  # ready
    while True:
        try:
            task = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            answer = pickle.dumps((None, work(task)))
        except Exception as error:
            answer = told_of(error)
        pipe.send_bytes(answer)  # as bytes: nothing of this process is needed to read them


def told_of(error: Exception) -> bytes:
    """An error, pickled with None beside it: itself, or what it says where it cannot be."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        message = pickle.dumps((error, None))
        pickle.loads(message)
    except Exception:  # some exceptions cannot be made again from what they hold
        message = pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))
    return message


def fate(process: Any, pipe: Connection) -> str:
    """What a process died of, as far as one can tell; it is ended if it has not."""
    end(process, pipe)
    status = process.exitcode
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}" + (": is there enough memory?" if name == "SIGKILL" else "")
    return f"exit status {status}"


def end(process: Any, pipe: Connection) -> None:
    """Wait a while for a process to end, and then end it."""
    pipe.close()
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
