"""Names of strangers in pages, tables and TensorBoard: they are shown, and nothing else happens."""

import csv
import html.parser
import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
import torch
from browser import BROWSER, ask
from commands import give
from hydra import compose, initialize_config_dir
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cf.bench.contest import BenchmarkResults, run_benchmark
from cf.bench.store import folder_of
from cf.paths import CONFIG_DIR
from cf.report.board import write_benchmark_board
from cf.report.page import write_report
from cf.report.tables import write_tables
from cf.settings.build import Settings, to_settings
from cf.video.writer import VideoWriter

PWN = "<script>window.pwned=1</script>"
NAMES = [
    '"><img src=x onerror=window.pwned=1>',
    "a|b `c`",
    "=cmd|calc!A0",
    'it\'s a "fox" #1 50%',
    "two\nlines",
    r"$\frac{$ {{ 7*7 }} ${oc.env:HOME}",
    "_hidden &lt;b&gt;",
    "..up",
]
"""Of prompts, contestants and files; those of files have no slash."""
ONE_WORKER = pytest.mark.xdist_group("hostile names")
"""Of what is looked at in one benchmark, which each worker would run again."""

ASKED = (
    "suite=moviegen",
    "contestants=none",
    "asked.fps=8",
    "asked.size=[32,32]",
    "durations=[1]",
    "metrics=none",
    "+metric@metrics.loop_rate=loop_rate",
    "+metric@metrics.temporal_flicker=temporal_flicker",
    "headline=[temporal_flicker,loop_rate]",
    "workers=0",
    "devices=cpu",
)


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkResults, Path]:
    """Prompts, files and contestants with hostile names; a benchmark of a second."""
    place = tmp_path_factory.mktemp("hostile")
    (place / "films").mkdir()
    frames = torch.rand(17, 3, 1, 1).expand(-1, -1, 32, 32)
    texts = [*NAMES, PWN, "../../outside"]
    with (place / "films.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "prompt", "seed"])
        for i, text in enumerate(texts):
            path = f"{(NAMES[i] if i < len(NAMES) else str(i))}.mp4"
            with VideoWriter(place / "films" / path, 8.0, (32, 32)) as film:
                film.write(frames)
            writer.writerow([path, text, 0])
    (place / "texts.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in texts))
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        chosen = to_settings(compose("benchmark", [*ASKED, f"asked.file='{place}/texts.jsonl'"]))
    chosen["contestants"] = {name: _imported(place) for name in NAMES if not name.startswith(".")}
    chosen["contestants"][PWN] = _imported(place) | {"source": PWN, "note": PWN}
    chosen["title"] = PWN
    chosen["networks"] = {PWN + "2": PWN}
    out = place / "out"
    contest = run_benchmark(chosen, out)
    tables = write_tables(contest, out)
    write_report(contest, tables, out)
    write_benchmark_board(contest, tables, out)
    assert not (place.parent / "outside").exists()
    return contest, out


def _imported(place: Path) -> Settings:
    target = "cf.bench.contestants.imported.Imported"
    return {"_target_": target, "folder": f"{place}/films", "listed": f"{place}/films.csv"}


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers, self.links, self.text = 0, list[str](), list[str](), ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@ONE_WORKER
@pytest.mark.whole
def test_a_page_shows_them_as_they_are(contest: tuple[BenchmarkResults, Path]) -> None:
    made, folder = contest
    page = Page()
    page.feed((folder / "index.html").read_text())
    assert (page.scripts, page.handlers) == (1, [])
    assert "x" not in page.links
    shown = " ".join(page.text.split())
    for name in (PWN, *NAMES[:-1]):
        assert " ".join(name.split()) in shown, name
    assert len(made.made) == len(NAMES)
    files = [link for link in page.links if link.startswith("media/")]
    assert len(files) > 20
    assert all((folder / unquote(link)).is_file() for link in files)
    assert "pwned" in shown


@ONE_WORKER
@pytest.mark.whole
def test_tables_hold_them_whole_and_no_spreadsheet_runs_them(
    contest: tuple[BenchmarkResults, Path],
) -> None:
    made, folder = contest
    for file in folder.glob("*.csv"):
        with file.open(newline="") as text:
            rows = list(csv.reader(text))
        assert {len(row) for row in rows} == {len(rows[0])}
        cells = [cell for row in rows for cell in row]
        assert not [c for c in cells if re.match(r"[=+@\t\r]|-(?!\d)", c)], file
    lines = (folder / "results.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(made.made)
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "<script" not in "".join(lines)
    assert (folder / "results.tex").read_text().count(r"\\") == 1 + len(made.made)


@ONE_WORKER
@pytest.mark.whole
def test_what_was_not_measured_is_told_with_its_reason(
    contest: tuple[BenchmarkResults, Path],
) -> None:
    """A second tells no loop: in the csv, in markdown, on the page and in TensorBoard."""
    made, folder = contest
    gate, reason = "LoopRate ≤ 0.5: 10 (", "2"
    (told,) = {table.not_measured(name) for table in made.headlines.values() for name in made.made}
    assert told.startswith(gate)
    assert reason in told
    table = pd.read_csv(folder / "headline.csv")
    assert set(table["gates_not_measured"]) == {told}
    for text in ((folder / "results.md").read_text(), (folder / "index.html").read_text()):
        assert told in unescape(text)
        assert "not measured" in text
    events = EventAccumulator(
        str(folder / "tensorboard" / folder_of(next(iter(made.made))))
    ).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert told in content.decode(errors="replace")


@ONE_WORKER
def test_tensorboard_has_a_run_for_each(contest: tuple[BenchmarkResults, Path]) -> None:
    made, folder = contest
    runs = {one.name for one in (folder / "tensorboard").iterdir()}
    assert runs == {folder_of(name) for name in made.made}
    for run in runs:
        assert EventAccumulator(str(folder / "tensorboard" / run)).Reload().Tags()["scalars"]


@ONE_WORKER
@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_no_browser_runs_them(contest: tuple[BenchmarkResults, Path]) -> None:
    pytest.importorskip("aiohttp")
    script = """
    document.querySelectorAll('button, select, summary').forEach((one) => one.click());
    await new Promise((done) => setTimeout(done, 500));
    return {ran: window.pwned || 0, videos: document.querySelectorAll('video').length,
      broken: [...document.querySelectorAll('video')].filter((one) => one.error).length,
      wide: document.documentElement.scrollWidth <= window.innerWidth};
    """
    found, errors, asked = ask(contest[1] / "index.html", script)
    assert errors == []
    assert all(address.startswith(("file:", "data:")) for address in asked)
    assert (found["ran"], found["broken"], found["wide"]) == (0, 0, True)
    assert found["videos"] > 20


@ONE_WORKER
@pytest.mark.whole
def test_an_evaluation_of_them(contest: tuple[BenchmarkResults, Path], tmp_path: Path) -> None:
    films = contest[1].parent / "films"
    listed = tmp_path / "videos.csv"
    with listed.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "contestant", "prompt"])
        files = sorted(films.iterdir())
        rows.writerows([str(one), NAMES[i % 2 * 5], one.stem] for i, one in enumerate(files))
        (broken := tmp_path / "<img src=x>|.mp4").write_text("no video")
        rows.writerow([str(broken), NAMES[0], "broken"])
    metric = "+metric@metrics.temporal_flicker=temporal_flicker"
    out = tmp_path / "out"
    give("cf.evaluate", f"videos={listed}", "metrics=none", metric, f"hydra.run.dir='{out}'")
    lines = (out / "summary.md").read_text().splitlines()
    assert not [line for line in lines if "<img" in line]
    with (out / "per_video.csv").open(newline="") as text:
        cells = [cell for row in csv.reader(text) for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+@]", cell)]
    assert r"$\frac{$ {{ 7*7 }} ${oc.env:HOME}" in cells
    assert "<img" not in (out / "over_time.svg").read_text()
