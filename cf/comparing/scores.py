"""Two or more sets of scores, from any program: paired by prompt and tested."""

from __future__ import annotations

import fnmatch
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from cf.comparing.inputs import frame_of
from cf.files.naming import meant
from cf.files.tables import inline, markdown_of, number
from cf.stats.paired import Comparison, compare, corrected, interval, seed_means

_KNOWN = ("contestant", "video", "video_id", "prompt", "seed", "frames", "fps", "seconds", "height")
_LONG = ("contestant", "prompt", "seconds", "value", "measured_as")
_NOT_SCORES = {*_KNOWN, "width", "reasons", "note", "path"}


@dataclass(frozen=True)
class Scores:
    """One side of a comparison.

    Attributes:
        values: metric -> prompt -> value, seeds averaged.
        measured_as: metric -> what tells how it was measured, where the file says so.
    """

    name: str
    values: Mapping[str, Mapping[Any, float]]
    measured_as: Mapping[str, str]


def read_scores(path: Path) -> list[Scores]:
    """The sides in a results folder or a csv of per-video scores.

    Raises:
        ValueError: if there is none.
    """
    for file in (path, path / "per_video.csv", path / "metrics.csv"):
        if file.is_file() and file.suffix == ".csv":
            table = frame_of(file)
            if "metric" in table.columns:
                lacking = [name for name in _LONG if name not in table.columns]
                if lacking:
                    raise ValueError(
                        f"{file} has a column metric, and so needs {', '.join(lacking)} too"
                    )
                return _long(path, table)
            return _wide(path, table)
    raise ValueError(
        f"{path} holds no scores: give a folder with per_video.csv (of cf.benchmark or "
        f"cf.evaluate), a training run with metrics.csv, or a csv of scores per video"
    )


def _long(path: Path, table: pd.DataFrame) -> list[Scores]:
    """A line per video, duration and metric, as `cf.benchmark` writes."""
    sides = []
    for contestant, rows in table.groupby("contestant", sort=False):
        values, measured_as = {}, {}
        for key, part in rows.groupby(["metric", "seconds"], sort=False):
            metric, seconds = tuple(key)
            name = f"{metric} at {seconds:g} s"
            values[name] = seed_means(part["prompt"].tolist(), part["value"].tolist())
            measured_as[name] = "/".join(sorted(set(map(str, part["measured_as"]))))
        sides.append(Scores(f"{run_name(path)}: {contestant}", values, measured_as))
    return sides


def _wide(path: Path, table: pd.DataFrame) -> list[Scores]:
    """A line per video and a column per metric, as `cf.evaluate` and others write."""
    unit = next((c for c in ("prompt", "video", "path") if c in table.columns), None)
    if unit is None:
        raise ValueError(f"{path} has no column prompt, video or path, by which to pair")
    numbers = [
        str(name)
        for name in table.columns
        if name not in _NOT_SCORES and pd.api.types.is_numeric_dtype(table[name])
    ]
    if not numbers:
        raise ValueError(f"{path} has no column of scores")
    parts: list[tuple[str, pd.DataFrame]] = [("", table)]
    if "contestant" in table.columns:
        parts = [(f": {name}", part) for name, part in table.groupby("contestant", sort=False)]
    return [
        Scores(
            run_name(path) + suffix,
            {m: seed_means(part[unit].tolist(), part[m].astype(float).tolist()) for m in numbers},
            {},
        )
        for suffix, part in parts
    ]


def run_name(path: Path) -> str:
    """The shortest name that says which run it is."""
    return path.stem if path.is_file() else "/".join(Path(os.path.realpath(path)).parts[-2:])


def select(sides: Sequence[Scores], patterns: Sequence[str] | None) -> list[Scores]:
    """The sides with the metrics that match a pattern (`train/*`); all metrics if None.

    Raises:
        ValueError: if a pattern matches none.
    """
    if patterns is None:
        return list(sides)
    names = list(dict.fromkeys(name for side in sides for name in side.values))
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"only: {pattern} is none of {', '.join(names)}{meant(pattern, names)}"
            )
    metrics = {name for pattern in patterns for name in fnmatch.filter(names, pattern)}
    return [
        replace(side, values={name: v for name, v in side.values.items() if name in metrics})
        for side in sides
    ]


def compare_sides(sides: Sequence[Scores], untested: Sequence[str] = ()) -> pd.DataFrame:
    """Every two sides on every metric that both have, tested and corrected together.

    Args:
        sides: at least two sets of scores.
        untested: metrics that are shown without a test, because they are the same everywhere.

    Raises:
        ValueError: if there are fewer than two sides, or no metric in common.
    """
    lines: list[dict[str, Any]] = []
    tested: list[tuple[int, tuple[str, str, str, Comparison]]] = []
    for first, second in combinations(sides, 2):
        for metric in first.values:
            if metric not in second.values:
                continue
            codes = [side.measured_as.get(metric) for side in (first, second)]
            line = {"metric": metric, "first": first.name, "second": second.name}
            if None not in codes and codes[0] != codes[1]:
                unlike = "not measured alike; not compared"
                lines.append({**line, "p": math.nan, "p_holm": math.nan, "note": unlike})
                continue
            comparison = compare(first.values[metric], second.values[metric])
            if metric in untested:
                comparison = replace(comparison, p=math.nan, note="the same in all; not tested")
            means = [interval(list(s.values[metric].values())).value for s in (first, second)]
            tested.append((len(lines), (metric, first.name, second.name, comparison)))
            lines.append({**line, "mean_first": means[0], "mean_second": means[1]})
    if not lines:
        raise ValueError("nothing to compare: give two or more sides that share a metric")
    for (place, _), pair in zip(tested, corrected(test for _, test in tested), strict=True):
        row, comparison = pair.row(), pair.comparison
        del row["win_rate"]  # neither direction is known to be better
        lines[place] |= {**row, "dropped": len(comparison.dropped), "note": comparison.note}
    return pd.DataFrame(lines)


def scores_as_markdown(table: pd.DataFrame) -> str:
    """The comparison as people read it."""
    head = ["metric", "first", "second", "first's mean", "second's", "difference", "p (Holm)"]
    head += ["detectable", "pairs"]
    lines = [head]
    for row in table.to_dict("records"):
        bounds = f" [{_short(row.get('low', math.nan))}, {_short(row.get('high', math.nan))}]"
        shown = [row["metric"], row["first"], row["second"]]
        shown += [_short(row.get(name, math.nan)) for name in ("mean_first", "mean_second")]
        shown += [_short(row.get("difference", math.nan)) + bounds, number(row["p_holm"])]
        shown += [_short(row.get("detectable", math.nan))]
        shown += [number(row.get("pairs", math.nan), ".0f")]
        lines.append(shown)
    notes = [f"- {inline(note)}" for note in dict.fromkeys(table["note"]) if note]
    return "\n".join([*markdown_of(lines), "", *notes]) + "\n"


def _short(value: float) -> str:
    """A short number; a small value, such as a learning rate, does not become 0."""
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else number(value)
