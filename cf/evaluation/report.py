"""The files of an evaluation: tables of videos and windows, a summary, plots over time."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cf.evaluation.comparisons import Comparisons, digests, per_prompt
from cf.evaluation.measure import Measured
from cf.evaluation.plots import plot_over_time
from cf.evaluation.summary import summary, summary_as_latex
from cf.files.atomic import write_text
from cf.files.figures import save_figure
from cf.files.tables import csv_of, to_json
from cf.metrics.result import Result
from cf.stats.paired import interval

log = logging.getLogger("cf.evaluate")


def write_evaluation(
    measured: Measured, compared: Comparisons, told: Mapping[str, Any], folder: Path
) -> None:
    """Write tables and plots, each file wholly or not at all, and print the summary.

    Args:
        measured: every metric of every contestant.
        compared: the contestants on the prompts that they share.
        told: versions that the numbers depend on.
        folder: of the evaluation.
    """
    videos, windows = video_rows(measured), window_rows(measured)
    write_text(folder / "per_video.csv", csv_of(videos))
    write_text(folder / "per_window.csv", csv_of(windows))
    text = summary(measured, compared, told)
    write_text(folder / "summary.md", text)
    write_text(folder / "table.tex", summary_as_latex(measured, compared))
    write_text(folder / "summary.json", to_json(as_json(measured, compared, told)))
    log.info("%s", text)
    figure = plot_over_time(measured)
    if figure is not None:
        for suffix in ("png", "svg"):
            save_figure(figure, folder / f"over_time.{suffix}")


def columns(measured: Measured, metric: str) -> dict[str, str]:
    """The column of each contestant: values of different provenance never share one."""
    codes = digests(measured, metric)
    same = len(set(codes.values())) == 1
    return {name: metric if same else f"{metric}@{code}" for name, code in codes.items()}


def video_rows(measured: Measured) -> pd.DataFrame:
    """A line per video; why a number is missing stands in `reasons`."""
    lines = []
    names = list(measured.results[measured.contestants[0]])
    headings = {name: columns(measured, name) for name in names}
    for video in measured.videos:
        facts, results = measured.facts.get(video.video_id), measured.results[video.contestant]
        line: dict[str, Any] = {
            "contestant": video.contestant,
            "video": video.name,
            "video_id": video.video_id,
            "prompt": video.prompt,
            "seed": video.seed,
            "frames": facts.frames if facts else None,
            "fps": facts.fps if facts else None,
            "seconds": facts.frames / facts.fps if facts else None,
            "height": facts.height if facts else None,
            "width": facts.width if facts else None,
        }
        reasons = []
        for name, result in results.items():
            line[headings[name][video.contestant]] = result.per_video.get(video.video_id, math.nan)
            if video.video_id in result.reasons:
                reasons.append(f"{name}: {result.reasons[video.video_id]}")
        failure = measured.failures.get(video.video_id)
        line["reasons"] = failure if failure else "; ".join(reasons)
        line["note"] = facts.note if facts else ""
        lines.append(line)
    return pd.DataFrame(lines).astype(dict.fromkeys(("frames", "height", "width", "seed"), "Int64"))


def window_rows(measured: Measured) -> pd.DataFrame:
    """A line per video, metric and window of time."""
    named = {video.video_id: video.name for video in measured.videos}
    labels: list[tuple[str, str, str]] = []
    numbers: dict[str, list[np.ndarray]] = {"seconds": [], "value": []}
    for contestant, results in measured.results.items():
        for metric, result in results.items():
            heading = columns(measured, metric)[contestant]
            for video, curve in result.per_window.items():
                if video not in named or video not in result.windows or not len(curve):
                    continue
                labels += [(contestant, named[video], heading)] * len(curve)
                numbers["seconds"].append(result.windows[video].double().numpy())
                numbers["value"].append(curve.double().reshape(len(curve), -1).mean(1).numpy())
    if not labels:
        return pd.DataFrame(columns=["contestant", "video", "metric", "seconds", "value"])
    # One frame of all rows: a frame of its own for each curve takes a millisecond.
    of_whom = dict(zip(("contestant", "video", "metric"), zip(*labels, strict=True), strict=True))
    return pd.DataFrame(
        {**of_whom, **{key: np.concatenate(arrays) for key, arrays in numbers.items()}}
    )


def as_json(measured: Measured, compared: Comparisons, told: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers over whole sets of videos, with what they depend on."""
    return {
        "versions": dict(told),
        "videos": len(measured.videos),
        "failures": {
            f"{video.contestant}/{video.name}": measured.failures[video.video_id]
            for video in measured.videos
            if video.video_id in measured.failures
        },
        "unavailable": dict(measured.unavailable),
        "contestants": {
            contestant: {
                name: _described(measured, contestant, name, result)
                for name, result in results.items()
            }
            for contestant, results in measured.results.items()
        },
        "duels": [asdict(pair) for pair in compared.pairs],
        "places": {
            name: [asdict(standing) for standing in all_] for name, all_ in compared.places.items()
        },
        "gates": {name: asdict(failing) for name, failing in compared.failing.items()},
        "gates_not_measured": list(compared.ungated),
        "not_compared": dict(compared.refused),
        "compared_on_common_prompts": compared.shared,
    }


def _described(measured: Measured, contestant: str, name: str, result: Result) -> dict[str, Any]:
    return {
        "value": result.value,
        "higher_is_better": result.higher_is_better,
        "over_prompts": asdict(interval([*per_prompt(measured, contestant, name).values()])),
        "why_missing": result.why() or None,
        "extras": {key: float(value) for key, value in result.extras.items()},
        "curves": {key: curve.tolist() for key, curve in result.curves.items()},
        "provenance": dict(result.provenance),
        "provenance_digest": digests(measured, name)[contestant],
    }
