"""The benchmark at size: processes, and how long all of it takes."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import let_workers_be_forks
from hydra import compose, initialize_config_dir
from test_benchmark import FEW, same, settings
from test_benchmark_prompts import DRAWN
from tiny_text import published

from cf.bench import runner
from cf.bench.contest import BenchmarkResults, run_benchmark
from cf.bench.metric_process import MetricProcess
from cf.bench.places import worker_count
from cf.bench.runner import TimeEstimate
from cf.files.atomic import DiskFullError
from cf.paths import CONFIG_DIR
from cf.runs import texts
from cf.settings.build import to_settings


@pytest.mark.parametrize(
    ("asked", "places", "processes"),
    [
        (None, ("cuda:0", "cuda:1", "cuda:2", "cuda:3"), 4),
        (None, ("cuda",), 1),
        (None, ("cpu",), 2),
        (0, ("cuda:0", "cuda:1"), 0),
        (3, ("cpu",), 3),
    ],
)
def test_each_gpu_has_a_process(asked: int | None, places: Sequence[str], processes: int) -> None:
    assert worker_count(asked, places) == processes


@pytest.mark.parametrize(
    ("rate", "processes", "told"),
    [
        (12.0, 4, "40 videos take about 13 min at the pace of x: 12 frames/s, measured, in each"),
        (12.0, 1, "about 53 min at the pace of x: 12 frames/s, measured"),
        (1.0, 2, "about 5.3 h at"),
        (5000.0, 1, "about 7.7 s at"),
    ],
)
def test_hours_are_frames_by_pace(rate: float, processes: int, told: str) -> None:
    assert told in TimeEstimate(40, 40 * 960, processes).told("x", rate)


def test_how_long_it_takes_is_told_once_after_the_first_blocks(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run_benchmark(settings(*FEW, "chunk_frames=8"), tmp_path)  # type: ignore[arg-type]
    shown = capsys.readouterr().err
    assert shown.count("videos take about") == 1
    assert "at the pace of" in shown


# Metrics in a process of their own

ALONE = ("contestants=none", "+contestant@contestants.truth=truth")
BROKEN = (
    "+metrics.broken={{_target_:cf.metrics.SemanticDrift,"
    "extractor:{{_target_:dying.Breaking,full:{full}}}}}"
)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkResults:
    return run_benchmark(settings(*FEW), tmp_path_factory.mktemp("together"))


@pytest.fixture(autouse=True, scope="module")
def one_process() -> Iterator[None]:
    """Tests share one as far as its room is large enough for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "MetricProcess", SimpleNamespace(end=lambda: None))
        yield
    MetricProcess.end()


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process begun afresh imports for seconds: one test does so, the others fork."""
    let_workers_be_forks(monkeypatch)


@pytest.mark.slow
def test_metrics_in_a_process_of_their_own_give_the_same_rows_even_if_it_dies(
    together: BenchmarkResults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("cf.bench.metric_process._LARGEST_SLOT", 3 * 4 * 3 * 64 * 64)  # in parts
    fed = []
    real = MetricProcess.feed

    def feed(self: MetricProcess, *given: Any) -> None:
        fed.append(1)
        if len(fed) == 3:
            let_workers_be_forks(monkeypatch)  # the first was begun afresh
            os.kill(self._process.pid, signal.SIGKILL)
        real(self, *given)

    monkeypatch.setattr(MetricProcess, "feed", feed)
    same(run_benchmark(settings(*FEW, "metrics_apart=true"), tmp_path), together)
    told = [one.getMessage() for one in caplog.records if "measures died" in one.getMessage()]
    assert len(told) == 1
    assert "SIGKILL: is there enough memory?); the video is made again" in told[0]
    kept = {file.name for file in tmp_path.glob("videos/*/*/*")}
    assert kept == {"row.json", "states.pt", "sheet.png", "video.mp4"}


@pytest.mark.usefixtures("forks")
def test_what_a_metric_process_cannot_do_is_the_row_that_it_would_be_without(
    tmp_path: Path,
) -> None:
    results = [
        run_benchmark(settings(*ALONE, BROKEN.format(full="false"), how), tmp_path / how)
        for how in ("metrics_apart=true", "metrics_apart=false")
    ]
    same(*results)
    reasons = {row["reason"] for row in results[0].made["truth"].rows}
    assert reasons == {"RuntimeError: no features"}


@pytest.mark.usefixtures("forks")
def test_a_full_disk_is_told_by_a_metric_process(tmp_path: Path) -> None:
    chosen = settings(*ALONE, BROKEN.format(full="true"), "metrics_apart=true")
    with pytest.raises(DiskFullError, match="no space is left"):
        run_benchmark(chosen, tmp_path)
    assert not list(tmp_path.glob("videos/*/.partial*"))


# Texts


@pytest.mark.whole
def test_texts_are_encoded_once_for_all_contestants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    listed = tmp_path / "prompts.txt"
    listed.write_text("a red cat runs\na cat\n")
    folder = published(tmp_path / "t5")
    drawn = [one.replace("drawn", name) for name in ("one", "two") for one in DRAWN]
    drawn += [f"contestants.{name}.text.folder='{folder}'" for name in ("one", "two")]
    given = (*dict.fromkeys(drawn), f"asked.file='{listed}'", "suite=moviegen", "metrics=none")
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        chosen = to_settings(compose("benchmark", [*given, "headline=[]", "durations=[1]"]))
    chosen |= {"metrics": {"cut_rate": {"_target_": "cf.metrics.TemporalFlickeringVBench"}}}
    built: list[str] = []
    real = texts.build
    monkeypatch.setattr(texts, "build", lambda *a: built.append(a[0]["folder"]) or real(*a))
    first = run_benchmark(chosen, tmp_path / "out")
    assert built == [str(folder)]
    assert {row["reason"] for one in first.made.values() for row in one.rows} == {""}
    same(run_benchmark(chosen, tmp_path / "again"), first)
    assert len(built) == 1, "the next benchmark finds them too"
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.unlink()
    monkeypatch.setattr("cf.bench.contest.encode_texts", lambda *_: None)
    same(run_benchmark(chosen, tmp_path / "alone"), first)


def test_a_full_card_is_one_message_with_the_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    swollen = ("_target_=dying.Swollen", "sink_frames=0", "window_frames=6")
    memory = [f"contestants.untrained.memory.{one}" for one in swollen]
    chosen = settings("contestants=none", "+contestant@contestants.untrained=untrained", *memory)
    result = run_benchmark(chosen, tmp_path)
    told = [one.getMessage() for one in caplog.records if "memory is used up" in one.getMessage()]
    assert len(told) == 2, "the first of them, and how many there are"
    assert "contestants.untrained.dtype=bfloat16" in told[0]
    assert told[1].startswith("untrained: 2 videos in all")
    assert {row["status"] for row in result.made["untrained"].rows} == {"failed"}
