"""What a sweep of one's own (`-m seed=1,2,3`) says: which run begins, and of how many."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cf.runs.watching import watched

log = logging.getLogger("cf.fit")


class SweepProgress(Callback):
    """Hydra tells it when runs begin and end; it is handed to processes that run them.

    Runs one after the other are told as each begins, with the time that the others may take. Runs
    side by side are watched together. A sweep in stages (`sweep=`) tells this by itself.
    """

    def __init__(self) -> None:
        self._count, self._done, self._began = 0, 0, 0.0
        self._watching = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        """For a process beside: it knows how many there are, and watches nothing."""
        return {**self.__dict__, "_watching": ExitStack()}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the runs; other sweepers than Hydra's own find values as they go."""
        choices = config.hydra.runtime.choices
        if choices["hydra/sweeper"] != "basic":
            return
        self._count, self._began = count_runs(config.hydra.overrides.task), time.monotonic()
        if choices["hydra/launcher"] != "basic":
            folder = Path(config.hydra.sweep.dir)
            self._watching.enter_context(watched(folder, "runs", self._count))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Say which run begins."""
        if not self._count:
            return
        number, estimate = config.hydra.job.num + 1, ""
        if self._done:
            gone = time.monotonic() - self._began
            to_go = gone / self._done * (self._count - self._done)
            estimate = f", {gone / 60:.0f} min gone, some {to_go / 60:.0f} to go"
        log.info("run %d of %d%s", number, self._count, estimate)

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Count those that are done in this process."""
        self._done += 1

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Nothing is left to watch."""
        self._watching.close()


def count_runs(overrides: Sequence[str]) -> int:
    """How many runs settings with several values make.

    Args:
        overrides: as typed: `seed=1,2,3`.
    """
    parsed = OverridesParser.create().parse_overrides([*overrides])
    several = [override for override in parsed if override.is_sweep_override()]
    return math.prod(len([*override.sweep_string_iterator()]) for override in several)
