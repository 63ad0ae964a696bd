"""The study's tables come from its rows, by the tests that its plan names."""

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "study"))

import tables as study

ROOT = Path(__file__).parents[1]


def rows_of(place: Path) -> Path:
    """Six trainings of four arms in two places: the thesis is right by one decibel each time."""
    file = place / "per_video.csv"
    names = [*study.ARMS, *study.MEMORIES]
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["contestant", "video", "prompt", "training", "metric", "value"])
        for metric in (*study.OUTCOMES, "AnotherMetric"):
            for name in names:
                for training in [""] if name == "truth" else map(float, range(6)):
                    for place_number in range(2):
                        value = 20 + 0.1 * place_number + (name == study.HELD) + 0.01 * len(name)
                        row = [name, "v", f"p{place_number}", training, metric, value]
                        writer.writerow(row)
        writer.writerow([study.HELD, "v", "p9", 0, study.PRIMARY, ""])
    return file


def test_differences_are_tested_as_the_plan_says(tmp_path: Path) -> None:
    study.keep(rows_of(tmp_path), tmp_path / "kept" / "rows.csv")
    rows = study.read(tmp_path / "kept" / "rows.csv")
    assert set(rows) == set(study.OUTCOMES)
    assert math.isclose(rows[study.PRIMARY]["truth"][None, "p1"], 20.15)
    told = study.tables(rows)
    lines = [line for line in told.splitlines() if line.startswith(f"| {study.HELD} - ")]
    assert len(lines) == 3
    for line in lines:
        *_, p, corrected, _ = (cell.strip() for cell in line.strip("| ").split("|"))
        assert float(p) == pytest.approx(2 / 2**6, rel=0.01)  # no less with six pairs
        assert float(corrected) == pytest.approx(3 * 2 / 2**6, rel=0.01)


def test_memories_are_told_by_lag(tmp_path: Path) -> None:
    file = tmp_path / "per_video.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["contestant", "video", "prompt", "training", "metric", "value"])
        for metric in (*study.LAG_OUTCOMES, study.PRIMARY):
            for name in (*study.SAME_NETWORKS, "truth"):
                for training in map(float, range(6)):
                    late = metric.startswith(study.PRIMARY) and "40 to 96" in metric
                    value = 20 + 2 * (late and name == study.HELD) + 0.01 * training
                    writer.writerow([name, "v", "p0", training, metric, value])
    study.keep(file, tmp_path / "rows.csv", study.LAG_OUTCOMES)
    rows = study.read(tmp_path / "rows.csv")
    assert set(rows) == set(study.LAG_OUTCOMES)
    told = study.lag_tables(rows)
    (line,) = (one for one in told.splitlines() if " - equal_window" in one)
    assert line.startswith("| full_through - equal_window | 2.00 [2.00, 2.00] | 0.0312 | 0.0312 |")
    assert "| equal_window | 20.02 [" in told


@pytest.mark.parametrize(
    ("rows", "made"), [(study.ROWS, study.tables), (study.LAG_ROWS, study.lag_tables)]
)
def test_the_tables_that_are_shown_are_those_of_the_rows(
    rows: Path, made: Callable[[study.Rows], str]
) -> None:
    if not rows.is_file():
        pytest.skip("the study's rows are not here")
    told = made(study.read(rows))
    shown = (ROOT / "benchmarks" / "study" / "RESULTS.md").read_text()
    for line in told.splitlines():
        assert line in shown, line
