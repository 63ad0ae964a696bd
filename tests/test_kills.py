"""Commands that are killed while their workers write leave nobody behind, and end as if not."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from kills import files
from kills_cases import cases, prepare
from kills_compared import differences, held
from warm import begin, run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["benchmark", "recall"])
def test_what_shares_its_work_among_processes_survives_a_kill(name: str, tmp_path: Path) -> None:
    prepare(tmp_path, [name])
    case, log = cases(tmp_path)[name], tmp_path / "log"
    folder, whole = tmp_path / "out", tmp_path / "whole"
    run(case.start(folder), tmp_path)
    folder.rename(whole)
    with begin(case.start(folder), log) as running:
        made = {"benchmark": 5, "recall": 1}[name]  # files; recall's are made in the end
        assert running.until(lambda: running.processes() > 2 and files(folder) > made, 60)
        running.send(signal.SIGKILL, group=False)
        assert running.ended(60) == -signal.SIGKILL
        assert running.outlived(15) == 0
    run(case.again(folder), tmp_path)
    assert differences(held(whole), held(folder), named(whole)) == ([], [])


def named(folder: Path) -> set[str]:
    """Files with times in them, or the folder's name."""
    pages = (".md", ".html", ".png", ".json", ".yaml")
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.suffix in pages}
