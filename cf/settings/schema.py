"""What the settings at the top of every command may be; those of groups are their classes' own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from cf.settings.build import Settings
from cf.settings.hints import Form, Within
from cf.settings.kinds import (
    Compile,
    Count,
    CountOrZero,
    Device,
    FileOrFolder,
    FolderPath,
    OutputPath,
    Paths,
    Rate,
    Seconds,
    Seed,
    Size,
)
from cf.settings.making import Generate, Play
from cf.settings.mapping import MemoryMap
from cf.settings.preparing import Prepare

_TRAINER = {
    "accumulate_grad_batches": Within(1),
    "gradient_clip_val": Within(0),
    "log_every_n_steps": Within(1),
    "val_check_interval": Within(above=0),
}
"""Numbers of Lightning's that it takes without a word, or that end in an error of arithmetic."""
_OF_MODULES = {
    "adapters": "module=distill and module=pretrain",
    "guide": "module=distill and module=start",
}
_Gates = dict[str, tuple[float | None, float | None] | None]
_Networks = Form(
    "runs by name, as in '{mine: RUN}' (a network under settings of its own: "
    "+contestant@contestants.NAME=trained contestants.NAME.checkpoint=RUN "
    "+contestants.NAME.sampling='{num_steps: 8}')"
)
_OF_A_RUN = ("config.yaml", "phases.yaml")


@dataclass(frozen=True)
class Fit:
    """`cf.fit`."""

    seed: Annotated[int, Within(0, 2**32 - 1)]
    scales: list[str] | None
    phases: dict[str, list[str]] | None
    resume: Annotated[Path, "folder of a run"]
    trust: bool
    folder: Path
    tensorboard: dict[str, Any]
    compile: Literal["none", "blocks"]
    plan: bool
    cards: Count | None
    card_gb: Annotated[float, Within(above=0)] | None

    @staticmethod
    def unused(given: Settings) -> str:
        """A group that this run's module has no use for, in words."""
        for group, modules in _OF_MODULES.items():
            if given.get(group) and group not in given["module"]:
                return f"{group}=... is for {modules}; leave it out here (null)"
        return ""

    @staticmethod
    def contradiction(given: Settings) -> str:
        """A number that no trainer or optimiser takes, or a folder that is no run's, in words."""
        for name, bounds in _TRAINER.items():
            value = (given.get("trainer") or {}).get(name)
            if not bounds.holds(value):
                return f"trainer.{name} must be a number {bounds}, got {value}"
        for group in ("optimizer", "critic_optimizer"):
            for name, value in (given.get(group) or {}).items():
                number = isinstance(value, int | float)
                if number and not 0 <= value < math.inf:
                    return f"{group}.{name} must be a number from 0 on, got {value}"
        folder = Path(given["resume"])
        if given["resume"] == "???" or any((folder / file).is_file() for file in _OF_A_RUN):
            return ""
        near = [parent for parent in folder.absolute().parents if (parent / _OF_A_RUN[0]).is_file()]
        hint = f"give resume={near[0]}" if near else "give the folder that the run printed"
        return f"resume={folder} is not the folder of a run (it has no config.yaml); {hint}"


@dataclass(frozen=True)
class Evaluate:
    """`cf.evaluate`."""

    videos: Paths | dict[str, Path]
    pattern: str | None
    pictures_fps: Rate | None
    size: Size | None
    seconds: Seconds | None
    gates: _Gates
    device: Device
    shown: CountOrZero
    piece_megabytes: Annotated[float, Within(above=0, most=2**20)]
    resume: Annotated[Path, "folder of an evaluation"]


@dataclass(frozen=True)
class Axes:
    """Of the picture of one metric against another."""

    across: str
    up: str


