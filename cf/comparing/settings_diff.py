"""Settings in which runs differ, those alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cf.comparing.trainings import Method
from cf.files.tables import markdown_of

NONE = "-"
"""Stands for a setting that a run does not have."""


@dataclass(frozen=True)
class SettingsDifferences:
    """The settings in which runs differ, and those in which replicas do.

    Attributes:
        settings: setting -> run's title -> value.
        by_seed: settings that depend on the seed and on nothing else, the seed included.
        within: method -> settings that differ between its replicas beyond those.
    """

    settings: Mapping[str, Mapping[str, Any]]
    by_seed: Sequence[str]
    within: Mapping[str, Sequence[str]]

    def table(self, sides: Sequence[Method]) -> pd.DataFrame:
        """A line per setting, a column per method; replicas' values joined."""
        lines = []
        for name, values in self.settings.items():
            if name in self.by_seed:
                continue
            line: dict[str, Any] = {"setting": name}
            for side in sides:
                shown = dict.fromkeys(str(values[side.title(run)]) for run in side.runs)
                line[side.name] = ", ".join(shown)
            lines.append(line)
        return pd.DataFrame(lines, columns=["setting", *(side.name for side in sides)])


def differences(sides: Sequence[Method]) -> SettingsDifferences:
    """The settings in which these runs differ; a value at several places is listed once."""
    runs = {side.title(run): run for side in sides for run in side.runs}
    names = dict.fromkeys(name for run in runs.values() for name in run.settings)
    differing = {}
    for name in names:
        values = {title: run.settings.get(name, NONE) for title, run in runs.items()}
        if len({repr(value) for value in values.values()}) > 1:
            differing[name] = values
    distinct = {name: values for name, values in differing.items() if not _copied(name, differing)}
    seeds = {title: run.seed for title, run in runs.items()}
    replicated = any(len(side.runs) > 1 for side in sides)
    by_seed = [n for n, values in distinct.items() if replicated and _depends(values, seeds)]
    within = {
        side.name: [
            name
            for name, values in distinct.items()
            if name not in by_seed and len({repr(values[side.title(r)]) for r in side.runs}) > 1
        ]
        for side in sides
    }
    return SettingsDifferences(
        distinct, by_seed, {name: some for name, some in within.items() if some}
    )


def _copied(name: str, differing: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a shorter name holds the same: `module.rollout.memory.window`, `memory.window`."""
    parts = name.split(".")
    shorter = (".".join(parts[i:]) for i in range(1, len(parts)))
    return any(differing.get(short) == differing[name] for short in shorter)


def _depends(values: Mapping[str, Any], seeds: Mapping[str, int | None]) -> bool:
    """Whether runs with the same seed have the same value."""
    by_seed: dict[int | None, Any] = {}
    return all(by_seed.setdefault(seeds[title], value) == value for title, value in values.items())


def settings_as_markdown(found: SettingsDifferences, sides: Sequence[Method]) -> str:
    """The settings as people read them."""
    table = found.table(sides)
    parts = ["## Settings that differ", ""]
    if len(table):
        parts += markdown_of([list(table.columns), *table.to_numpy().tolist()])
    else:
        parts.append("None.")
    if found.by_seed:
        parts += ["", f"By seed alone: {', '.join(found.by_seed)}."]
    for name, some in found.within.items():
        parts += ["", f"**Not replicas:** the runs of {name} differ in {', '.join(some)} as well."]
    return "\n".join(parts) + "\n"
