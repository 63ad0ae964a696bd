"""How far trainings are, for those who wait for a sweep."""

from pathlib import Path

import pytest

from cf.runs.watching import steps_of, watched, watched_runs


def begun(run: Path, asked: int, done: int) -> Path:
    """A run's folder, as far as its progress is read from it."""
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"trainer: {{max_steps: {asked}}}\n")
    rows = [f"{step},0.5" for step in range(done)]
    (run / "metrics.csv").write_text("\n".join(["step,train/loss", *rows, "9999,half of a ro"]))
    return run


def test_steps_are_those_of_whole_rows(tmp_path: Path) -> None:
    assert steps_of(tmp_path / "nothing") == (0, 0)
    assert steps_of(begun(tmp_path / "begun", 20, 5)) == (5, 20)
    assert steps_of(begun(tmp_path / "young", 20, 0)) == (0, 20)


def test_a_sweep_says_how_far_all_of_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs that have not begun count, so that time left is that of the sweep."""
    runs = [begun(tmp_path / "a", 20, 20), begun(tmp_path / "b", 20, 10)]
    with watched_runs([*runs, tmp_path / "c", tmp_path / "d"], "study"):
        pass
    assert "study: 38 %, 30 of 80 steps" in capsys.readouterr().err


def test_what_was_done_before_tells_nothing_of_the_pace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep that is taken up at nine tenths is not over in no time."""
    run = begun(tmp_path / "a", 1000, 900)
    with watched(tmp_path, "students"):
        assert run.is_dir()
    told = capsys.readouterr().err
    assert "students: 90 %, 900 of 1000 steps" in told
    assert "? to go" in told
