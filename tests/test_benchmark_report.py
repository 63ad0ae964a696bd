"""The benchmark's page in a real browser, its tables as files, and TensorBoard's folder."""

import html.parser
import io
import math
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from browser import BROWSER, ask
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_benchmark import FEW, settings

from cf.bench.contest import BenchmarkResults, run_benchmark
from cf.bench.contestants.network import Network
from cf.bench.ranking import Cell, Headline
from cf.report.board import write_benchmark_board
from cf.report.charts import against, looks
from cf.report.long_tables import long_tables, per_window
from cf.report.page import write_report
from cf.report.page_tables import duration
from cf.report.tables import write_tables
from cf.stats.paired import Interval
from cf.video.reader import read_video

USED = """
const videos = [...document.querySelectorAll('.players.shown video')];
await Promise.all(videos.map((video) => video.readyState >= 2 ? 0
  : new Promise((done) => video.addEventListener('loadeddata', done))));
document.getElementById('play').click();
await new Promise((done) => setTimeout(done, 1500));
const times = videos.map((video) => video.currentTime);
document.getElementById('play').click();
const seek = document.getElementById('seek');
seek.value = 500; seek.dispatchEvent(new Event('input'));
await new Promise((done) => setTimeout(done, 300));
const half = videos.map((video) => video.currentTime / video.duration);
const rows = () => [...document.querySelectorAll('.tab.shown tbody th')];
const names = () => rows().map((th) => th.textContent);
const heads = document.querySelectorAll('.tab.shown thead button');
heads[1].click(); const falling = names();
heads[1].click(); const rising = names();
const tab = document.querySelector('.tabs button'); tab.click();
return {times, half, falling, rising, tab: document.querySelector('.tab.shown').dataset.tab,
  wide: document.documentElement.scrollWidth <= window.innerWidth,
  resources: performance.getEntriesByType('resource').map((one) => one.name)};
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkResults, Path]:
    folder = tmp_path_factory.mktemp("report")
    more = ("headline=[temporal_flickering]", "single_file=false")
    contest = run_benchmark(settings(*FEW, *more, "networks={away: nowhere}"), folder)
    write_report(contest, write_tables(contest, folder), folder)
    return contest, folder


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_players_run_in_step_tables_sort_and_nothing_is_fetched(
    shown: tuple[BenchmarkResults, Path],
) -> None:
    pytest.importorskip("aiohttp")
    page = shown[1] / "index.html"
    found, errors, asked = ask(page, USED)
    assert errors == []
    assert all(address.startswith(("file:", "data:")) for address in asked + found["resources"])
    assert len(found["times"]) == 4
    assert min(found["times"]) > 0.3
    assert max(found["times"]) - min(found["times"]) < 0.3
    assert all(abs(half - 0.5) < 0.05 for half in found["half"])
    assert sorted(found["falling"]) == sorted(found["rising"])
    table = pd.read_csv(shown[1] / "headline.csv")
    values = table[table["seconds"] == 3].set_index("contestant")["value"]
    for names, falling in ((found["falling"], True), (found["rising"], False)):
        ordered = [values[name] for name in names]
        assert ordered == sorted(ordered, reverse=falling)
    assert found["tab"] == "2"
    assert found["wide"]


class Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [v for k, v in attrs if k in ("src", "href") and v and tag != "a"]


@pytest.mark.whole
def test_the_page_names_nothing_outside_its_folder(shown: tuple[BenchmarkResults, Path]) -> None:
    text = (shown[1] / "index.html").read_text()
    links = Links()
    links.feed(text)
    files = [link for link in links.found if not link.startswith("data:")]
    assert any(link.endswith(".mp4") for link in files)
    assert any(link.endswith(".png") for link in files)
    assert all((shown[1] / link).is_file() for link in files)
    assert "nowhere not found" in text
    assert "not comparable" in text
    assert "Nobody is ranked" in text  # the gates' metrics were not measured


def test_one_file_holds_all(shown: tuple[BenchmarkResults, Path], tmp_path: Path) -> None:
    contest, folder = shown
    contest.settings["single_file"] = True
    try:
        page = write_report(contest, long_tables(contest), folder)
    finally:
        contest.settings["single_file"] = False
    links = Links()
    links.feed(page.read_text())
    assert all(link.startswith("data:") for link in links.found)


@pytest.mark.whole
def test_tensorboard_shows_contestants_side_by_side(shown: tuple[BenchmarkResults, Path]) -> None:
    contest, folder = shown
    root = write_benchmark_board(contest, long_tables(contest), folder)
    assert {path.name for path in root.iterdir()} == set(contest.made)
    events = EventAccumulator(str(root / "truth"))
    events.Reload()
    tags = events.Tags()
    curve = next(tag for tag in tags["scalars"] if tag.startswith("over_time/"))
    assert [one.step for one in events.Scalars(curve)] == [0, 10, 20]
    assert any(tag.startswith("videos/") for tag in tags["images"])
    picture = next(tag for tag in tags["images"] if tag.startswith("videos/"))
    assert events.Images(picture)[0].encoded_image_string.startswith(b"GIF8")
    with Image.open(io.BytesIO(events.Images(picture)[0].encoded_image_string)) as moving:
        file = folder / "videos" / "truth" / picture.removeprefix("videos/") / "video.mp4"
        whole = read_video(file)
        stride = -(-len(whole) // 48)
        assert moving.n_frames == len(whole[::stride])
        moving.seek(moving.n_frames - 1)
        last = torch.from_numpy(np.asarray(moving.convert("RGB")) / 255).permute(2, 0, 1)
        shrink = whole.shape[-1] // moving.width
        assert (last - whole[::stride][-1, :, ::shrink, ::shrink]).abs().mean() < 0.03
    assert any(tag.startswith("headline/") for tag in tags["scalars"])
    for one in contest.entered:
        if one.name in contest.made:
            events = EventAccumulator(str(root / one.files)).Reload()
            told = str(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
            assert "memory" in told
            assert ("num_steps=" in told) == isinstance(one.contestant, Network), told
    assert any(isinstance(one.contestant, Network) for one in contest.entered)


@pytest.mark.whole
def test_tensorboards_headlines_are_those_of_the_page(
    shown: tuple[BenchmarkResults, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Means over prompts; a metric's own value, such as a ratio of sums, may be another."""
    contest, folder = shown
    ((metric, cell),) = contest.last.cells["truth"].items()
    monkeypatch.setitem(
        cast(dict[str, Cell], contest.last.cells["truth"]), metric, replace(cell, value=9.0)
    )
    root = write_benchmark_board(contest, long_tables(contest), folder)
    events = EventAccumulator(str(root / "truth")).Reload()
    (told,) = events.Scalars(f"headline/{metric}@{contest.last.seconds:g}s")
    assert told.value == pytest.approx(cell.shown)


