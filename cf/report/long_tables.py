"""A benchmark's numbers in the long format: a line for each observation, for csv files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from cf.bench.contest import BenchmarkResults
from cf.bench.results import ContestantResults

LongTables = dict[str, pd.DataFrame]
"""By the names of their csv files."""


def long_tables(contest: BenchmarkResults) -> LongTables:
    """Build all tables, by the names of their csv files."""
    return {
        "per_video": per_video(contest.made),
        "per_window": per_window(contest.made),
        "headline": headline_table(contest),
        "per_training": per_training(contest),
        "versus": versus_table(contest),
        "costs": costs(contest.made),
        "failures": failures(contest.made),
    }


def per_video(made: Mapping[str, ContestantResults]) -> pd.DataFrame:
    """A line per contestant, video, duration and metric."""
    return pd.DataFrame(list(_lines(made)))


def _lines(contestants: Mapping[str, ContestantResults]) -> Iterator[dict[str, Any]]:
    for contestant in contestants.values():
        jobs = {job.item.key: job for job in contestant.jobs}
        for row in contestant.rows:
            job = jobs[row["item"]]
            for seconds, results in contestant.results.items():
                read = row["durations"][f"{seconds:g}"]
                for name, result in results.items():
                    video = job.item.video_id
                    yield {
                        "contestant": contestant.contestant,
                        "video": row["item"],
                        "prompt": row["prompt"],
                        "seed": row["seed"],
                        "training": job.item.training,
                        "seconds": seconds,
                        "metric": name,
                        "value": result.per_video.get(video, math.nan),
                        "reason": read["reason"]
                        or read.get("refused", {}).get(name)
                        or result.reasons.get(video, ""),
                        "status": read["status"],
                        "prefix_valid": row["prefix_valid"],
                        "frames": read["frames"],
                        "frames_sha256": read["frames_sha256"],
                        "measured_as": result.digest(),
                        "weights_sha256": row["weights_sha256"],
                        "settings": row["digest"],
                        "commit": row["commit"],
                        "version": row["version"],
                    }


def per_window(made: Mapping[str, ContestantResults]) -> pd.DataFrame:
    """A line per contestant, video, metric and window of time, of the longest duration."""
    lines = []
    for contestant in made.values():
        for name, result in contestant.longest.items():
            for job in contestant.jobs:
                curve = result.per_window.get(job.item.video_id)
                if curve is None:
                    continue
                times = result.windows[job.item.video_id].tolist()
                lines += [
                    {
                        "contestant": contestant.contestant,
                        "video": job.item.key,
                        "prompt": job.item.prompt,
                        "training": job.item.training,
                        "metric": name,
                        "second": second,
                        "value": value,
                    }
                    for second, value in zip(times, curve.tolist(), strict=True)
                ]
    columns = ["contestant", "video", "prompt", "training", "metric", "second", "value"]
    return pd.DataFrame(lines, columns=columns)


def costs(made: Mapping[str, ContestantResults]) -> pd.DataFrame:
    """A line per contestant: medians over its videos; the only columns that a rerun may change."""
    lines = []
    for contestant in made.values():
        table = pd.DataFrame([row["cost"] for row in contestant.rows])
        line: dict[str, Any] = {"contestant": contestant.contestant}
        for name in table.columns:
            worst = name == "peak_bytes"
            column = pd.to_numeric(table[name])
            line[name] = column.max() if worst else column.median()
        line["device"] = "; ".join(dict.fromkeys(str(row.get("device")) for row in contestant.rows))
        lines.append(line)
    return pd.DataFrame(lines)


def failures(made: Mapping[str, ContestantResults]) -> pd.DataFrame:
    """A line per video that is not whole, with the reason."""
    lines = [
        {
            "contestant": contestant.contestant,
            "video": row["item"],
            "status": row["status"],
            "reason": row["reason"],
        }
        for contestant in made.values()
        for row in contestant.rows
        if row["status"] != "done"
    ]
    return pd.DataFrame(lines, columns=["contestant", "video", "status", "reason"])


def headline_table(contest: BenchmarkResults) -> pd.DataFrame:
    """A line per duration, contestant and headline."""
    lines = [
        {
            "seconds": seconds,
            "contestant": name,
            "metric": metric,
            "value": cell.value,
            "mean": cell.mean.value,
            "low": cell.mean.low,
            "high": cell.mean.high,
            "units": cell.mean.units,
            "unit": contest.unit(name),
            "without_value": cell.mean.missing,
            "ranked_as": cell.ranked,
            "place": cell.place,
            "note": cell.note,
            "fail_a_gate": table.failing[name],
            "gates_not_measured": table.not_measured(name),
        }
        for seconds, table in contest.headlines.items()
        for name, cells in table.cells.items()
        for metric, cell in cells.items()
    ]
    frame = pd.DataFrame(lines)
    return frame.astype({"place": "Int64"}) if len(frame) else frame


def per_training(contest: BenchmarkResults) -> pd.DataFrame:
    """A line per duration, headline, contestant and training: its mean over prompts."""
    lines = []
    for seconds, table in contest.headlines.items():
        for metric in table.metrics:
            for name in table.cells:
                grouped: dict[int | None, list[float]] = {}
                for (training, _), value in contest.made[name].per_unit(seconds, metric).items():
                    grouped.setdefault(training, []).append(value)
                lines += [
                    {
                        "seconds": seconds,
                        "metric": metric,
                        "contestant": name,
                        "training": training,
                        "mean": pd.Series(values).mean(),
                        "prompts": len(values),
                    }
                    for training, values in grouped.items()
                ]
    frame = pd.DataFrame(lines)
    return frame.astype({"training": "Int64"}) if len(frame) else frame


def versus_table(contest: BenchmarkResults) -> pd.DataFrame:
    """A line per duration, headline and two contestants that are ranked."""
    return pd.DataFrame(
        [line for headline in contest.headlines.values() for line in headline.versus]
    )
