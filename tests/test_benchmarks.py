import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from cf.paths import CONFIG_DIR

pytestmark = pytest.mark.whole

Row = dict[str, Any]
FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = [
    "blocks=[1,8,14]",
    "memories=[sliding,slow_fast,full]",
    "+memory_settings.slow_fast.slow_frames=2",
    "+memory_settings.slow_fast.interval=1",
    "model.num_layers=1",
    "rollout.num_steps=1",
    "train={blocks:2,samples:1}",
    "repeats=2",
    "least_seconds=0",
    "budget_gib=0.0003",
]
FACTS = {"peak_bytes", "rss_bytes", "timed_by", "device", "threads", "cores", "torch", "python"}
FACTS |= {"commit", "dirty", "date", "load", "dtype", "seed", "repeats", "reach", "config"}


@contextmanager
def in_this_process(settings: Row) -> Iterator[Callable[..., Any]]:
    from stream_timer import Subject

    subject = Subject(settings)
    yield lambda method, *args: getattr(subject, method)(*args)


def measured(*settings: str) -> list[Row]:
    import table
    import throughput

    groups = f'hydra.searchpath=["file://{CONFIG_DIR}"]'
    with initialize_config_dir(str(FOLDER), version_base="1.3"), pytest.MonkeyPatch.context() as m:
        m.setattr(throughput.Worker, "started", in_this_process)
        cfg = compose("throughput", [groups, *SMALL, *settings])
        rows: list[Row] = table.compared(throughput.measure(cfg))
        return rows


def script(name: str) -> Any:
    """A script, by its path: among the tests there are other modules of such names."""
    spec = spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


def run(name: str, *settings: str) -> None:
    """A script in this process, with what it has in others."""
    made = script(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, made)
        patch.setattr(sys, "argv", [str(FOLDER / f"{name}.py"), *settings])
        if name == "throughput":
            patch.setattr(made.Worker, "started", in_this_process)
        made.main()


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield


@pytest.fixture(scope="module")
def rows(importable: None) -> list[Row]:
    return measured()


def test_every_memory_has_a_row_for_every_task(rows: list[Row]) -> None:
    tasks = {(row["memory"], row["what"], row.get("block", row.get("objective"))) for row in rows}
    steps = [("train_step", "forcing"), ("train_step", "rollout")]
    wanted = [("block", 1), ("block", 8), ("block", 14), *steps]
    assert tasks == {(m, *task) for m in ("sliding", "slow_fast", "full") for task in wanted}
    assert len(rows) == len(tasks)


def test_a_row_is_either_measured_or_says_why_not(rows: list[Row]) -> None:
    skipped = [row for row in rows if "skipped" in row]
    of = {(row["memory"], row.get("block", row.get("objective"))) for row in skipped}
    assert of == {("full", 14), ("slow_fast", "forcing")}
    assert all(row["seconds"] is None and row["skipped"] for row in skipped)
    for row in (row for row in rows if row not in skipped):
        assert row.keys() >= FACTS
        assert row["config"]["rollout"]["memory"]["_target_"].startswith("cf.memory.")
        for seconds in (row["seconds"], row["processor_seconds"]):
            assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
            assert len(seconds["each"]) == 2
        assert row["frames_per_second"]["latent"] == row["frames_per_second"]["pixel"] > 0


def test_the_reference_is_compared_with_itself(rows: list[Row]) -> None:
    compared = [row["ratio_to_sliding"] for row in rows if row["seconds"]]
    own = [row["ratio_to_sliding"] for row in rows if row["memory"] == "sliding"]
    assert all(ratio is not None for ratio in compared)
    assert own == [{"median": 1, "min": 1, "max": 1}] * 5


def test_a_bounded_memory_once_full_grows_no_more(rows: list[Row]) -> None:
    for memory, attended in (("sliding", 12), ("slow_fast", 3 + 2 + 6)):
        first, filled, later = (
            row for row in rows if row["memory"] == memory and row["what"] == "block"
        )
        assert first["context_bytes"] == 0
        assert first["attended_frames"] == 3
        assert filled["attended_frames"] == later["attended_frames"] == attended
        assert 0 < filled["context_bytes"] == later["context_bytes"]
        assert first["peak_bytes"] < filled["peak_bytes"] == later["peak_bytes"]


