"""A command with workers whose parent is killed: nobody writes on, and it goes on to the end."""

import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from commands import begin, give
from test_benchmark import FEW, SMALL

pytestmark = pytest.mark.whole

SETTINGS = (
    *(one for one in SMALL if not one.startswith("workers=")),
    *FEW,
    "asked.worlds=3",
    "report=false",
    "tensorboard=false",
)


def rows(folder: Path) -> pd.DataFrame:
    """What the benchmark measured of every video."""
    return pd.read_csv(folder / "per_video.csv").drop(columns="seconds_taken", errors="ignore")


def written(folder: Path) -> dict[str, int]:
    """When each file was written."""
    return {str(one): one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()}


@pytest.mark.slow  # two workers import what they measure with
def test_workers_of_a_killed_benchmark_end_and_the_command_goes_on(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    given = ["workers=2", *SETTINGS, f"hydra.run.dir={killed}"]
    with begin(("cf.benchmark", given), tmp_path / "log") as running:
        assert running.until(lambda: any(killed.glob("videos/*/*/row.json")), 120)
        running.send(signal.SIGKILL, group=False)
        assert running.ended(10) == -signal.SIGKILL
        assert running.outlived(5) == 0
        before = written(killed)
        time.sleep(0.5)
        assert written(killed) == before
    assert len(list(killed.glob("videos/*/*/row.json"))) < 12, "it was killed too late"
    for folder in (killed, whole):
        give("cf.benchmark", "workers=0", *SETTINGS, f"hydra.run.dir={folder}")
    pd.testing.assert_frame_equal(rows(killed), rows(whole), check_exact=True)
    assert {str(one.relative_to(killed)) for one in killed.rglob("*")} == {
        str(one.relative_to(whole)) for one in whole.rglob("*")
    }
