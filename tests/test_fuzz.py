"""Broken lists, tables and headers: a value or one ValueError each, for some seconds."""

import pytest

from benchmarks.fuzz import fuzz, targets


@pytest.mark.whole
def test_no_reader_breaks_on_broken_files() -> None:
    counts, broken = fuzz(2.5, seed=0)
    assert not broken, broken[:3]
    assert all(counts[f"{name} taken"] + counts[f"{name} refused"] for name in targets())
