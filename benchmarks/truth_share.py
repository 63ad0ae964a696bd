"""Which share of a benchmark's time the measures against the engine's picture take."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

import cf.bench.runner as runner
from cf.bench.contest import run_benchmark
from cf.metrics.base import VideoMetric
from cf.metrics.truth.choice import ForcedChoice
from cf.metrics.truth.pose import PoseObedience
from cf.metrics.truth.revisit import PoseRevisit
from cf.paths import CONFIG_DIR
from cf.settings.build import to_settings

_TICK = os.sysconf("SC_CLK_TCK")


class Timer:
    """Processor seconds of this process and its engine, spent in functions it is wrapped around."""

    def __init__(self) -> None:
        self.spent = 0.0

    def around(self, call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        """The same function, timed where `counts` is true of its arguments."""

        def timed(*args: Any, **named: Any) -> Any:
            if not counts(*args):
                return call(*args, **named)
            began = processor_seconds()
            try:
                return call(*args, **named)
            finally:
                self.spent += processor_seconds() - began

        return timed


def share(given: list[str], seconds: float, videos: int) -> tuple[float, float]:
    """Processor seconds of truth measures, and of making and measuring all videos.

    The benchmark is suite=recall world=doom in one process, which ends with all that 64 videos
    need, too; only what grows with their number is counted, so that few of them tell the share.
    """
    asked = ["suite=recall", "world=doom", "workers=0", "shown=0", "report=false"]
    asked += [f"asked.worlds={videos}", f"durations=[{seconds:g}]", *given]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        settings = to_settings(compose("benchmark", asked))
    truth, whole = Timer(), Timer()
    kinds = (ForcedChoice, PoseObedience, PoseRevisit)
    update, job = VideoMetric.update, runner.run_job
    VideoMetric.update = truth.around(update, lambda metric, *_: isinstance(metric, kinds))
    runner.run_job = whole.around(job, lambda *_: True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run_benchmark(settings, Path(folder))
    finally:
        VideoMetric.update, runner.run_job = update, job  # type: ignore[method-assign]
    return truth.spent, whole.spent


def processor_seconds() -> float:
    """Of this process, and of all that it has started and that still run."""
    return time.process_time() + sum(map(_spent, _descendants(os.getpid())))


def _descendants(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except OSError:  # it has ended
            continue
        for child in map(int, children):
            found += [child, *_descendants(child)]
    return found


def _spent(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def main() -> None:
    """Print both, and the share; further settings of the benchmark may be given."""
    truth, whole = share(sys.argv[1:], seconds=60.0, videos=1)
    sys.stdout.write(
        f"measures against the engine's picture: {truth:.1f} of {whole:.1f} processor seconds, "
        f"{truth / whole:.0%}\n"
    )


if __name__ == "__main__":
    main()
