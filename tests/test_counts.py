"""A number of things is told in words that agree with it."""

import re
from pathlib import Path

import pytest
from test_benchmark import FEW, settings

import cf
from cf.bench.contest import run_benchmark
from cf.files.counts import so_many
from cf.report.tables import write_tables

COUNTED = "videos|prompts|worlds|clips|texts|contestants|trainings|files|windows"
TWO_OR_MORE = (
    "{times} videos named",
    "{self.count} clips",
    "{int(shard[3])} files",
    "{_ATTEMPTS} clips",
)
TOLD = re.compile(rf"(?<!of )(?<!least=)(\{{[^{{}}]*\}}|%d) ({COUNTED})\b")


@pytest.mark.parametrize("kind", ["py", "html"])
def test_no_text_has_a_plural_whatever_the_number(kind: str) -> None:
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(Path(cf.__file__).parent.rglob(f"*.{kind}"))
        for line in path.read_text().splitlines()
        if TOLD.search(line) and not any(one in line for one in TWO_OR_MORE)
    ]
    assert not found, "one of them may be 1: cf.files.counts.so_many"


@pytest.mark.parametrize(("count", "told"), [(0, "0 prompts"), (1, "1 prompt"), (2, "2 prompts")])
def test_only_one_is_singular(count: int, told: str) -> None:
    assert so_many(count, "prompt") == told


def test_a_table_of_one_prompt_says_so(tmp_path: Path) -> None:
    contest = run_benchmark(settings(*FEW, "asked.worlds=1", "durations=[2]"), tmp_path)
    write_tables(contest, tmp_path)
    assert "## 2 s, 1 prompt\n" in (tmp_path / "results.md").read_text()
    assert "% 2 s, 1 prompt\n" in (tmp_path / "results.tex").read_text()
