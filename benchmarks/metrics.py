"""How fast the metrics are, alone and together, and what an hour of video takes of memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from stream_timer import _processor
from table import Row, markdown, shown, spread
from throughput import CONFIG_DIR, HERE, _git
from torch import Tensor

from cf.metrics.base import VideoMetric, together
from cf.metrics.extractors.base import Extractor
from cf.settings.build import Settings, build, to_settings
from cf.settings.command_line import command

PAGE = """# What measuring costs

Generated: the tables of the last run of

```
{command}
```

on {device}, one thread, torch {torch}, commit {commit}, {date}; rows in `metrics.jsonl`.
A video of {seconds:g} s at {fps:g} frames per second, {height} x {width} pixels, in pieces of
{piece} frames. Ratios are to VBench's formula of subject consistency, frame by frame on the same
extractor, in the same rounds: median (least to greatest); above 1 is slower. Metrics that look at
the same thing share it, so all of them together take less than their sum.
"""


@command("metrics", str(HERE), "benchmarks/metrics.py")
def main(cfg: DictConfig) -> None:
    """Measure, append the rows, write the page."""
    torch.set_num_threads(1)
    settings = to_settings(cfg)
    folder = HERE / "results" if cfg.folder is None else Path(cfg.folder)
    rows = [*speeds(settings), *([] if cfg.hours is None else [hour(settings)])]
    about = _about(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({**row, **about}) + "\n" for row in rows)
    given = [one for one in HydraConfig.get().overrides.task if not one.startswith("folder=")]
    text = page(rows, about, settings, ["python", "benchmarks/metrics.py", *given])
    (folder / "metrics.md").write_text(text)
    sys.stdout.write("\n" + text)


def made(settings: Settings) -> dict[str, VideoMetric]:
    """The metrics, each anew."""
    return {name: build(one, f"metrics.{name}") for name, one in settings["metrics"].items()}


def speeds(settings: Settings) -> list[Row]:
    """Seconds of every metric on the same video, round by round."""
    frames = torch.cat(list(_drawn(settings, settings["seconds"])))
    extractor: Extractor = build(settings["extractor"], "extractor")
    contestants: dict[str, Callable[[], Any]] = {
        "vbench formula": lambda: vbench(frames, extractor),
        "all together": lambda: _updated(settings, None, frames),
        **{name: lambda name=name: _updated(settings, name, frames) for name in made(settings)},
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(settings["repeats"]):
        for name, run in contestants.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return [
        {"what": "speed", "metric": name, "frames": len(frames), "rounds": taken}
        for name, taken in seconds.items()
    ]


def vbench(frames: Tensor, extractor: Extractor) -> float:
    """VBench's subject consistency as it loops over frames (Huang et al. 2024)."""
    first = previous = None
    total = 0.0
    for frame in frames:
        feature = torch.nn.functional.normalize(extractor(frame[None].float() / 255), dim=-1)
        if first is None or previous is None:
            first = feature
        else:
            cosines = [float((feature * other).sum().clamp(min=0)) for other in (previous, first)]
            total += sum(cosines) / 2
        previous = feature
    return total / (len(frames) - 1)


def hour(settings: Settings) -> Row:
    """The most memory that a process takes while all metrics see one long video."""
    before = _peak()
    metrics, at = list(made(settings).values()), 0
    collection = together(metrics)
    seconds = settings["hours"] * 3600
    began = time.perf_counter()
    for piece in _drawn(settings | {"size": settings["hour_size"]}, seconds):
        collection.update(piece, 0, at, fps=settings["fps"])
        at += len(piece)
    collection.compute()
    return {
        "what": "memory",
        "hours": settings["hours"],
        "frames": at,
        "seconds": time.perf_counter() - began,
        "resident_bytes_before": before,
        "resident_bytes": _peak(),
    }


def _updated(settings: Settings, name: str | None, frames: Tensor) -> None:
    metrics = made(settings)
    chosen = list(metrics.values()) if name is None else [metrics[name]]
    collection = together(chosen)
    for at in range(0, len(frames), settings["piece_frames"]):
        piece = frames[at : at + settings["piece_frames"]]
        collection.update(piece, 0, at, fps=settings["fps"])
    collection.compute()


def _drawn(settings: Settings, seconds: float) -> Iterator[Tensor]:
    """A texture that drifts for ever, as bytes, piece by piece."""
    height, width = settings["size"]
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 8, width // 4, generator=random)
    wide = torch.nn.functional.interpolate(coarse, (height, 2 * width), mode="bicubic")
    ground = (wide[0].clamp(0, 1) * 255).byte()
    total, size = round(seconds * settings["fps"]), settings["piece_frames"]
    for at in range(0, total, size):
        frames = range(at, min(at + size, total))
        yield torch.stack([ground.roll(-2 * i, -1)[..., :width] for i in frames])


def page(rows: list[Row], about: Row, settings: Settings, command: list[str]) -> str:
    """The tables of one run, as markdown."""
    height, width = settings["size"]
    text = PAGE.format(
        command=" ".join(command),
        seconds=settings["seconds"],
        fps=settings["fps"],
        height=height,
        width=width,
        piece=settings["piece_frames"],
        **about,
    )
    timed = [row for row in rows if row["what"] == "speed"]
    cells = []
    for row in timed:
        against = [
            mine / base for mine, base in zip(row["rounds"], timed[0]["rounds"], strict=True)
        ]
        rate = row["frames"] / spread(row["rounds"])["median"]
        cells.append([row["metric"], shown(spread(against)), f"{rate:.0f}"])
    lines = [text, *markdown(["time / vbench formula", "frames/s"], cells, "metric")]
    for row in rows:
        if row["what"] == "memory":
            sizes = [row[key] / 2**30 for key in ("resident_bytes", "resident_bytes_before")]
            lines.append(
                f"\n{row['hours']:g} h of such video at {settings['hour_size'][0]} x "
                f"{settings['hour_size'][1]} pixels ({row['frames']} frames), all metrics at once: "
                f"at most {sizes[0]:.2f} GiB resident, {sizes[1]:.2f} of them before the "
                f"first frame.\n"
            )
    return "\n".join(lines)


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _about(settings: Settings) -> Row:
    return {
        "commit": str(_git("rev-parse", "HEAD"))[:12],
        "device": _processor(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "config": {k: v for k, v in settings.items() if k != "folder"},
    }


SEARCH = f'hydra.searchpath=["file://{CONFIG_DIR}"]'
"""Where the groups of configs/ are."""

if __name__ == "__main__":
    main()
