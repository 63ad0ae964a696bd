"""`cf.compare`: runs or files of scores, compared and written to a folder."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cf.comparing import scores as side_scores
from cf.comparing import settings_diff
from cf.comparing.board import write_training_board
from cf.comparing.curves import draw_curves
from cf.comparing.trainings import (
    CONFIG,
    TABLE,
    Method,
    is_training,
    methods,
    notes,
    replicas,
    scores,
    untested,
)
from cf.files.atomic import write_text
from cf.files.tables import csv_of

_NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class ComparisonInputs:
    """Training runs by method, or files of scores; never both."""

    trainings: Mapping[str, Sequence[Path]]
    results: Sequence[Path]


def sides_of(runs: Sequence[str], groups: Mapping[str, Sequence[str]]) -> ComparisonInputs:
    """Runs and groups as the user names them; `*` stands for any name, as in a shell.

    A folder of training runs is a group of its own name.

    Raises:
        ValueError: if something is missing, given twice, or not to be compared with the rest.
    """
    trainings: dict[str, list[Path]] = {}
    results: list[Path] = []
    named_runs = _paths(runs)
    _refuse_twice(named_runs)
    for path in named_runs:
        if is_training(path):
            trainings[str(path)] = [path]
        elif (path / "per_video.csv").is_file() or not (inside := replicas(path)):
            results.append(path)
        else:
            trainings[str(path)] = inside
    named = _short(trainings)
    for name, patterns in groups.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a group: letters, digits and . _ + - can")
        if name in named:
            raise ValueError(f"{name} names a group and a run; give the group another name")
        named[name] = [run for path in _paths(patterns) for run in _members(name, path)]
    _refuse_twice([path for some in (results, *named.values()) for path in some])
    if named and results:
        first = next(iter(named.values()))[0]
        raise ValueError(
            f"{first} is a training run and {results[0]} is none; runs are compared by training "
            f"seed and scores by prompt, each among themselves"
        )
    if not named and not results:
        raise ValueError("runs must be given: python -m cf.compare outputs/a outputs/b")
    return ComparisonInputs(named, results)


_HYDRAS = "multirun.yaml"
"""Lies beside the runs of `cf.fit -m`, where `*` finds it."""


_NUMBERS = TABLE, "per_video.csv"


def _refuse_twice(paths: Sequence[Path]) -> None:
    places = [os.path.realpath(path) for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{path} is given twice")


def _paths(patterns: Sequence[str]) -> list[Path]:
    paths = []
    for pattern in patterns:
        if Path(pattern).exists() or not glob.has_magic(pattern):
            paths.append(Path(pattern))
            continue
        matched = sorted(glob.glob(pattern))
        if not matched:
            raise ValueError(f"nothing is called {pattern}")
        paths += map(Path, matched)
    runs = [path for path in paths if path.name != _HYDRAS]
    for path in runs:
        if (path / CONFIG).is_file() and not any((path / name).is_file() for name in _NUMBERS):
            raise ValueError(
                f"{path} is a run that has logged nothing: it took fewer steps than "
                f"trainer.log_every_n_steps; train it for longer, or leave it out"
            )
    return runs or paths


def _members(name: str, path: Path) -> list[Path]:
    """The runs that a path in a group stands for."""
    if is_training(path):
        return [path]
    inside = replicas(path)
    if not inside:
        why = "holds no training run" if path.exists() else "does not exist"
        raise ValueError(
            f"group {name}: {path} {why}; a group is made of runs of cf.fit (with metrics.csv), "
            f"for whoever made videos is compared by prompt"
        )
    return inside


def _short(trainings: Mapping[str, list[Path]]) -> dict[str, list[Path]]:
    """The shortest ends of the paths that differ."""
    parts = {name: Path(os.path.realpath(name)).parts for name in trainings}
    for count in range(1, max(map(len, parts.values()), default=0) + 1):
        short = {name: "/".join(part[-count:]) for name, part in parts.items()}
        if len(set(short.values())) == len(trainings):
            return {short[name]: paths for name, paths in trainings.items()}
    return dict(trainings)  # the same folder twice; refused by the caller


def write_comparison(given: ComparisonInputs, only: Sequence[str] | None, folder: Path) -> str:
    """Write the comparison into a folder, and return it as text.

    Raises:
        ValueError: if there is nothing to compare.
    """
    if given.results:
        sides = [side for path in given.results for side in side_scores.read_scores(path)]
        table = side_scores.compare_sides(side_scores.select(sides, only))
        write_text(folder / "compare.csv", csv_of(table))
        text = side_scores.scores_as_markdown(table)
        write_text(folder / "compare.md", text)
        return text
    return _trainings(methods(given.trainings), only, folder)


def _trainings(sides: Sequence[Method], only: Sequence[str] | None, folder: Path) -> str:
    selected = side_scores.select(scores(sides), only)
    table = side_scores.compare_sides(selected, untested(sides))
    differences = settings_diff.differences(sides)
    lines = [f"- {note}" for note in notes(sides, table)]
    text = "\n".join(
        [
            "## Last values",
            "",
            side_scores.scores_as_markdown(table),
            *lines,
            "",
            settings_diff.settings_as_markdown(differences, sides),
        ]
    )
    write_text(folder / "compare.csv", csv_of(table))
    write_text(folder / "settings.csv", csv_of(differences.table(sides)))
    write_text(folder / "compare.md", text)
    scalars = list(dict.fromkeys(name for side in selected for name in side.values))
    draw_curves(sides, scalars, folder)
    write_training_board(sides, differences, scalars, folder)
    return text
