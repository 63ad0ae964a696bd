"""Tables for people, programs and spreadsheets: no cell is run, none breaks out of its place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_RUN = ("=", "+", "-", "@", "\t", "\r")
"""With these a spreadsheet takes a cell for a formula."""
_MARKDOWN = str.maketrans({"|": "\\|", "`": "\\`", "<": "&lt;"})


ARROWS = {True: "↑", False: "↓", None: ""}
"""Which way a metric is better."""


def csv_of(frame: pd.DataFrame) -> str:
    """A table as csv in which every text stays text; numbers are as they were."""
    frame = frame.rename(columns=_safe)
    text: str = (frame.map(_safe) if len(frame) else frame).to_csv(index=False)
    return text


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe before it if need be.

    >>> safe("=1+1"), safe("-0.5"), safe("a fox"), original(safe("=1+1"))
    ("'=1+1", '-0.5', 'a fox', '=1+1')
    """
    risky = text.startswith(_RUN) and len(text) > 1 and not _is_number(text)
    return f"'{text}" if risky or _marked(text) else text


def original(text: str) -> str:
    """What `safe` was given."""
    return text[1:] if _marked(text) else text


def inline(text: str) -> str:
    r"""A text as one line of markdown that keeps its place: no column, no code, no HTML begins.

    >>> print(inline("a|b<script> c"))
    a\|b&lt;script> c
    """
    return re.sub(r"\s+", " ", text).translate(_MARKDOWN)


def markdown_of(rows: Sequence[Sequence[Any]], padded: bool = False) -> list[str]:
    """Lines of a markdown table, whose first row is the heading.

    Args:
        rows: cells, as many in each row; texts from anybody.
        padded: whether columns are aligned, for people who read the file as it is.
    """
    cells = [[inline(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) if padded else 0 for column in zip(*cells, strict=True)]
    rule = ["-" * (width or 3) for width in widths]
    lines = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in cells]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]


def latex_of(rows: Sequence[Sequence[Any]], bold: Collection[tuple[int, int]] = ()) -> str:
    r"""A LaTeX table with the rules of the package booktabs, whose first row is the heading.

    Args:
        rows: cells, as many in each row; texts from anybody. No two headings are equal.
        bold: row and column of cells that stand out; the first row below the heading is 0.

    >>> print(latex_of([["who", "a_b ↑"], ["50 %", 1.5]], bold={(0, 1)}))
    \begin{tabular}{lr}
    \toprule
    who & a\_b $\uparrow$ \\
    \midrule
    50 \% & \textbf{1.5} \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    import pandas as pd

    head, *cells = [[str(cell) for cell in row] for row in rows]
    frame = pd.DataFrame(cells, columns=head)
    look = pd.DataFrame("", index=frame.index, columns=frame.columns)
    for row, column in bold:
        look.iat[row, column] = "textbf:--rwrap"
    styled = frame.style.hide(axis="index").format(escape="latex")
    styled = styled.format_index(escape="latex", axis="columns").apply(lambda _: look, axis=None)
    text: str = styled.to_latex(hrules=True, column_format="l" + "r" * (len(head) - 1))
    return text.replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")


def to_json(tree: Any, indent: int = 2) -> str:
    r"""A tree as JSON, with null for what is not a finite number; keys are texts.

    >>> to_json({3: (float("nan"), 1.5)}, indent=0)
    '{\n"3": [\nnull,\n1.5\n]\n}\n'
    """
    return json.dumps(_finite(tree), indent=indent, default=str, allow_nan=False) + "\n"


def number(value: float, form: str = ".3f") -> str:
    """Short, and a dash for what is none.

    >>> number(0.12345), number(float("nan")), number(1234.5), number(1234.5, ".4g")
    ('0.123', '-', '1,234', '1234')
    >>> number(3600.4, ".3g"), number(0.5, ".3g"), number(-0.0001)
    ('3,600', '0.5', '0.000')
    """
    if not math.isfinite(value):
        return "-" if math.isnan(value) else f"{value:g}"
    whole = 10 ** int(form[1:-1]) if form.endswith("g") else 1000
    return f"{value:,.0f}" if abs(value) >= whole else f"{value:z{form}}"


def _finite(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {str(key): _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    if isinstance(tree, Real) and not isinstance(tree, Integral):
        return float(tree) if math.isfinite(tree) else None
    return tree


def _marked(text: str) -> bool:
    return text.startswith("'") and text[1:].startswith((*_RUN, "'"))


def _safe(cell: Any) -> Any:
    return safe(cell) if isinstance(cell, str) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
