"""`cf.compare`: runs, results folders and csv files side by side."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Command, give

from cf.bench.compared import pairs, read
from cf.statistics import compare


def scores(path: Path, shift: float, prompts: int = 12) -> Path:
    random = np.random.default_rng(0)
    base = np.repeat(random.normal(size=prompts), 2)
    noise = np.random.default_rng(int(shift * 10)).normal(scale=0.05, size=2 * prompts)
    table = pd.DataFrame(
        {
            "prompt": [f"p{i // 2}" for i in range(2 * prompts)],
            "seed": [0, 1] * prompts,
            "quality": base + shift + noise,
            "reasons": "",
        }
    )
    table.to_csv(path, index=False)
    return path


def test_csv_files_are_paired_by_prompt(tmp_path: Path) -> None:
    a, b = scores(tmp_path / "a.csv", 0.0), scores(tmp_path / "b.csv", 0.3)
    (row,) = pairs([*read(a), *read(b)]).to_dict("records")
    (first,), (second,) = read(a), read(b)
    expected = compare(first.values["quality"], second.values["quality"])
    assert row["pairs"] == 12
    assert row["difference"] == expected.difference.value == pytest.approx(-0.3, abs=0.05)
    assert row["p"] == row["p_holm"] == 2 / 2**12
    assert set(first.values) == {"quality"}


def test_trainings_are_one_pair_and_no_p_says_anything(tmp_path: Path) -> None:
    for name, loss in (("a", 0.5), ("b", 0.25)):
        (tmp_path / name).mkdir()
        table = pd.DataFrame({"step": [0, 9], "train/loss": [1.0, loss], "val/x": [2.0, np.nan]})
        table.to_csv(tmp_path / name / "metrics.csv", index=False)
    rows = pairs([*read(tmp_path / "a"), *read(tmp_path / "b")]).set_index("metric")
    assert rows.loc["train/loss", "difference"] == 0.25
    assert rows.loc["val/x", "difference"] == 0  # the last value that was logged
    assert rows.loc["train/loss", "p"] == 1
    assert "p cannot fall below 1" in rows.loc["train/loss", "note"]


def test_what_was_not_measured_alike_is_not_compared(tmp_path: Path) -> None:
    for name, told in (("a", "1234"), ("b", "5678")):
        (tmp_path / name).mkdir()
        lines = [("x", f"p{i}", 5.0, "quality", float(i), told) for i in range(4)]
        columns = ["contestant", "prompt", "seconds", "metric", "value", "measured_as"]
        table = pd.DataFrame(lines, columns=columns)
        table.to_csv(tmp_path / name / "per_video.csv", index=False)
    (row,) = pairs([*read(tmp_path / "a"), *read(tmp_path / "b")]).to_dict("records")
    assert row["note"] == "not measured alike; not compared"
    assert np.isnan(row["difference"]) if "difference" in row else True


def test_the_command_writes_the_comparison(tmp_path: Path) -> None:
    a, b = scores(tmp_path / "a.csv", 0.0), scores(tmp_path / "b.csv", 0.3)
    give("cf.compare", f"runs=['{a}','{b}']", f"hydra.run.dir='{tmp_path / 'out'}'")
    assert "| quality | a | b |" in (tmp_path / "out" / "compare.md").read_text()


@pytest.mark.parametrize(
    ("runs", "named"), [("null", "runs must be given"), ("[nowhere]", "nowhere holds no scores")]
)
def test_it_refuses_in_one_message(runs: str, named: str, refused: Command) -> None:
    assert named in refused("cf.compare", f"runs={runs}")
