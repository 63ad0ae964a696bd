"""`metrics.csv` of a training: a line per step, whoever comes late."""

import csv
from pathlib import Path

import pytest

from cf.callbacks.table import MetricsTable


def test_a_row_that_comes_late_finds_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = MetricsTable(str(tmp_path))
    for step, values in ((1, {"a": 1.0}), (4, {"a": 4.0}), (3, {"b": 3.0}), (4, {"b": 5.0})):
        table.log_metrics(values, step)
    table.log_metrics({"a": 6.0}, 6)
    written = []
    monkeypatch.setattr(table, "_write_all", written.append)
    table.log_metrics({"b": 4.0}, 1)  # in place: however long the file is
    table.log_metrics({"b": 6.0}, 5)
    assert written == []
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = [(row["step"], row["a"], row["b"]) for row in csv.DictReader(file)]
    assert rows == [
        ("1", "1", "4"),
        ("3", "", "3"),
        ("4", "4", "5"),
        ("5", "", "6"),
        ("6", "6", ""),
    ]
