"""How far trainings are, for those who wait for a sweep."""

import pickle
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cf.runs.sweep_progress import SweepProgress, count_runs
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


def test_runs_that_have_not_begun_count_where_their_number_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of `-m seed=1,2,3`, side by side, have no folders before they begin."""
    begun(tmp_path / "0", 20, 10)
    with watched(tmp_path, "runs", 3):
        pass
    assert "runs: 17 %, 10 of 60 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        (["seed=1,2,3", "data.size=[48,80]"], 3),
        (["seed=1,2,3", "memory=full,sliding"], 6),
        (["seed=range(4)", "prompt='a, b'"], 4),
        (["seed=1"], 1),
    ],
)
def test_a_sweep_of_ones_own_is_counted_as_it_is_typed(typed: list[str], count: int) -> None:
    assert count_runs(typed) == count


def test_a_sweep_of_ones_own_says_which_run_begins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One after the other, with the time that the rest may take; handed to others, without."""
    now = iter([0.0, 600.0])
    monkeypatch.setattr("cf.runs.sweep_progress.time.monotonic", lambda: next(now))
    chosen = {"hydra/sweeper": "basic", "hydra/launcher": "basic"}
    hydra = {"runtime": {"choices": chosen}, "overrides": {"task": ["seed=1,2,3"]}}
    told = OmegaConf.create({"hydra": {**hydra, "job": {"num": 0}}})
    progress = SweepProgress()
    with caplog.at_level("INFO", "cf.fit"):
        progress.on_multirun_start(told)
        progress.on_job_start(told)
        beside = pickle.loads(pickle.dumps(progress))
        progress.on_job_end(told, None)
        told.hydra.job.num = 1
        progress.on_job_start(told)
        beside.on_job_start(told)
    assert caplog.messages == [
        "run 1 of 3",
        "run 2 of 3, 10 min gone, some 20 to go",
        "run 2 of 3",
    ]


def test_a_single_run_and_a_sweep_in_stages_say_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    staged = {"runtime": {"choices": {"hydra/sweeper": "stages"}}, "job": {"num": 0}}
    with caplog.at_level("INFO", "cf.fit"):
        for of_a_sweep in (False, True):
            progress, told = SweepProgress(), OmegaConf.create({"hydra": staged})
            if of_a_sweep:
                progress.on_multirun_start(told)
            progress.on_job_start(told)
    assert not caplog.messages
