"""Figures as files."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from cf.files.figures import save_figure


def drawn() -> Figure:
    """A curve within a frame that cuts it, whose clip path an SVG has to name."""
    figure = Figure()
    panel = figure.subplots()
    panel.plot([0, 1, 2], [1, 3, 2])
    panel.set_ylim(1.5, 2.5)
    return figure


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_equal_figures_are_equal_files(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for time in ("1000000000", "2000000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)  # the clock, for Matplotlib
        path = tmp_path / f"{time}.{suffix}"
        save_figure(drawn(), path)
        made.append(path.read_bytes())
    assert made[0] == made[1]
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        f"{time}.{suffix}" for time in (1000000000, 2000000000)
    )
