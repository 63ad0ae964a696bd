"""The benchmark at size: processes, and how long all of it takes."""

from collections.abc import Sequence

import pytest
from test_benchmark import FEW, settings

from cf.bench.contest import _workers, run_benchmark
from cf.bench.runner import TimeEstimate


@pytest.mark.parametrize(
    ("asked", "places", "processes"),
    [
        (None, ("cuda:0", "cuda:1", "cuda:2", "cuda:3"), 4),
        (None, ("cuda",), 1),
        (None, ("cpu",), 2),
        (0, ("cuda:0", "cuda:1"), 0),
        (3, ("cpu",), 3),
    ],
)
def test_each_gpu_has_a_process(asked: int | None, places: Sequence[str], processes: int) -> None:
    assert _workers(asked, places) == processes


@pytest.mark.parametrize(
    ("rate", "processes", "told"),
    [
        (12.0, 4, "40 videos take about 13 min at the pace of x: 12 frames/s, measured, in each"),
        (12.0, 1, "about 53 min at the pace of x: 12 frames/s, measured"),
        (1.0, 2, "about 5.3 h at"),
        (5000.0, 1, "about 7.7 s at"),
    ],
)
def test_hours_are_frames_by_pace(rate: float, processes: int, told: str) -> None:
    assert told in TimeEstimate(40, 40 * 960, processes).told("x", rate)


def test_how_long_it_takes_is_told_once_after_the_first_blocks(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run_benchmark(settings(*FEW, "chunk_frames=8"), tmp_path)  # type: ignore[arg-type]
    shown = capsys.readouterr().err
    assert shown.count("videos take about") == 1
    assert "at the pace of" in shown