@pytest.mark.whole
def test_recall_is_a_heat_map_of_contestants_by_lag_and_time(
    shown: tuple[BenchmarkResults, Path], tmp_path: Path
) -> None:
    contest, _ = shown
    made = {}
    for i, (name, one) in enumerate(contest.made.items()):
        longest = max(one.results)
        metric, result = next(
            (key, each) for key, each in one.results[longest].items() if each.per_window
        )
        lags = torch.tensor([0.0, 2.0, 4.0])
        curves = {"lags": lags, "by_lag": torch.tensor([1.0, 0.5, math.nan]) / (i + 1)}
        known = {metric: replace(result, curves=curves)}
        made[name] = replace(one, results={longest: known})
    tables = {"per_window": per_window(made)}
    root = write_benchmark_board(replace(contest, made=made), tables, tmp_path)
    events = EventAccumulator(str(root / "_together")).Reload()
    tags = {f"recall_by_lag/{metric}", f"recall_over_time/{metric}"}
    assert set(events.Tags()["images"]) == tags
    for tag in tags:
        assert events.Images(tag)[0].encoded_image_string.startswith(b"\x89PNG")


def test_names_of_points_that_lie_together_stand_apart() -> None:
    names = ["context_forcing", "longlive", "infinity_rope", "alone"]
    at = [0.5, 0.5, 0.5, 0.9]
    cells = {
        name: Cell("metric", value, Interval(value, math.nan, math.nan, 0.95, "none", 1), value, 1)
        for name, value in zip(names, at, strict=True)
    }
    drawing = against(cells, cells, {"alone"}, looks(names, []), "across | up")
    crosses = against(cells, cells, set(), looks(names, []), "across | up")
    assert drawing != crosses
    found = re.findall(r'text-anchor: (\w+)[^>]* y="([\d.]+)"[^>]*>([a-z_]+)<', drawing)
    places = {name: (side, float(down)) for side, down, name in found if name in names}
    assert set(places) == set(names), drawing
    for (side, down), (other, below) in combinations([places[name] for name in names[:3]], 2):
        assert side != other or abs(down - below) > 6


def test_bars_are_drawn_to_the_scale_of_those_who_are_compared() -> None:
    """The truth's 100 dB left the others a tenth of the axis."""
    values = {"truth": 100.0, "good": 28.0, "bad": 18.0}
    cells = {
        name: {"PSNR": Cell("PSNR", at, Interval(at, at - 1, at + 1, 0.95, "bca", 9), at, None)}
        for name, at in values.items()
    }
    count = dict.fromkeys(values, 0)
    table = Headline(20.0, {"PSNR": True}, cells, {name: {} for name in values}, count, count)
    rows = duration(table, looks([*values], ["truth"]), ["truth"])["rows"]
    bars = {row["name"]: row["cells"][0]["bar"] for row in rows}
    assert bars["truth"] is None
    assert bars["bad"]["low"] == 4
    assert bars["good"]["low"] + bars["good"]["width"] == 96
    alone = duration(table, looks([*values], [*values]), [*values])["rows"]
    assert all(row["cells"][0]["bar"] for row in alone)
