"""What two folders of videos become: a page, a paper's table, and VBench's names."""

import json
import math
import re
from pathlib import Path

import pytest
from browser import BROWSER, ask
from commands import give
from hydra import compose, initialize_config_dir
from test_evaluate import drawn

from cf.evaluation.comparisons import compare_all
from cf.evaluation.measure import Measured
from cf.evaluation.summary import summary
from cf.evaluation.videos import Listed
from cf.metrics.result import Result
from cf.paths import CONFIG_DIR
from cf.report.vbench import dimensions
from cf.video.playable import plays_in_browsers

LOOKED = """
const videos = [...document.querySelectorAll('.players.shown video')];
await Promise.all(videos.map((video) => video.readyState >= 2 ? 0
  : new Promise((done) => video.addEventListener('loadeddata', done))));
const right = (one) => one.getBoundingClientRect().right;
return {players: videos.map((video) => video.duration), wide: window.innerWidth,
  across: document.documentElement.scrollWidth,
  cut: [...document.querySelectorAll('.headline .value, .headline small')]
    .filter((one) => right(one) > window.innerWidth).length};
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of two folders, the second of which flickers more and has a shorter video."""
    folder = tmp_path_factory.mktemp("page")
    for i in range(4):
        drawn(folder / "calm" / f"{i}.mp4", i, frames=24, noise=0.01)
        drawn(folder / "wild" / f"{i}.mp4", i, frames=16 if i else 24, noise=0.1)
    (folder / "wild" / "9.mp4").write_text("no video")
    given = f"videos=['{folder}/calm','{folder}/wild']"
    give("cf.evaluate", given, "metrics=quick", f"hydra.run.dir='{folder}/out'")
    return folder / "out"


@pytest.mark.whole
def test_two_folders_become_a_page_a_table_and_a_leaderboards_file(compared: Path) -> None:
    page = (compared / "index.html").read_text()
    assert page.count("<video ") == 6
    assert page.count("<img ") == 2
    assert "wild" in page
    assert "9.mp4" in page
    for name in re.findall(r'src="([^"]+)"', page):
        assert (compared / name).stat().st_size > 0
    assert not re.findall(r'(?:src|href)="(?!data:|#|media/)', page)
    # A shorter video costs nobody a value: likeness is measured over the common beginning.
    told = json.loads((compared / "summary.json").read_text())["contestants"]
    drift = "AppearanceDrift[handcrafted-v2]"
    assert all(told[name][drift]["over_prompts"]["units"] == 4 for name in ("calm", "wild"))
    assert told["calm"][drift]["provenance"]["seconds"] == 2.0
    board = json.loads((compared / "vbench" / "wild_eval_results.json").read_text())
    score, videos = board["temporal_flickering"]
    assert set(board) == {"temporal_flickering"}
    assert score == told["wild"]["vbench_temporal_flickering"]["value"]
    assert [one["video_path"] for one in videos] == [f"{i}.mp4" for i in range(4)]


def test_who_wins_by_standing_still_is_told_to_fail_the_gates(tmp_path: Path) -> None:
    """On the page, in the table and in its LaTeX; gates that nobody measured are named."""
    for i in range(4):
        drawn(tmp_path / "real" / f"{i}.mp4", i, noise=0.1)
        drawn(tmp_path / "still" / f"{i}.mp4", i)
    given = f"videos=['{tmp_path}/real','{tmp_path}/still']"
    gate = "+metric@metrics.static_fraction=static_fraction"
    metrics = ("metrics=none", "+metric@metrics.flickering=temporal_flickering", gate)
    give("cf.evaluate", given, *metrics, f"hydra.run.dir='{tmp_path}/out'")
    told = json.loads((tmp_path / "out/summary.json").read_text())
    assert told["places"]["vbench_temporal_flickering"][0]["name"] == "still"
    assert told["gates"]["still"] == {
        "prompts": 4,
        "failing": 4,
        "unjudged": 0,
        "by_gate": {"StaticFraction[dis] ≤ 0.5": 4},
    }
    assert told["gates"]["real"]["failing"] < 4
    assert "loop_rate" in told["gates_not_measured"]
    for name in ("index.html", "summary.md", "table.tex"):
        text = (tmp_path / "out" / name).read_text()
        assert "prompts that fail a gate" in text
        assert "4 of 4" in text
        assert name == "table.tex" or "not measured: motion_retention, motion_smoothness" in text


def test_every_gate_has_its_metric_in_the_default_set() -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        cfg = compose("evaluate", ["videos=clips"])
    assert cfg.gates
    assert {*cfg.gates} <= {*cfg.metrics}


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_page_plays_and_fits_a_phone(compared: Path) -> None:
    pytest.importorskip("aiohttp")
    seen, errors, _ = ask(compared / "index.html", LOOKED, width=360)
    assert errors == []
    assert seen == {"players": [3, 3], "wide": 360, "across": 360, "cut": 0}


def test_only_vbenchs_own_formula_and_network_bear_its_names() -> None:
    def one(name: str, **extras: float) -> Result:
        return Result(name, 0.5, True, {1: 0.25, 2: float("nan")}, extras=extras)

    results = [
        one("vbench_subject_consistency[dino-vitb16]"),
        one("vbench_background_consistency[handcrafted-v2]"),
        one("vbench_motion_smoothness[linear]"),
        one("DynamicDegree[raft-things]", vbench_dynamic_degree=0.75),
    ]
    found = dimensions({one.name: one for one in results}, {1: "a.mp4", 2: "b.mp4"})
    assert found == {
        "subject_consistency": (0.5, [{"video_path": "a.mp4", "video_results": 0.25}]),
        "dynamic_degree": (0.75, []),
    }


def test_what_browsers_play_is_told_by_the_stream(tmp_path: Path) -> None:
    plain = drawn(tmp_path / "a.mp4", frames=2)
    assert plays_in_browsers(plain)
    assert not plays_in_browsers(plain.rename(tmp_path / "a.mkv"))
    (tmp_path / "text.mp4").write_text("no video")
    assert not plays_in_browsers(tmp_path / "text.mp4")


def test_a_summary_counts_reasons_by_kind_and_tells_what_bounds_a_number() -> None:
    videos = [Listed("ours", f"{i}.mp4", Path(f"{i}.mp4"), str(i)) for i in range(3)]
    reasons = {one.video_id: f"it lasts 0.{i} s" for i, one in enumerate(videos)}
    results = {
        "short": Result("short", math.nan, None, dict.fromkeys(reasons, math.nan), {**reasons}),
        "horizon": Result("horizon", 4.0, True, {}, {None: "> 4 s: more than half last"}),
    }
    measured = Measured(videos, {}, {}, {"ours": results})
    text = summary(measured, compare_all(measured), {})
    assert "- ours, short, 3 videos: it lasts 0.0 s" in text
    assert "none (it lasts 0.0 s (3 of 3 videos))" in text
    assert "- ours, horizon: > 4 s: more than half last" in text
