"""Scores under VBench's names of dimensions, in the form that its leaderboard takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cf.bench.store import folder_of
from cf.files.atomic import write_text
from cf.files.tables import to_json
from cf.metrics.result import Result

_FORMS = {
    "subject_consistency": r"vbench_subject_consistency\[dino-vitb16\]",
    "background_consistency": r"vbench_background_consistency\[clip-vit-b32\]",
    "temporal_flickering": r"vbench_temporal_flickering",
    "motion_smoothness": r"vbench_motion_smoothness\[amt-s.*\]",
    "dynamic_degree": r"DynamicDegree\[raft-things\]",
}
"""VBench's dimension -> the metric that has its formula and its network."""


def dimensions(
    results: Mapping[str, Result], files: Mapping[int, str]
) -> dict[str, tuple[float, list[dict[str, Any]]]]:
    """VBench's dimensions: each the score of the set, and those of its videos.

    A metric that has VBench's formula but another network stands under no dimension.

    Args:
        results: of each metric, by its name.
        files: video_id -> the file's name.
    """
    scores: dict[str, tuple[float, list[dict[str, Any]]]] = {}
    for dimension, form in _FORMS.items():
        for name, result in results.items():
            if not re.fullmatch(form, name):
                continue
            score = result.extras.get(f"vbench_{dimension}", result.value)
            matches = f"vbench_{dimension}" not in result.extras  # else the videos' are others
            rows = [
                {"video_path": files[video], "video_results": value}
                for video, value in result.per_video.items()
                if matches and video in files and math.isfinite(value)
            ]
            if math.isfinite(score):
                scores[dimension] = float(score), sorted(rows, key=lambda row: row["video_path"])
    return scores


def write_vbench(
    results: Mapping[str, Mapping[str, Result]],
    files: Mapping[str, Mapping[int, str]],
    folder: Path,
) -> list[Path]:
    """`vbench/NAME_eval_results.json` of every contestant that has one of VBench's dimensions.

    The form is that which VBench's own code writes and its leaderboard reads from a zip:
    `{dimension: [score, [{video_path, video_results}, ...]]}`. The leaderboard counts a dimension
    that is not there as 0, and is meant for VBench's own prompts.
    """
    written = []
    for name, by_metric in results.items():
        scores = dimensions(by_metric, files[name])
        if scores:
            path = folder / "vbench" / f"{folder_of(name)}_eval_results.json"
            path.parent.mkdir(exist_ok=True)
            write_text(path, to_json(scores))
            written.append(path)
    return written