def test_the_peak_counts_weights_context_and_rotated_keys(rows: list[Row]) -> None:
    first, filled = (row for row in rows if row["memory"] == "full" and "attended_frames" in row)
    weights = 4 * first["parameters"]
    grown = filled["peak_bytes"] - first["peak_bytes"]
    assert weights < first["peak_bytes"] < 2 * weights
    assert 1.4 * filled["context_bytes"] < grown < 4 * filled["context_bytes"]


def test_filling_holds_what_streaming_does(rows: list[Row]) -> None:
    streamed = [row for row in rows if row["memory"] == "slow_fast" and row["what"] == "block"]
    filled = measured("memories=[slow_fast]", "train=null", "reach=fill")
    for key in ("context_bytes", "peak_bytes", "attended_frames"):
        # A mask that hides nothing goes when a block reads it; until then it is a few bytes.
        expected = pytest.approx([row[key] for row in streamed], rel=0.002)
        assert [row[key] for row in filled] == expected
    assert all(row["ratio_to_sliding"] is None for row in filled)


def test_the_command_appends_rows_and_writes_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "throughput.jsonl").write_text('{"earlier": true}\n')
    few = ["memories=[sliding]", "blocks=[1,2]", "train=null", f"folder={tmp_path}"]
    run("throughput", *SMALL, *few)
    rows = [json.loads(line) for line in (tmp_path / "throughput.jsonl").read_text().splitlines()]
    assert [row.get("block") for row in rows] == [None, 1, 2]
    table = (tmp_path / "throughput.md").read_text()
    assert table in capsys.readouterr().out
    assert "| sliding | 1.00 (1.00 to 1.00) |" in table
    assert os.fspath(tmp_path) not in table + json.dumps(rows)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("memories=[nope]", "there is no memory 'nope'"),
        ("blocks=[0]", "must be at least 1"),
        ("reach=jump", "must be stream or fill"),
        ("dtype=int8", "dtype must be one of float32, bfloat16"),
        ("rollout.block_frames=10", "smaller than a block of 10"),
        ("+memory_settings.sliding.sinks=1", "has no setting 'sinks'"),
    ],
)
def test_a_mistake_is_one_message(setting: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        measured(setting)


def test_a_mistake_reaches_the_user_and_leaves_results_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "throughput.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as ended:
        run("throughput", *SMALL, "memories=[sliding]", "dtype=int8", f"folder={tmp_path}")
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "dtype must be one of" in told
    assert "Traceback" not in told
    assert [path.read_text() for path in tmp_path.iterdir()] == ["{}\n"]


def test_memories_are_compared_with_the_window_and_with_all(tmp_path: Path) -> None:
    import memory

    groups = f'hydra.searchpath=["file://{CONFIG_DIR}"]'
    tiny = ["model=tiny", "blocks=[9]", "model.num_layers=1", "rollout.num_steps=1"]
    given = ["memories=[pooled,quantised]", "team=1", "repeats=2", "~sizes.wan_width"]
    with initialize_config_dir(str(FOLDER), version_base="1.3"), pytest.MonkeyPatch.context() as m:
        m.setattr("throughput.Worker.started", in_this_process)
        cfg = compose("memory", [groups, *given])
        measured = memory.race(cfg, [*tiny, "least_seconds=0"])
        table = memory.page({"tiny": measured}, cfg, ["python", "benchmarks/memory.py"])
    found = {row["memory"]: row for row in measured}
    assert list(found) == ["sliding", "full", "pooled", "quantised"]
    assert found["sliding"]["to_sliding"] == {"median": 1, "min": 1, "max": 1}
    assert found["full"]["to_full"] == {"median": 1, "min": 1, "max": 1}
    assert all(row["to_full"]["median"] > 0 for row in measured)
    held = {name: row["context_bytes"] for name, row in found.items()}
    assert held["quantised"] < held["sliding"] < held["full"]
    assert found["full"]["attended_frames"] == 27
    assert found["quantised"]["attended_frames"] == found["sliding"]["attended_frames"] == 12
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")][2:] == [
        "| full",
        "| pooled",
        "| quantised",
        "| sliding",
    ]


