"""Tables of numbers from runs and evaluations; errors name the file and the line."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cf.files.text import TextTable, table_of

log = logging.getLogger("cf.compare")

TEXTS = frozenset({"contestant", "video", "prompt", "path", "reason", "reasons", "note", "metric"})
_MORE_TEXTS = {"status", "measured_as", "weights_sha256", "frames_sha256", "settings", "commit"}
_NOTHING = ["", "nan", "NaN"]


def frame_of(
    path: Path, numbers: Collection[str] = (), what: str = "csv of scores"
) -> pd.DataFrame:
    """A csv file with its numbers as numbers; a text such as `null` stays one.

    Args:
        path: of the file.
        numbers: columns that must be there, with a number or nothing in every row.
        what: names the kind of file in messages.

    Raises:
        ValueError: it cannot be read, or a cell among numbers is none; names the line.
    """
    table = table_of(path, numbers, what=what)
    texts = {*TEXTS, *_MORE_TEXTS, "version", "prefix_valid"}
    for column in table.columns:
        if column not in texts:
            _check_numbers(table, column, must=column in numbers)
    buffer = io.StringIO()
    rows = [row.cells for row in table.rows]
    pd.DataFrame(rows, columns=table.columns, dtype=str).to_csv(buffer, index=False)
    buffer.seek(0)
    missing = {column: [""] if column in texts else _NOTHING for column in table.columns}
    return pd.read_csv(buffer, keep_default_na=False, na_values=missing)


def _check_numbers(table: TextTable, column: str, must: bool) -> None:
    """Refuse a cell that is no number in a column of numbers; it would be left out silently."""
    filled = [(row, row.cells[column]) for row in table.rows if row.cells[column]]
    wrong = [(row, cell) for row, cell in filled if not _is_number(cell)]
    if wrong and (must or 2 * len(wrong) < len(filled)):
        row, cell = wrong[0]
        raise ValueError(f"{table.at(row)}: {column} is {cell[:60]!r}, and is a number elsewhere")
    endless = [(row, cell) for row, cell in filled if not wrong and math.isinf(_number(cell))]
    if endless:
        row, cell = endless[0]
        log.warning(
            "%s: %s is %s, as in %d rows; it counts as beyond every number, and a mean with it is "
            "infinite",
            table.at(row),
            column,
            cell[:60],
            len(endless),
        )


def _number(cell: str) -> float:
    return float(cell == "True") if cell in ("True", "False") else float(cell)


def _is_number(cell: str) -> bool:
    try:
        return not math.isnan(float(cell)) or cell in _NOTHING
    except ValueError:
        return cell in ("True", "False")
