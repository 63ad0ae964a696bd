"""Hours of video through the benchmark itself: what grows with them."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from table import Row, markdown
from throughput import CONFIG_DIR, HERE, _git

from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command

PAGE = """# What grows with a long video

Generated: the tables of the last run of

```
{command}
```

on {device}, one thread, torch {torch}, commit {commit}, {date}; rows in `long.jsonl`, what is
measured in ../README.md. {blocks} blocks, {frames} frames, {hours:.2f} h of video at {fps:g} frames
per second, made by an untrained network on a drawn world and measured by {metrics} metrics.
"""


@command("long", str(HERE), "benchmarks/long.py")
def main(cfg: DictConfig) -> None:
    """Measure, append the rows, write the page."""
    folder = HERE / "results" if cfg.folder is None else Path(cfg.folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in measure(cfg):
        rows.append(row | _about(to_settings(cfg)))
        with (folder / "long.jsonl").open("a") as file:
            file.write(json.dumps(rows[-1], separators=(",", ":")) + "\n")
    given = [one for one in HydraConfig.get().overrides.task if not one.startswith("folder=")]
    text = page(rows, ["python", "benchmarks/long.py", *given])
    (folder / "long.md").write_text(text)
    sys.stdout.write("\n" + text)


def measure(cfg: DictConfig) -> Iterator[Row]:
    """A row for each memory, once it is done."""
    for name in cfg.memories:
        memory = OmegaConf.load(Path(CONFIG_DIR) / "memory" / f"{name}.yaml")
        memory = OmegaConf.merge(memory, cfg.memory_settings.get(name) or {})
        settings = to_settings(cfg)
        settings["contestant"]["memory"] = OmegaConf.to_container(memory, resolve=True)
        yield {"memory": name} | alone(settings)


def alone(settings: Settings) -> Row:
    """`instrumented_contestant.observe` in a process of its own, so that peaks are its own too."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_observed, settings).result()


def _observed(settings: Settings) -> Row:
    from instrumented_contestant import observe

    return observe(settings)


def page(rows: list[Row], command: list[str]) -> str:
    """The tables of one run, as markdown."""
    first, last = rows[0], rows[0]["readings"][-1]["block"]
    hours = first["frames"] / first["fps"] / 3600
    count = len(first["values"])
    told = {**first, "blocks": last, "hours": hours, "metrics": count}
    text = PAGE.format(command=" ".join(command), **told)
    return "\n".join([text, *_costs(rows), *_weights(rows), *_states(rows)])


def _costs(rows: list[Row]) -> list[str]:
    cells = []
    for row in rows:
        late = row["readings"][-1]
        for early in row["readings"][:-1]:
            ratio = {name: _ratio(late, early, name) for name in ("made", "measured", "yard")}
            both = _ratio(late, early, "made", "measured")
            shown = (both, both / ratio["yard"], *ratio.values())
            compared = f"{late['block']} / {early['block']}"
            cells.append([row["memory"], compared, *(f"{one:.3f}" for one in shown)])
    head = ["blocks", "all", "all, by the yard", "making it", "measuring it", "the yard"]
    return ["## Processor time of a block, late against early", "", *markdown(head, cells)]


def _ratio(late: Row, early: Row, *names: str) -> float:
    mine, base = (sum(one["processor_seconds"][name] for name in names) for one in (late, early))
    return float(mine / base)


def _weights(rows: list[Row]) -> list[str]:
    keys = ("live_bytes", "peak_live_bytes", "resident_bytes", "peak_resident_bytes")
    cells = []
    for row in rows:
        for reading in row["readings"]:
            sizes = [_mib(reading[key]) for key in keys]
            cells.append([row["memory"], str(reading["block"]), *sizes])
    head = ["block", "live tensors", "at most", "resident", "at most so far"]
    return ["## Memory at a block, MiB", "", *markdown(head, cells)]


def _states(rows: list[Row]) -> list[str]:
    cells = []
    for row in rows:
        before, after = row["read_peak_resident_bytes"]
        states = row["states_bytes"]
        each = f"{states / row['frames']:.0f}"
        cells.append([row["memory"], _mib(states), each, _grown(row), _mib(before), _mib(after)])
    head = ["states, MiB", "bytes per frame", "all live tensors grew by"]
    head += ["resident at most, MiB", "after reading them, MiB"]
    largest = sorted(rows[0]["states_bytes_of"].items(), key=lambda one: -one[1])
    lines = ["## States of the metrics at the end", "", *markdown(head, cells)]
    shown = [[name, _mib(size), f"{size / rows[0]['frames']:.0f}"] for name, size in largest]
    return [*lines, *markdown(["MiB", "bytes per frame"], shown, "metric")]


def _grown(row: Row) -> str:
    """Bytes of live tensors per frame between the first reading and the last."""
    early, late = row["readings"][0], row["readings"][-1]
    frames = row["frames"] * (late["block"] - early["block"]) / late["block"]
    return f"{(late['live_bytes'] - early['live_bytes']) / frames:.0f}"


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.2f}"


def _about(settings: Settings) -> dict[str, Any]:
    return {
        "commit": str(_git("rev-parse", "HEAD"))[:12],
        "date": time.strftime("%Y-%m-%d"),
        "config": {name: value for name, value in settings.items() if name != "folder"},
    }


if __name__ == "__main__":
    main()
