"""Hours of video through the benchmark itself: what grows with them."""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from probed import Probed, resident
from subject import _processor, _rss
from table import Row, markdown
from throughput import CONFIG_DIR, HERE, _git

from cf.bench.job import Job, load_states, work
from cf.bench.measures import restored
from cf.bench.store import Store
from cf.entry import Settings, build, plain, told

PAGE = """# What grows with a long video

Generated: the tables of the last run of

```
{command}
```

on {device}, one thread, torch {torch}, commit {commit}, {date}; rows in `long.jsonl`, what is
measured in ../README.md. {blocks} blocks, {frames} frames, {hours:.2f} h of video at {fps:g} frames
per second, made by an untrained network on a drawn world and measured by {metrics} metrics.
"""


@hydra.main(version_base="1.3", config_path=str(HERE), config_name="long")
def main(cfg: DictConfig) -> None:
    """Measure, append the rows, write the page."""
    with told("benchmarks/long.py"):
        folder = HERE / "results" if cfg.folder is None else Path(cfg.folder)
        rows = [row | _about(plain(cfg)) for row in measure(cfg)]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "long.jsonl").open("a") as file:
            file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
        given = [one for one in HydraConfig.get().overrides.task if not one.startswith("folder=")]
        text = page(rows, ["python", "benchmarks/long.py", *given])
        (folder / "long.md").write_text(text)
        sys.stdout.write("\n" + text)


def measure(cfg: DictConfig) -> list[Row]:
    """A row for each memory."""
    rows = []
    for name in cfg.memories:
        memory = OmegaConf.load(Path(CONFIG_DIR) / "memory" / f"{name}.yaml")
        memory = OmegaConf.merge(memory, cfg.memory_settings.get(name) or {})
        settings = plain(cfg)
        settings["contestant"]["memory"] = OmegaConf.to_container(memory, resolve=True)
        rows.append({"memory": name} | alone(settings))
    return rows


def alone(settings: Settings) -> Row:
    """`observe` in a process of its own, so that peaks are its own too."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(observe, settings).result()


def observe(settings: Settings) -> Row:
    """One rollout as a job of the benchmark, and what its metrics' states hold at the end."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        notes, store = Path(folder) / "notes.jsonl", Store(Path(folder))
        job = _job(settings, str(notes))
        began, before = time.perf_counter(), resident()
        status = work(job, store, "cpu", {})
        if status != "done":
            row = store.row(job.contestant, job.item.key) or {}
            raise ValueError(f"the rollout ended as {status}: {row.get('reason')}")
        return {
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
        "_target_": "probed.Probed",
        "_recursive_": False,
        "of": settings["contestant"],
        "notes": notes,
        **how,
    }
    contestant = Probed(of=settings["contestant"], **how)
    terms = contestant.terms(asked.terms())
    assert terms.block_frames is not None
    frames = asked.given_frames(terms.fps) + settings["probes"][-1] * terms.block_frames
    return Job(
        contestant="probed",
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
    states = load_states(store.job(job.contestant, job.item.key))[job.durations[0]]
    before, began = _rss(), time.process_time()
    metrics = restored(job.metrics, [states])
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
        "device": _processor(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "config": {name: value for name, value in settings.items() if name != "folder"},
    }


if __name__ == "__main__":
    sys.argv.insert(1, f'hydra.searchpath=["file://{CONFIG_DIR}"]')  # the groups
    main()
