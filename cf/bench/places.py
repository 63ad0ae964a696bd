"""Where a benchmark's videos are made and measured: devices and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cf.models.compiled import check_compile
from cf.runs.outline import device_of
from cf.settings.build import Settings


@dataclass(frozen=True)
class Places:
    """Where videos are made.

    Attributes:
        devices: one for each process, in turn.
        workers: processes; 0: none, all is done in this one.
        apart: each of them has a process beside it that measures what it makes.
    """

    devices: Sequence[str]
    workers: int
    apart: bool

    @classmethod
    def of(cls, settings: Settings) -> Places:
        """The places that the settings of `cf.benchmark` ask for, or else what is there.

        Raises:
            ValueError: blocks cannot be compiled on one of them.
        """
        devices = _devices(settings["devices"])
        for device in devices:
            check_compile(settings.get("compile", "none"), torch.device(device_of(device)))
        setting: bool | None = settings["metrics_apart"]
        apart = devices[0].startswith("cuda") if setting is None else setting
        return cls(devices, worker_count(settings["workers"], devices), apart)


def _devices(setting: str | Sequence[str]) -> list[str]:
    if setting != "auto":
        return [setting] if isinstance(setting, str) else list(setting)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{i}" for i in range(count)] or ["cpu"]


def worker_count(asked: int | None, devices: Sequence[str]) -> int:
    """Processes: as asked, or one for each GPU; on the CPU two.

    Args:
        asked: the setting `workers`.
        devices: on which they work.
    """
    if asked is not None:
        return asked
    gpus = [device for device in devices if device.startswith("cuda")]
    return len(gpus) or 2


def set_up(device: str) -> None:
    """Make this process compute as every other one of a benchmark on such a device."""
    if device == "cpu":  # sums differ with the number of threads
        torch.set_num_threads(1)
    elif device.startswith("cuda:"):  # a metric's device `cuda` is then that of this process
        torch.cuda.set_device(device)
