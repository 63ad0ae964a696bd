"""What cannot be right is told in one message: the fastest of benchmarks/malformed.py."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from malformed import CASES, Case, answered
from malformed_files import write

EVERY = 10  # the others are tried by the script itself
CHOSEN = [case for case in CASES if case.command in ("generate", "memory_map", "compare")][::EVERY]
CHOSEN += [case for case in CASES if case.command in ("evaluate", "recall", "demo", "fit")][::EVERY]
ONCE_WRONG = {
    ("generate", "device=5"),
    ("generate", "seconds = 5"),
    ("generate", "seconds=1,5"),
    ("generate", "prompts={0:a}"),
    ("fit", "optimizer.lr=-1"),
    ("evaluate", "videos=loop"),
    ("evaluate", "metrics=5"),
    ("evaluate", "+metrics.x=5"),
    ("benchmark", "devices=[]"),
    ("benchmark", "headline=[]"),
    ("benchmark", "asked.given_seconds=-1"),
    ("memory_map", "docs=file.txt"),
    ("compare", "loop"),
}
CHOSEN += [case for case in CASES if (case.command, case.arguments[-1]) in ONCE_WRONG]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("malformed")
    write(folder)
    yield folder
    (folder / "pipe").unlink()


def test_there_are_two_hundred_of_them() -> None:
    assert len({(case.command, case.arguments) for case in CASES}) >= 200
    assert {(case.command, case.arguments[-1]) for case in CASES} >= ONCE_WRONG


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: " ".join(case.arguments)[-40:])
def test_it_is_told_in_one_message(
    case: Case, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logging.raiseExceptions", False)
    assert answered(case, place).faults(case) == []
