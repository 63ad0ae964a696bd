"""Training runs side by side: each alone, or as replicas of a method that differ in their seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cf.comparing.inputs import frame_of
from cf.comparing.scores import Scores
from cf.files.text import yaml_of
from cf.runs.run_folder import leaves
from cf.settings.renamed import with_current_names
from cf.stats.paired import least_p

TABLE, CONFIG = "metrics.csv", "config.yaml"
_NOT_SCALARS = ("step", "epoch")


@dataclass(frozen=True)
class Training:
    """A run that was logged.

    Attributes:
        seed: of training; None if the folder does not tell.
        settings: dotted name -> value; the run's own folder is written `{run}`.
        table: a line per logged step, a column per scalar.
    """

    path: Path
    seed: int | None
    settings: Mapping[str, Any]
    table: pd.DataFrame

    @property
    def scalars(self) -> list[str]:
        """The names of all scalars that were logged."""
        logged = self.table.drop(columns=list(_NOT_SCALARS), errors="ignore").dropna(
            axis=1, how="all"
        )
        return [str(name) for name in logged.columns]

    def curve(self, scalar: str) -> pd.Series[float]:
        """The values of a scalar by step; empty if it was not logged."""
        if scalar not in self.table:
            return pd.Series(dtype=float)
        return self.table.set_index("step")[scalar].dropna().astype(float)

    def last(self, scalar: str) -> float:
        """The last value that was logged, NaN if none."""
        curve = self.curve(scalar)
        return float(curve.iloc[-1]) if len(curve) else math.nan


@dataclass(frozen=True)
class Method:
    """One side of a comparison: a run, or replicas with other seeds."""

    name: str
    runs: Sequence[Training]

    def __post_init__(self) -> None:
        if len(self.runs) == 1:
            return
        paths: dict[int, Path] = {}
        for run in self.runs:
            if run.seed is None:
                raise ValueError(
                    f"{run.path} has no {CONFIG} that tells its seed, by which the runs of "
                    f"{self.name} are paired with those of others"
                )
            if run.seed in paths:
                raise ValueError(
                    f"{paths[run.seed]} and {run.path} both have seed {run.seed}; the runs of a "
                    f"group ({self.name}) differ in their seed"
                )
            paths[run.seed] = run.path

    def title(self, run: Training) -> str:
        """What a run is called beside the others."""
        return self.name if len(self.runs) == 1 else f"{self.name}/seed_{run.seed}"


def is_training(path: Path) -> bool:
    """Whether a folder is that of a training run."""
    return (path / TABLE).is_file() and not (path / "per_video.csv").is_file()


def replicas(path: Path) -> list[Path]:
    """The training runs right below a folder."""
    return (
        sorted(folder for folder in path.iterdir() if is_training(folder)) if path.is_dir() else []
    )


def read_training(path: Path) -> Training:
    """Read the folder of a run.

    Raises:
        ValueError: if nothing was logged there, or its files cannot be read.
    """
    table = frame_of(path / TABLE, ("step",), "table of a training run")
    if table.empty:
        raise ValueError(f"{path / TABLE} holds no logged step")
    settings = _settings(path)
    seed = settings.get("seed")
    return Training(path, seed if isinstance(seed, int) else None, settings, table)


def _settings(path: Path) -> dict[str, Any]:
    if not (path / CONFIG).is_file():
        return {}
    settings = with_current_names(yaml_of(path / CONFIG, "file of settings"))
    # A run names its folder in many settings; that is no difference between two runs.
    folder = str(settings.get("folder", path)) if isinstance(settings, dict) else str(path)
    folder = "${folder}" if folder == "." else folder
    return {
        name: value.replace(folder, "{run}") if isinstance(value, str) else value
        for name, value in leaves(settings).items()
        if name and not name.startswith("outside.")
    }


def methods(groups: Mapping[str, Sequence[Path]]) -> list[Method]:
    """Load the runs of every side."""
    return [Method(name, [read_training(path) for path in paths]) for name, paths in groups.items()]


def scores(sides: Sequence[Method]) -> list[Scores]:
    """The last logged values, by training seed; two runs without replicas are one pair."""
    alone = all(len(side.runs) == 1 for side in sides)
    results = []
    for side in sides:
        names = dict.fromkeys(name for run in side.runs for name in run.scalars)
        values = {
            name: {"run" if alone else run.seed: run.last(name) for run in side.runs}
            for name in names
        }
        results.append(Scores(side.name, values, {}))
    return results


def untested(sides: Sequence[Method]) -> list[str]:
    """Scalars that end equal in every run, such as a schedule; a test of them says nothing."""
    runs = [run for side in sides for run in side.runs]
    names = dict.fromkeys(name for run in runs for name in run.scalars)
    return [name for name in names if len({run.last(name) for run in runs}) == 1]


def notes(sides: Sequence[Method], table: pd.DataFrame) -> list[str]:
    """Warnings about these runs, a sentence each."""
    said = []
    ends = {side.name: sorted({int(r.table["step"].iloc[-1]) for r in side.runs}) for side in sides}
    if len({step for steps in ends.values() for step in steps}) > 1:
        listed = ", ".join(f"{name} at {' and '.join(map(str, s))}" for name, s in ends.items())
        said.append(
            f"The runs do not end at the same step, and last values are compared: {listed}."
        )
    if all(len(side.runs) == 1 for side in sides):
        seeds = {side.name: side.runs[0].seed for side in sides}
        if len(set(seeds.values())) > 1:
            listed = ", ".join(f"{name}: {seed}" for name, seed in seeds.items())
            said.append(f"The runs differ in their seed too ({listed}), which alone has effects.")
        return said
    tested = table.dropna(subset=["p"])
    if len(tested):
        least = min(least_p(int(tested["pairs"].max())) * len(tested), 1)
        said.append(
            f"The unit is the training seed. {len(tested)} comparisons are corrected together, so "
            f"that p (Holm) cannot fall below {least:.2g}; fewer are had by naming beforehand what "
            f"is asked: only=[train/loss]."
        )
    return said