def test_metrics_are_timed_against_vbenchs_formula_and_an_hour_is_weighed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["metrics=quick", "seconds=1", "repeats=2", "hours=0.001", f"folder={tmp_path}"]
    run("metrics", *few)
    *timed, memory = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [row["metric"] for row in timed[:2]] == ["vbench formula", "all together"]
    assert {"loop_rate", "subject_consistency"} <= {row["metric"] for row in timed}
    assert all(len(row["rounds"]) == 2 for row in timed)
    assert memory["frames"] == 58
    assert memory["resident_bytes"] >= memory["resident_bytes_before"] > 2**27
    table = (tmp_path / "metrics.md").read_text()
    assert table in capsys.readouterr().out
    assert "| vbench formula | 1.00 (1.00 to 1.00) |" in table
    assert os.fspath(tmp_path) not in table


def test_the_formula_that_metrics_are_timed_against_is_the_metrics() -> None:
    import torch

    from cf.metrics.consistency.vbench_consistency import SubjectConsistencyVBench
    from cf.metrics.extractors.handcrafted import Handcrafted

    bench = script("metrics")
    frames = (torch.rand(5, 3, 32, 48) * 255).byte()
    metric = SubjectConsistencyVBench(Handcrafted())
    metric.update(frames, 0, fps=8)
    assert bench.vbench(frames, Handcrafted()) == pytest.approx(float(metric.compute()), abs=1e-5)


def test_a_long_rollout_is_weighed_and_timed_as_a_job_of_the_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import instrumented_contestant
    import long

    few = ["memories=[sliding,full]", "probes=[14,24]", "window=6", "weighed=3"]
    small = ["contestant.model.num_layers=1", "metrics=quick"]
    groups = f'hydra.searchpath=["file://{CONFIG_DIR}"]'
    monkeypatch.setattr(long, "alone", instrumented_contestant.observe)
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        cfg = compose("long", [groups, *few, *small])
    rows = list(long.measure(cfg))
    for row in rows:
        assert row["frames"] == 24 + 24 * 3
        assert [one["block"] for one in row["readings"]] == [14, 24]
        assert all(one["live_bytes"] < one["peak_live_bytes"] for one in row["readings"])
        assert all(min(one["processor_seconds"].values()) > 0 for one in row["readings"])
        assert {"AttributeRecall[world-cells]", "LoopRate"} <= row["values"].keys()
        assert sum(row["states_bytes_of"].values()) >= row["states_bytes"]
    # A frame's keys and values in the only layer: 8 tokens of 96 numbers; the rest is the metrics'.
    grown = [row["readings"][-1]["live_bytes"] - row["readings"][0]["live_bytes"] for row in rows]
    assert grown[1] - grown[0] > 10 * 3 * 2 * 8 * 96 * 4
    assert 0 <= grown[0] < 10 * 3 * 3 * 32 * 32 * 4  # less than the pictures
    page = long.page([row | long._about({}) for row in rows], ["python", "benchmarks/long.py"])
    assert "24 blocks, 96 frames" in page
    assert "| sliding | 24 / 14 |" in page


def test_readings_that_would_overlap_are_refused() -> None:
    from instrumented_contestant import Probed

    with pytest.raises(ValueError, match=r"probes=\[10, 12\] must be farther apart"):
        Probed(probes=[10, 12], window=2, weighed=1)


def test_metrics_apart_are_compared_on_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import metrics_apart
    from commands import let_workers_be_forks

    from cf.bench.metric_process import MetricProcess

    let_workers_be_forks(monkeypatch)
    job = metrics_apart.job_of((32, 32), 2, "quick", tmp_path)
    clock, processor, alike = metrics_apart.compared(job, 0.01, 1)
    MetricProcess.end()
    assert min(clock, processor) > 0
    assert alike
    for number, frames in enumerate((metrics_apart.drawn(32, 32), 0.5 * torch_ones())):
        monkeypatch.setattr(metrics_apart, "drawn", lambda *_, of=frames: of)
        metrics_apart.seconds_of(job, tmp_path / str(number), apart=False)
    assert not metrics_apart.same(job, tmp_path / "0", tmp_path / "1")


def torch_ones() -> Any:
    """A block of one colour."""
    import torch

    return torch.ones(12, 3, 32, 32)
