"""Numbered batches without end, which a resumed run takes up with the very next one."""

import hashlib
import multiprocessing
import os
import signal
import tempfile
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from cf.system.processes import end_with_parent

_MOST_WORKERS = 256
"""The settings of a run may come from a stranger; each worker is a process of half a gigabyte."""
_LONGEST_PLACE = 75  # bytes; /pymp-12345678/listener-12345678 comes after it, and 107 may be


class EndlessData(LightningDataModule):
    """A data module whose training batches are a function of the numbers of their samples.

    Batch `n` on rank `r` of `w` holds the samples from (n w + r) x batch_size on. So the number of
    workers does not change what is seen, and a run that was killed continues with the very next
    sample, also on another number of processes or in batches of another size.
    """

    batch_size: int
    waited: float = 0.0
    """Seconds for which this process has waited for training batches."""

    def __init__(self, num_workers: int) -> None:
        """Take the number of processes that make batches; 0: this one makes them.

        Raises:
            ValueError: if they are fewer than none, or more than a machine can bear, or if the
                folder of temporary files has too long a name for them.
        """
        super().__init__()
        if not 0 <= num_workers <= _MOST_WORKERS:
            raise ValueError(f"num_workers lies in 0..{_MOST_WORKERS}; got {num_workers}")
        if num_workers and len(os.fsencode(tempfile.gettempdir())) > _LONGEST_PLACE:
            raise ValueError(
                f"TMPDIR={tempfile.gettempdir()} is too long for the sockets of workers; give a "
                "shorter one (TMPDIR=/tmp before the command), or data.num_workers=0"
            )
        self.num_workers = num_workers
        self._resume: dict[str, Any] | None = None
        self._offset = 0

    @abstractmethod
    def maker(self) -> Callable[[list[int]], Any]:
        """What makes a training batch of the samples with these numbers; goes to the workers."""

    @abstractmethod
    def identity(self) -> object:
        """Equal, by its text, where the same number means the same sample."""

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches without end, from the first one that no training step has consumed."""
        stream = _Stream(self.maker(), self.batch_size, self._rank, self._ranks)
        return _StreamLoader(stream, self._consumed, self.num_workers, self._wait)

    def validated(self, make: Callable[[list[int]], Any], samples: int) -> DataLoader[Any]:
        """Batches of the first samples, the same every time; Lightning shares them out.

        Args:
            make: makes a batch of the samples with these numbers; goes to the workers.
            samples: how many there are.
        """
        numbers: Any = range(samples)
        return DataLoader(
            numbers,
            self.batch_size,
            num_workers=self.num_workers,
            collate_fn=make,
            worker_init_fn=serve_loader,
            multiprocessing_context=_loader_context(self.num_workers),
        )

    def state_dict(self) -> dict[str, Any]:
        """How many samples all processes together have trained on, and of which data."""
        samples = self._consumed()
        return {"batches": samples // self._at_once, "samples": samples, "data": self._told()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the samples of a checkpoint."""
        self._resume = dict(state_dict)

    def _wait(self, seconds: float) -> None:
        self.waited += seconds

    def _consumed(self) -> int:
        """Samples that training has finished with; what workers hold ready does not count."""
        processed = 0
        if self.trainer is not None:
            progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress
            processed = progress.total.processed
        if self._resume is not None:
            then = self._resume
            samples = int(then.get("samples", int(then["batches"]) * self._at_once))
            self._offset = samples - processed * self._at_once
            # Runs of old told the size of their batches as well.
            alike = self._told() if "samples" in then else self._told(self.batch_size, self._ranks)
            if then["data"] != alike:
                warnings.warn(
                    "the data or the way they are sampled have changed since the checkpoint; the "
                    "run goes on, with other samples than it would have seen",
                    stacklevel=2,
                )
            self._resume = None
        return processed * self._at_once + self._offset

    def _told(self, *more: int) -> str:
        content = (self.identity(), *more) if more else self.identity()
        return hashlib.sha256(repr(content).encode()).hexdigest()

    @property
    def _at_once(self) -> int:
        """Samples in a batch of all processes."""
        return self.batch_size * self._ranks

    @property
    def _rank(self) -> int:
        return int(self._sampling.get("rank", 0))

    @property
    def _ranks(self) -> int:
        return int(self._sampling.get("num_replicas", 1))

    @property
    def _sampling(self) -> dict[str, Any]:
        """Which of how many batches at once this process has; some processes may share one."""
        strategy = None if self.trainer is None else self.trainer.strategy
        return getattr(strategy, "distributed_sampler_kwargs", {})


class _Stream(IterableDataset[Any]):
    """Whole batches from sample `first` on; each worker makes every `num_workers`-th of them."""

    def __init__(
        self, make: Callable[[list[int]], Any], batch_size: int, rank: int, ranks: int
    ) -> None:
        self.make, self.batch_size, self.rank, self.ranks = make, batch_size, rank, ranks
        self.first = 0

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        offset, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for batch in count(offset, step):
            number = self.first + (batch * self.ranks + self.rank) * self.batch_size
            yield self.make([number + j for j in range(self.batch_size)])


class _StreamLoader(DataLoader[Any]):
    """Starts at the sample that is due when it is asked to, not when it is made."""

    def __init__(
        self,
        stream: _Stream,
        due: Callable[[], int],
        num_workers: int,
        wait: Callable[[float], None],
    ) -> None:
        super().__init__(
            stream,
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=serve_loader,
            multiprocessing_context=_loader_context(num_workers),
        )
        self.stream, self.due, self.wait = stream, due, wait

    def __iter__(self) -> Any:
        self.stream.first = self.due()
        return self._timed(super().__iter__())

    def _timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            began = time.perf_counter()
            batch = next(batches)  # there is always another
            self.wait(time.perf_counter() - began)
            yield batch


def serve_loader(*_: object) -> None:
    """Begin a `DataLoader`'s worker: `end_with_parent`; its first request to end is not its own.

    A terminal and a scheduler ask the whole group. The parent still needs the worker to come to a
    point where nothing is lost; it ends the worker itself, and a second request does so too.
    """
    end_with_parent()

    def hear(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, hear)


def _loader_context(num_workers: int) -> str | None:
    """How a `DataLoader` begins its workers: as Python does, but for a job of a sweep.

    There, joblib's own way is set, by which no worker can be begun.

    Args:
        num_workers: of the loader; one without workers takes no context.
    """
    of_joblib = multiprocessing.get_start_method(allow_none=True) == "loky"
    return "fork" if num_workers and of_joblib else None
