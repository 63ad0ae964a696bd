"""The notebook runs from top to bottom and prints what stands in it."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "world_memory_metric.ipynb"


@pytest.mark.slow
def test_the_notebook_prints_what_stands_in_it() -> None:
    names: dict[str, Any] = {}
    cells = [one for one in json.loads(NOTEBOOK.read_text())["cells"] if one["cell_type"] == "code"]
    assert len(cells) == 3
    for cell in cells:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec("".join(cell["source"]), names)
        kept = ["".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream"]
        # Optical flow differs in the last digits from one processor to another.
        rounded = [re.sub(r"(\.\d)\d\d\b", r"\1", text) for text in (printed.getvalue(), *kept)]
        assert rounded[0] == "".join(rounded[1:])
