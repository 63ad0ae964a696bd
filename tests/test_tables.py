"""Cells of strangers: no spreadsheet runs them, no table of markdown breaks, and all come back."""

import io
from pathlib import Path

import pandas as pd
import pytest

from cf.files.tables import csv_of, inline, markdown_of, original, safe
from cf.files.text import table_of

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)"]
HARMLESS = ["a fox", "-", "-0.5", "+3e-2", "'Tis the season", "a=b", "", "é", "1-2"]


@pytest.mark.parametrize("text", [*FORMULAS, "'=1", "''", "'-0.5", "''=2"])
def test_a_formula_is_made_a_text_and_comes_back(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert original(safe(text)) == text


@pytest.mark.parametrize("text", [*HARMLESS, "'"])
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert original(safe(text)) == safe(text) == text


def test_a_csv_runs_nothing_and_is_read_as_it_was(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": [*FORMULAS[:4], "a\nb"], "value": [-1.5, 2, 3, -4, 5]})
    text = csv_of(frame)
    assert not any(line.startswith(tuple("=+-@")) for line in text.splitlines())
    (tmp_path / "x.csv").write_text(text)
    rows = [row.cells for row in table_of(tmp_path / "x.csv").rows]
    assert [row["prompt"] for row in rows] == frame["prompt"].tolist()
    assert pd.read_csv(io.StringIO(text))["value"].tolist() == frame["value"].tolist()
    assert csv_of(frame[:0]) == "prompt,value\n"


def test_a_cell_of_markdown_stays_in_its_row_and_column() -> None:
    rows = [["name", "value"], ["a|b\n| x | y |", "`<img onerror=1>"]]
    for padded in (False, True):
        lines = markdown_of(rows, padded)
        assert len(lines) == 3
        assert all(line.replace("\\|", "").count("|") == 3 for line in lines)
        assert "<" not in "".join(lines)
    assert "\n" not in inline("a\r\n\n# b")
