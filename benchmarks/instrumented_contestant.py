"""A contestant that is weighed and timed while it takes part in the benchmark."""

from __future__ import annotations

import gc
import json
import math
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from stream_timer import _processor, _rss
from table import Row
from torch import Tensor

from cf.bench.contestants.base import Contestant, Piece
from cf.bench.job import run_job
from cf.bench.measures import restored
from cf.bench.store import Job, Store
from cf.bench.tasks.base import Request, VideoSpec
from cf.models.allocated import Allocated
from cf.settings.build import Settings, build

_STATM = Path("/proc/self/statm")
_YARDS = 8


@dataclass(frozen=True)
class Probed(Contestant):
    """Another contestant, of which readings are taken at the ends of some blocks.

    What happens between two of its blocks, metrics and all, happens while it waits, so that it
    sees everything that a block of a benchmark costs.

    Attributes:
        of: settings of the other one.
        probes: numbers of these blocks, from 1, rising.
        window: blocks up to each of them that are timed.
        weighed: blocks before those during which live tensors are counted, which takes time.
        notes: file to which each reading is added, a line of JSON.
    """

    of: Settings = field(default_factory=dict)
    probes: Sequence[int] = ()
    window: int = 512
    weighed: int = 256
    notes: str = ""

    def __post_init__(self) -> None:
        gaps = [b - a for a, b in zip((0, *self.probes), self.probes, strict=False)]
        if (
            not gaps
            or min(gaps) <= self.window + self.weighed
            or min(self.window, self.weighed) < 1
        ):
            raise ValueError(
                f"probes={list(self.probes)} must be farther apart than window={self.window} and "
                f"weighed={self.weighed} together, both at least 1"
            )

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """As the other."""
        return self._other().terms(asked)

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """The other's pieces; the first is what was given."""
        playing = self._other().play(take, device)
        yield next(playing)
        made: deque[float] = deque(maxlen=self.window)
        measured: deque[float] = deque(maxlen=self.window)
        yards: deque[float] = deque(maxlen=_YARDS)
        with ExitStack() as weighing:
            for block in count(1):
                left = min((p for p in self.probes if p >= block), default=math.inf) - block
                if left == self.window + self.weighed:
                    live = weighing.enter_context(Allocated("cpu", tensors()))
                if left == self.window:
                    weighing.close()
                if left < self.window and left % max(self.window // _YARDS, 1) == 0:
                    yards.append(yard())
                began = time.process_time()
                piece = next(playing)
                made.append(time.process_time() - began)
                if left == 0:
                    self._note(block, live, made, measured, yards)
                began = time.process_time()
                yield piece
                measured.append(time.process_time() - began)

    def _other(self) -> Contestant:
        made: Contestant = build(self.of, "of")
        return made

    def _note(self, block: int, live: Allocated, *taken: deque[float]) -> None:
        seconds = {
            name: math.fsum(each) / len(each)
            for name, each in zip(("made", "measured", "yard"), taken, strict=True)
        }
        reading: dict[str, Any] = {
            "block": block,
            "processor_seconds": {name: round(value, 7) for name, value in seconds.items()},
            "live_bytes": sum(storages(tensors()).values()),
            "peak_live_bytes": live.peak,
            "resident_bytes": resident(),
            "peak_resident_bytes": _rss(),
        }
        with Path(self.notes).open("a") as file:
            file.write(json.dumps(reading) + "\n")


def tensors() -> list[Tensor]:
    """All that Python holds."""
    gc.collect()
    return [one for one in gc.get_objects() if issubclass(type(one), Tensor)]


def storages(held: Sequence[Tensor]) -> dict[int, int]:
    """Bytes of each storage, which several tensors may share."""
    return {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in held}


def resident() -> int | None:
    """Bytes of main memory that the process has now; None where the system does not tell."""
    if not _STATM.exists():
        return None
    return int(_STATM.read_text().split()[1]) * 4096


def yard() -> float:
    """Processor seconds of work that is always the same: how fast the machine is just now."""
    x = torch.linspace(-1, 1, 96 * 96).view(96, 96)
    began = time.process_time()
    for _ in range(100):
        x = torch.nn.functional.gelu(x @ x).softmax(-1)
    return time.process_time() - began


def observe(settings: Settings) -> Row:
    """One rollout as a job of the benchmark, and what its metrics' states hold at the end."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        notes, store = Path(folder) / "notes.jsonl", Store(Path(folder))
        job = _job(settings, str(notes))
        began, before = time.perf_counter(), resident()
        status = run_job(job, store, "cpu", {})
        if status != "done":
            row = store.row(job) or {}
            raise ValueError(f"the rollout ended as {status}: {row.get('reason')}")
        return {
            "device": _processor(),
            "torch": torch.__version__,
            "frames": round(job.durations[0] * job.terms.fps),
            "fps": job.terms.fps,
            "seconds": round(time.perf_counter() - began, 1),
            "resident_bytes_before": before,
            "readings": [json.loads(line) for line in notes.read_text().splitlines()],
            **_read(job, store),
        }


def _job(settings: Settings, notes: str) -> Job:
    asked = build(settings["asked"], "asked")
    how = {name: settings[name] for name in ("probes", "window", "weighed")}
    target = {
        "_target_": "instrumented_contestant.Probed",
        "_recursive_": False,
        "of": settings["contestant"],
        "notes": notes,
        **how,
    }
    contestant = Probed(of=settings["contestant"], **how)
    terms = contestant.terms(asked.terms())
    assert terms.block_frames is not None
    frames = (
        asked.given_frames(asked.items()[0], terms.fps)
        + settings["probes"][-1] * terms.block_frames
    )
    return Job(
        contestant="instrumented",
        settings=target,
        fingerprint="",
        asked=settings["asked"],
        item=asked.items()[0],
        terms=terms,
        durations=(frames / terms.fps,),
        metrics=settings["metrics"],
        chunk_frames=settings["chunk_frames"],
    )


def _read(job: Job, store: Store) -> Row:
    """What the states hold, and what it takes to make values of them."""
    states = store.states(job)[job.durations[0]]
    before, began = _rss(), time.process_time()
    metrics = restored(job.metrics, [job.item], [states])
    held = {
        name: sum(states[state].nbytes for state in metric.metric_state)
        for name, metric in metrics.items()
    }
    values = {name: round(metric.result().value, 5) for name, metric in metrics.items()}
    return {
        "states_bytes": sum(one.nbytes for one in states.values()),
        "states_bytes_of": held,
        "values": {name: value if value == value else None for name, value in values.items()},
        "read_processor_seconds": round(time.process_time() - began, 3),
        "read_peak_resident_bytes": [before, _rss()],
    }
