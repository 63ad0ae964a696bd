"""Names in settings and cells in tables are checked before the work, by file and line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cf.comparing.scores import read_scores, select
from cf.comparing.trainings import read_training

SMOKE = ("suite=smoke", "workers=0", "devices=cpu", "report=false", "tensorboard=false")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("headline=[atribute_recall]", "headline: 'atribute_recall'.*'attribute_recall' meant"),
        (
            "headline=[subject_consistency]",
            "headline: 'subject_consistency' is none of the metrics",
        ),
        ("gates={lop_rate: [0,1]}", "gates: .*'lop_rate'; did you mean loop_rate"),
        ("gates.static_fraction=[2,1]", r"gates.static_fraction=\[2.*lets nothing through"),
        ("pareto.up=consistency", "pareto: 'consistency'"),
        ("unranked=[truht]", "unranked: 'truht'.*'truth' meant"),
    ],
)
@pytest.mark.whole
def test_a_wrong_name_is_told_before_the_work(
    setting: str, told: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert re.search(told, refused("cf.benchmark", *SMOKE, setting, f"hydra.run.dir='{out}'"), re.S)
    assert not (out / "videos").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt,score\na,1\nb,often\nc,2", "line 3: score is 'often'"),
        ("prompt,score\na,1\nb", "line 3: it has 1 cells"),
        ('prompt,score\na,1\n"b,2', "from line 3"),
        ("prompt,metric\na,b", "needs contestant, seconds, value, measured_as too"),
        ("", "is empty"),
        ("prompt,score,score\na,1,2", "'score' comes twice"),
    ],
)
def test_scores_name_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv.*{told}"):
        read_scores(tmp_path / "a.csv")


def test_scores_are_read_in_any_encoding_and_words_stay_words(tmp_path: Path) -> None:
    text = "prompt;score\r\nnull;1\r\nnan;2\r\n\u00e9;\r\n"
    (tmp_path / "a.csv").write_bytes(text.encode("utf-16"))
    (side,) = read_scores(tmp_path / "a.csv")
    assert {k: v for k, v in side.values["score"].items() if k != "\u00e9"} == {"null": 1, "nan": 2}
    with pytest.raises(ValueError, match=r"only: scor is none of score \(is 'score' meant"):
        select([side], ["scor"])


@pytest.mark.parametrize(
    ("table", "config", "told"),
    [
        ("step,loss\n1,0.5\ntwo,0.4", "", r"metrics\.csv, line 3: step is 'two'"),
        ("loss\n0.5", "", r"metrics\.csv has no column 'step'"),
        ("step,loss\n", "", r"metrics\.csv holds no logged step"),
        ("step,loss\n1,0.5\n2,0.", "seed: [1", r"config\.yaml, line"),
        ("step,loss\n1,0.5\n2", "", r"metrics\.csv, line 3: it has 1 cells"),
    ],
)
def test_runs_name_file_and_line(tmp_path: Path, table: str, config: str, told: str) -> None:
    (tmp_path / "metrics.csv").write_text(table)
    if config:
        (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(ValueError, match=told):
        read_training(tmp_path)
