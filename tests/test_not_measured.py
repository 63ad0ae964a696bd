"""What has no value is shown as not measured, with its reason, wherever people read it."""

import math
from pathlib import Path

import pytest

from cf.bench.ranking import Cell
from cf.comparing.inputs import frame_of
from cf.evaluation.summary import _headline
from cf.metrics.result import Result
from cf.report import page_tables, tables
from cf.stats.resampling import Interval, interval

SHORT = "it lasts 1 s, and 2 are needed"
RESULT = Result("LoopRate", math.nan, False, dict.fromkeys(range(3), math.nan))


def nothing() -> Interval:
    return interval([math.nan] * 3)


def test_a_headline_has_the_reason_of_most_of_its_videos() -> None:
    reasons = {0: SHORT, 1: SHORT, 2: "a cut"}
    one = Result(RESULT.name, math.nan, False, RESULT.per_video, reasons)
    assert _headline(one, nothing()) == f"none ({SHORT} (2 of 3 videos))"
    whole = Result(RESULT.name, math.nan, False, RESULT.per_video, {**reasons, None: "few"})
    assert whole.why() == "few"
    assert Result(RESULT.name, 0.5, False, {0: 0.5, 1: math.nan}, {1: SHORT}).why() == ""


def test_markdown_and_page_say_that_it_was_not_measured() -> None:
    cell = Cell("LoopRate", math.nan, nothing(), math.nan, None, SHORT)
    assert tables._shown(cell) == f"not measured ({SHORT})"
    shown = page_tables._cell(cell, (0.0, 1.0))
    assert (shown["value"], shown["note"], shown["bar"]) == ("not measured", SHORT, None)


def test_an_infinite_value_of_a_file_is_told_by_file_and_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("prompt,psnr,ssim\na,30,1\nb,inf,1\nc,-inf,1\n")
    frame_of(file)
    (told,) = caplog.messages
    assert f"{file}, line 3: psnr is inf, as in 2 rows" in told
