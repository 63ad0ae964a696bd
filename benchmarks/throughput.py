"""What each memory costs: time per block and per training step, frames per second, peak memory."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from table import Row, compared, report, spread

from cf.paths import CONFIG_DIR
from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command

HERE = Path(__file__).resolve().parent
Task = tuple[str, Any]
"""("block", its number from 1) or ("train_step", "forcing" or "rollout")."""


@command("throughput", str(HERE), "benchmarks/throughput.py")
def main(cfg: DictConfig) -> None:
    """Measure, append the rows, write the table."""
    folder = HERE / "results" if cfg.folder is None else Path(cfg.folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = compared(measure(cfg))
    with (folder / "throughput.jsonl").open("a") as file:
        file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    given = [one for one in HydraConfig.get().overrides.task if not one.startswith("folder=")]
    table = report(rows, ["python", "benchmarks/throughput.py", *given])
    (folder / "throughput.md").write_text(table)
    sys.stdout.write("\n" + table)


def measure(cfg: DictConfig) -> list[Row]:
    """One row for each task and memory."""
    configs = {name: _settings(cfg, name) for name in memories(cfg)}
    tasks: list[Task] = [("block", block) for block in _blocks(cfg)]
    if cfg.train is not None:
        tasks += [("train_step", "forcing"), ("train_step", "rollout")]
    about = _about(cfg)
    measured: dict[tuple[str, Task], Row] = {}
    for group in [list(configs)] if cfg.interleave else [[name] for name in configs]:
        with ExitStack() as stack:
            team = {name: stack.enter_context(Worker.started(configs[name])) for name in group}
            measured |= _race(team, tasks, cfg.repeats)
    rows = []
    for task in tasks:
        what, which = task
        key = "block" if what == "block" else "objective"
        for name, settings in configs.items():
            head = {"what": what, "memory": name, key: which}
            config = {"config": _config(what, settings)}
            rows.append(head | _speed(measured[name, task], settings) | about | config)
    return rows


def _race(team: dict[str, Worker], tasks: list[Task], repeats: int) -> dict[tuple[str, Task], Row]:
    """What each of a team needs for each task; in every round all tasks are timed, in turn."""
    from tqdm import tqdm

    machine = {name: worker("machine") for name, worker in team.items()}
    measured: dict[tuple[str, Task], Row] = {}
    for task in tqdm(tasks, "preparing", unit="task"):
        for name, worker in team.items():
            measured[name, task] = machine[name] | worker("prepare", task)
    times: dict[tuple[str, Task], list[tuple[float, float]]] = {}
    names = list(team)
    for turn in tqdm(range(repeats), "timing", unit="round"):
        first = turn % len(names)
        for task in tasks:
            for name in names[first:] + names[:first]:
                if "skipped" not in measured[name, task]:
                    taken = team[name]("seconds", task)
                    times.setdefault((name, task), []).append(taken)
    for key, taken in times.items():
        clock, processor = zip(*taken, strict=True)
        measured[key] |= {"seconds": spread(clock), "processor_seconds": spread(processor)}
    return measured


class Worker:
    """A `subject.Subject` in a process of its own, so that peaks and caches are its own too."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name

    @classmethod
    @contextmanager
    def started(cls, settings: Settings) -> Iterator[Worker]:
        """A running process, ended on the way out."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, settings), daemon=True)
        process.start()
        there.close()
        try:
            yield cls(here, settings["name"])
        finally:
            here.close()
            process.join(10)
            process.kill()

    def __call__(self, method: str, *args: Any) -> Any:
        """What a method of the subject returns; a user's mistake is raised here."""
        try:
            self._connection.send((method, args))
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise OSError(
                f"the process of memory {self._name!r} ended without an answer; its own message "
                f"is above, and there is none if the machine ran out of memory"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(connection: Connection, settings: Settings) -> None:
    """Answer calls until the other side hangs up."""
    from stream_timer import Subject

    subject: Subject | None = None
    with suppress(EOFError, ConnectionError):
        while True:
            method, args = connection.recv()
            try:
                subject = subject or Subject(settings)
                answer = getattr(subject, method)(*args)
            except ValueError as error:
                answer = error
            connection.send(answer)


def memories(cfg: DictConfig) -> list[str]:
    """The names that are asked for, or all there are."""
    known = sorted(path.stem for path in (Path(CONFIG_DIR) / "memory").glob("*.yaml"))
    names = known if cfg.memories is None else list(dict.fromkeys(cfg.memories))
    for name in names:
        if name not in known:
            raise ValueError(f"there is no memory {name!r}; there are {', '.join(known)}")
    return names


def _blocks(cfg: DictConfig) -> list[int]:
    blocks = sorted(set(cfg.blocks))
    if not blocks or blocks[0] < 1 or cfg.repeats < 1 or cfg.span < 1:
        raise ValueError(
            f"blocks, repeats and span must be at least 1, got blocks={list(cfg.blocks)}, "
            f"repeats={cfg.repeats}, span={cfg.span}"
        )
    return blocks


def _settings(cfg: DictConfig, name: str) -> Settings:
    """The resolved settings under one memory."""
    memory = OmegaConf.load(Path(CONFIG_DIR) / "memory" / f"{name}.yaml")
    memory = OmegaConf.merge(memory, cfg.memory_settings.get(name) or {})
    one = OmegaConf.merge(cfg, {"memory": memory})
    assert isinstance(one, DictConfig)
    settings = to_settings(one)
    if settings["reach"] not in ("stream", "fill"):
        raise ValueError(f"reach must be stream or fill, got {settings['reach']!r}")
    return settings | {"name": name}


def _speed(measured: Row, settings: Settings) -> Row:
    """Times first, and what follows from them."""
    row: Row = {"seconds": None, "processor_seconds": None, "frames_per_second": None} | measured
    frames = row.pop("frames", 0)
    if row["seconds"]:
        latent = frames / row["seconds"]["median"]
        pixel = latent * settings["time_stride"]
        row["frames_per_second"] = {"latent": round(latent, 3), "pixel": round(pixel, 3)}
    return row


def _config(what: str, settings: Settings) -> Settings:
    """The part of the settings that a row depends on."""
    parts = ["model", "rollout", "threads", "interleave", "least_seconds"]
    parts += ["samples", "span"] if what == "block" else ["objective", "optimizer", "train"]
    return {part: settings[part] for part in parts}


def _about(cfg: DictConfig) -> Row:
    """What every row of this run says."""
    dirty = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if dirty is None else bool(dirty),
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "dtype": cfg.dtype,
        "reach": cfg.reach,
        "seed": cfg.seed,
        "repeats": cfg.repeats,
    }


def _git(*command: str) -> str | None:
    """What git says of the package that is measured; None outside a checkout."""
    root = Path(CONFIG_DIR).parent
    done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    main()
