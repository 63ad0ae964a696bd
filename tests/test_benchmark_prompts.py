"""Suites of prompts, run from end to end by a tiny network that reads text."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from commands import give
from tiny_text import published

FOX, SEA = "a red cat", "cat runs"  # words that the tiny umT5 knows
SUITES = {
    "vbench": ("json", ("asked.seeds=[0,1]",)),
    "moviegen": ("txt", ()),
    "cf100": ("csv", ("asked.count=2", "asked.seeds=[0]")),
    "rollf200": ("txt", ()),
    "interactive_prompts": ("jsonl", ("~metrics.segment_text", "~metrics.switch_response")),
}
MODEL = "contestants.drawn.model"
DRAWN = (
    "contestants=none",
    "+contestant@contestants.drawn=untrained",
    f"{MODEL}.control_dim=null",
    f"+{MODEL}.text_dim=16",
    f"{MODEL}.prediction=velocity",  # an untrained x0 is grey, whatever the noise
    "text@contestants.drawn.text=umt5",
    "contestants.drawn.text.dtype=float32",
    "asked.fps=8",
    "asked.size=[32,32]",
    "durations=[1,2]",
    "workers=0",
    "devices=cpu",
    "metrics=none",
    "+metrics.temporal_flickering._target_=cf.metrics.TemporalFlickeringVBench",
    "+metrics.subject_consistency._target_=cf.metrics.SubjectConsistencyVBench",
    "+metrics.subject_consistency.extractor="
    "{_target_: cf.metrics.extractors.dino.Dino, name: dino-vitb16}",
    "headline=[temporal_flickering,subject_consistency]",
    "tensorboard=false",
)


def _csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["prompt_id", "prompt"], ["fox", FOX], ["sea", SEA]])


LISTS: dict[str, Callable[[Path], object]] = {
    "json": lambda path: path.write_text(json.dumps([{"prompt_en": FOX}, {"prompt_en": SEA}])),
    "txt": lambda path: path.write_text(f"{FOX}\n\n{SEA}\n"),
    "csv": _csv,
    "jsonl": lambda path: path.write_text(
        json.dumps({"prompt_id": "turn", "segments": [[0, FOX], [1, SEA]]})
        + "\n"
        + json.dumps({"prompt_id": "stay", "text": FOX})
        + "\n"
    ),
}


@pytest.fixture(scope="module")
def umt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("published"))


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_of_prompts_runs_from_end_to_end(
    suite: str,
    tmp_path: Path,
    umt5: Path,
) -> None:
    kind, more = SUITES[suite]
    listed = tmp_path / f"prompts.{kind}"
    LISTS[kind](listed)
    given = (*DRAWN, f"contestants.drawn.text.folder='{umt5}'", *more)
    places = (f"asked.file='{listed}'", f"export_vbench='{tmp_path / 'vbench'}'", "shown=9")
    out = tmp_path / "out"
    give("cf.benchmark", f"suite={suite}", *given, *places, f"hydra.run.dir='{out}'")
    rows = pd.read_csv(out / "per_video.csv")
    assert (rows["status"] == "done").all()
    assert set(rows["seconds"]) == {1, 2}
    assert rows["value"].notna().all()
    first = rows[rows["seconds"] == 1].set_index("video")["frames_sha256"]
    assert first.nunique() == len(first)  # each prompt and seed has noise of its own
    page = (out / "index.html").read_text()
    assert FOX in page
    reason = json.loads((out / "results.json").read_text())["unavailable_metrics"]
    assert set(reason) == {"subject_consistency"}  # its weights are not here
    assert "dino" in reason["subject_consistency"]
    assert "Not measured (1)" in page
    seeds = 2 if suite == "vbench" else 1
    exported = pd.read_csv(tmp_path / "vbench" / "drawn" / "prompts.csv")
    texts = [FOX, FOX] if kind == "jsonl" else [FOX, SEA]  # those of a switch begin with one text
    assert sorted(exported["prompt"]) == sorted(text for text in texts for _ in range(seeds))
    assert set(exported["path"]) == {one.name for one in (tmp_path / "vbench/drawn").glob("*.mp4")}
    assert exported["path"].nunique() == len(first)  # each video has a file
    for text in set(texts):
        assert f"{text}-0.mp4" in set(exported["path"])


@pytest.mark.slow
def test_texts_of_a_switching_prompt_are_told_to_the_metrics(tmp_path: Path, umt5: Path) -> None:
    listed = tmp_path / "prompts.jsonl"
    LISTS["jsonl"](listed)
    mine = "metrics.segment_text.extractor"  # the other takes the same
    give(
        "cf.benchmark",
        "suite=interactive_prompts",
        *DRAWN,
        f"contestants.drawn.text.folder='{umt5}'",
        f"asked.file='{listed}'",
        f"~{mine}",
        f"+{mine}._target_=metrics_sets.Shrunken",
        "headline=[segment_text,switch_response]",
        f"hydra.run.dir='{tmp_path / 'out'}'",
    )
    rows = pd.read_csv(tmp_path / "out" / "per_video.csv").set_index(["metric", "video", "seconds"])
    value = rows["value"].unstack()
    before, both = value.loc[("SegmentTextSimilarity[shrunken]", "turn-0")]
    assert value.loc[("SegmentTextSimilarity[shrunken]", "stay-0")].notna().all()
    assert before != both
    response = value.loc["SwitchResponse[shrunken]"]
    assert response.loc["stay-0"].isna().all()
    assert response.loc["turn-0"].isna().tolist() == [True, False]  # it turns at 1 s
    windows = pd.read_csv(tmp_path / "out" / "per_window.csv").query("video == 'turn-0'")
    curve = windows[windows["metric"] == "SegmentTextSimilarity[shrunken]"]
    assert curve["second"].tolist() == [0, 1]
    assert curve["value"].mean() == pytest.approx(both)
    assert curve["value"].iloc[0] == pytest.approx(before)
