"""What metrics in a process of their own save a benchmark, as a ratio.

    python benchmarks/metrics_apart.py --size 480 832

A contestant rests for as long as a GPU would denoise a block, without processor time. Its frames
are drawn beforehand. The same videos are measured in one process and with
`metrics_apart=true`, in turns. A row is a pace: seconds of a block over seconds of its metrics.
Then what a video takes apart, as a share of what it takes together, by the clock; the least that
this can be, which is the longer of both parts over their sum; the same share by the processor time
of the process that generates, which other work on the machine changes little; and whether hashes
and states are the same bits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median

import torch
from hydra import compose, initialize_config_dir

from cf.bench.contest import prepare_contest
from cf.bench.contestants.base import Contestant, Piece
from cf.bench.job import run_job
from cf.bench.metric_process import MetricProcess
from cf.bench.store import Job, Store
from cf.bench.tasks.base import Request, VideoSpec
from cf.paths import CONFIG_DIR
from cf.settings.build import to_settings

FPS, BLOCK = 16.0, 12
PACES = (0.5, 1.0, 2.0)
"""Seconds of a block over seconds of its metrics."""


@cache
def drawn(height: int, width: int) -> Piece:
    """Frames of a block."""
    return torch.rand(BLOCK, 3, height, width, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Resting(Contestant):
    """Yields a block after it has rested for as long as a GPU denoises one.

    Attributes:
        rest: seconds.
        size: height and width.
    """

    rest: float = 0.0
    size: Sequence[int] = (32, 32)

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """Its own."""
        return VideoSpec(FPS, (self.size[0], self.size[1]), BLOCK)

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """The same frames again and again, each block somewhat darker."""
        block = drawn(*take.terms.size)
        while True:
            time.sleep(self.rest)
            block = 0.99 * block
            yield block


def job_of(size: Sequence[int], blocks: int, metrics: str, folder: Path) -> Job:
    """The job of one video."""
    listed = folder / "prompts.txt"
    listed.write_text("a\n")
    given = ["suite=moviegen", f"asked.file='{listed}'", "contestants=none", f"metrics={metrics}"]
    given += [f"durations=[{blocks * BLOCK / FPS}]", f"chunk_frames={BLOCK}"]
    given += [f"+contestants.resting={{_target_:metrics_apart.Resting,size:[{size[0]},{size[1]}]}}"]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        settings = to_settings(compose("benchmark", given))
    settings["contestants"]["resting"]["_recursive_"] = False
    (job,) = prepare_contest(settings).jobs
    return job


def seconds_of(job: Job, folder: Path, apart: bool) -> tuple[float, float]:
    """Seconds of a job in an empty store: by the clock, and of this process's processor time."""
    began, spent = time.perf_counter(), time.process_time()
    status = run_job(job, Store(folder), "cpu", {}, apart=apart)
    if status != "done":
        raise ValueError(f"the video ended as {status}")
    return time.perf_counter() - began, time.process_time() - spent


def same(job: Job, one: Path, other: Path) -> bool:
    """Whether two stores hold the same bits of a job."""
    rows = [Store(x).row(job) or {} for x in (one, other)]
    hashes = [[x["frames_sha256"] for x in row["durations"].values()] for row in rows]
    mine, theirs = (next(iter(Store(x).states(job).values())) for x in (one, other))
    return hashes[0] == hashes[1] and all(torch.equal(mine[name], theirs[name]) for name in mine)


def compared(job: Job, rest: float, rounds: int) -> tuple[float, float, bool]:
    """Clock and processor apart over together, and whether the bits are the same."""
    job = replace(job, settings={**job.settings, "rest": rest})
    clock, processor, alike = [], [], True
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            serial = seconds_of(job, Path(one), apart=False)
            apart = seconds_of(job, Path(other), apart=True)
            clock.append(apart[0] / serial[0])
            processor.append(apart[1] / serial[1])
            alike = alike and same(job, Path(one), Path(other))
    return median(clock), median(processor), alike


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, nargs=2, default=(240, 416), help="height and width")
    parser.add_argument("--blocks", type=int, default=8, help="of a video")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is shown")
    parser.add_argument("--metrics", default="quick", help="an option of the group metrics")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(given.size, given.blocks, given.metrics, Path(folder))
        for number, apart in enumerate((True, False, False)):  # imports, and the process's start
            measured = seconds_of(job, Path(folder) / str(number), apart)[0] / given.blocks
        sys.stdout.write(
            f"{given.size[0]} x {given.size[1]}, metrics={given.metrics}: {measured:.2f} s for the "
            f"metrics of a block of {BLOCK} frames\n\n"
            "| pace | clock | least | processor | same bits |\n|---|---|---|---|---|\n"
        )
        for pace in PACES:
            clock, processor, alike = compared(job, pace * measured, given.rounds)
            least = max(pace, 1) / (pace + 1)
            row = f"| {pace:g} | {clock:.2f} | {least:.2f} | {processor:.2f} | {alike} |"
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
    MetricProcess.end()


if __name__ == "__main__":
    main()
