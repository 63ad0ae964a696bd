"""Where a benchmark's videos are made: devices and processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cf.settings.build import Settings


def devices(settings: Settings) -> list[str]:
    """The device of each process, in turn."""
    chosen = settings["devices"]
    if chosen != "auto":
        return [chosen] if isinstance(chosen, str) else list(chosen)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{i}" for i in range(count)] or ["cpu"]


def worker_count(asked: int | None, places: Sequence[str]) -> int:
    """Processes: as asked, or one for each GPU; on the CPU two.

    Args:
        asked: the setting `workers`.
        places: the devices.
    """
    if asked is not None:
        return asked
    gpus = [place for place in places if place.startswith("cuda")]
    return len(gpus) or 2


def apart(settings: Settings) -> bool:
    """Whether metrics have processes of their own: as asked, or where networks run on GPUs."""
    asked: bool | None = settings["metrics_apart"]
    return devices(settings)[0].startswith("cuda") if asked is None else asked
