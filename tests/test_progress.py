"""A bar where it can be drawn over, lines where it cannot."""

import io
from io import StringIO
from pathlib import Path

import pytest

from cf.runs.watching import steps_of, watched
from cf.system.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_lines_and_never_a_bar() -> None:
    log = io.StringIO()
    with progress(4, "measuring", "videos", file=log, every=0) as bar:
        for _ in range(4):
            bar.update()
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue()
    assert lines[0].startswith("measuring: 0 %, 0 of 4 videos")
    assert lines[-1].startswith("measuring: 100 %, 4 of 4 videos")
    assert [line.split(" %")[0].split()[-1] for line in lines] == ["0", "25", "50", "75", "100"]


def test_a_log_is_not_filled_by_what_is_quick() -> None:
    log = io.StringIO()
    with progress(1000, "measuring", "videos", file=log, every=3600) as bar:
        for _ in range(1000):
            bar.update()
    assert len(log.getvalue().splitlines()) == 2  # how it began and how it ended


def test_a_terminal_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    with progress(2, "measuring", "videos", file=screen) as bar:
        bar.update(2)
    assert screen.getvalue().count("\n") == 1
    assert "\rmeasuring: 100%|" in screen.getvalue()


def test_nothing_to_do_says_nothing() -> None:
    log = io.StringIO()
    with progress(0, "measuring", "videos", disable=True, file=log):
        pass
    assert log.getvalue() == ""


def test_runs_are_followed_by_what_they_write(tmp_path: Path) -> None:
    assert steps_of(tmp_path) == (0, 0)
    (tmp_path / "config.yaml").write_text("trainer: {max_steps: 8}\n")
    assert steps_of(tmp_path) == (0, 8)
    (tmp_path / "metrics.csv").write_text("epoch,step,loss\n0,0,1.5\n0,3,1.25\n0,4")
    assert steps_of(tmp_path) == (4, 8)  # a row that is half written does not count
    (tmp_path / "summary.json").write_text('{"steps": 8, "sha256": "0"}')
    assert steps_of(tmp_path) == (8, 8)


def test_whoever_waits_is_told_how_far_all_runs_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in (("one", "step\n0\n1\n"), ("other", "step\n0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("trainer: {max_steps: 4}\n")
        (tmp_path / name / "metrics.csv").write_text(rows)
    with watched(tmp_path, "1 of 2, networks"):
        pass
    assert "1 of 2, networks: 38 %, 3 of 8 steps" in capsys.readouterr().err


def test_what_is_not_known_yet_is_not_written() -> None:
    log = StringIO()
    with progress(0, "trainings", "steps", file=log) as bar:
        assert not log.getvalue()
        bar.total = 4
        bar.update(4)
    assert log.getvalue().startswith("trainings: 100 %, 4 of 4 steps")