@dataclass(frozen=True)
class Benchmark:
    """`cf.benchmark`."""

    headline: list[str]
    gates: _Gates
    gates_beyond_truth: bool
    unranked: list[str]
    networks: Annotated[dict[str, Paths], _Networks] | None
    contestants: dict[str, Any] | None
    commit_reads: bool
    unequal: Literal["refuse", "show"]
    absent: Literal["refuse", "list"]
    shown: CountOrZero
    chunk_frames: Count
    workers: Annotated[int, Within(0, 1024)] | None
    devices: Device | list[Device]
    metrics_apart: bool | None
    compile: Compile
    report: bool
    title: str | None
    pareto: Axes
    single_file: bool
    export_vbench: OutputPath | None
    tensorboard: bool
    seed: Seed
    model: dict[str, Any]
    rollout: dict[str, Any]
    world: dict[str, Any]
    asked: dict[str, Any]
    durations: Annotated[list[Seconds], Form("rising seconds, as in [10,30]")]

    @staticmethod
    def contradiction(given: Settings) -> str:
        """A world that the suite does not take, or durations that do not rise, in words."""
        wanted, data = given["world"].get("of"), given["asked"].get("data") or {}
        if wanted and (data.get("world") or {}).get("_target_") != wanted:
            return "only suite=recall, suite=smoke and suite=world take a world; leave world= out"
        times = given["durations"]
        if not times or any(a >= b for a, b in pairwise(times)):
            return f"durations={times} must be rising seconds above 0: durations=[10,30]"
        if not given["devices"]:
            return f"devices={given['devices']} names none: devices=auto"
        if not given["headline"]:
            return "headline=[] names no metric: headline=[temporal_consistency]"
        return ""


@dataclass(frozen=True)
class Compare:
    """`cf.compare`."""

    runs: Paths | None
    groups: Annotated[dict[str, Paths], Form("{name: [run, run]}")] | None
    only: str | list[str] | None


@dataclass(frozen=True)
class RecallSettings:
    """`cf.recall`."""

    students: Annotated[dict[str, FileOrFolder], Form("runs by name, as in '{mine: RUN}'")] | None
    oracle: FileOrFolder | None
    worlds: Count
    frames: Count
    given: Count
    lags: Annotated[list[Count], Form("numbers of frames, as in [8,16]")]
    influence: Annotated[list[CountOrZero], Form("latent frames, as in [0,3,6]")] | None
    batch_size: Count
    shown: CountOrZero
    shown_frames: Count
    not_shown: list[str]
    workers: Annotated[int, Within(1, 1024)]
    device: Device
    compile: Compile
    seed: Seed
    memories: dict[str, Any]
    model: dict[str, Any]
    rollout: dict[str, Any]

    @staticmethod
    def contradiction(given: Settings) -> str:
        """Nobody to measure, or more frames given than there are, in words."""
        if not given["students"] and not given["oracle"]:
            return "students must be given: students='{name: RUN, other: RUN}'"
        for name in ("frames", "shown_frames"):
            if given["given"] >= given[name]:
                return f"given={given['given']} must be less than {name}={given[name]}"
        return "" if given["lags"] else "lags=[] names none: lags=[8,16]"


@dataclass(frozen=True)
class OnVideos:
    """How `cf.demo` trains on a folder of videos and goes on with one of them."""

    seconds: Seconds
    memories: list[str]
    fit: list[str]
    generate: list[str]


@dataclass(frozen=True)
class Demo:
    """`cf.demo`."""

    folder: Path
    seed: Annotated[int, Within(0, 2**32 - 1)]
    fit: list[str]
    recall: list[str]
    start: dict[str, str]
    sweeps: dict[str, Any]
    benchmark: list[str] | None
    beside: list[str]
    videos: FolderPath | None
    pictures_fps: Rate | None
    on_videos: OnVideos


COMMANDS: dict[str, type] = {
    "prepare": Prepare,
    "fit": Fit,
    "generate": Generate,
    "play": Play,
    "evaluate": Evaluate,
    "benchmark": Benchmark,
    "compare": Compare,
    "recall": RecallSettings,
    "memory_map": MemoryMap,
    "demo": Demo,
}
"""The settings of every command that takes any, by its name."""
NAMED_GROUPS = ("callbacks", "contestants", "memories", "metrics")
"""Groups of things by name, each of which is described by a mapping; null: left out."""
OPTIONAL = ("resume",)
"""What may be left out although it stands as `???`."""
