"""The study's tables come from its rows, by the tests that its plan names."""

import csv
import math
import sys
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


@pytest.mark.skipif(not study.ROWS.is_file(), reason="the study's rows are not here")
def test_the_tables_that_are_shown_are_those_of_the_rows() -> None:
    told = study.tables(study.read(study.ROWS))
    shown = (ROOT / "benchmarks" / "study" / "RESULTS.md").read_text()
    for line in told.splitlines():
        assert line in shown, line
