"""`cf.benchmark`: the same rows whatever happens to the processes; nobody spoilt wins."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from commands import Command, give, let_workers_be_forks
from hydra import compose, initialize_config_dir

from cf.bench.contest import BenchmarkResults, run_benchmark
from cf.bench.measures import build_metrics, fresh_metrics, states_of
from cf.bench.recorder import VideoRecorder
from cf.bench.store import Job
from cf.bench.tasks.base import Sample
from cf.metrics.text.segment_text import SegmentTextSimilarity
from cf.paths import CONFIG_DIR
from cf.report.long_tables import per_video, per_window
from cf.report.tables import write_tables
from cf.settings.build import Settings, to_settings

SMALL = (
    "suite=smoke",
    "asked.worlds=2",
    "durations=[2,3]",
    "asked.given_seconds=1",
    "shown=1",
    "workers=0",
    "devices=cpu",
    "metrics=none",
    "+metrics.temporal_flickering._target_=cf.metrics.TemporalFlickeringVBench",
    "headline=[temporal_flickering]",
    "gates_beyond_truth=false",
    "~metrics.attribute_recall",
    "~metrics.self_revisit",
    "~metrics.trigger_gate",
    "~metrics.cross_room_match",
    "~metrics.recall_horizon",
)
FEW = (
    "~contestants.looping",
    "~contestants.resetting",
    "~contestants.blurred",
    "~contestants.noisy",
)
ONE_WORKER = pytest.mark.xdist_group("benchmark")
"""Of what is looked at in one benchmark, which each worker would run again."""


def settings(*overrides: str) -> Settings:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return to_settings(compose("benchmark", [*SMALL, *overrides]))


def same(one: BenchmarkResults, other: BenchmarkResults) -> None:
    pd.testing.assert_frame_equal(per_video(one.made), per_video(other.made), check_exact=True)
    pd.testing.assert_frame_equal(per_window(one.made), per_window(other.made), check_exact=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkResults, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return run_benchmark(settings(*FEW), folder), folder


@ONE_WORKER
@pytest.mark.whole
def test_rows_say_what_was_made_by_what_and_how(whole: tuple[BenchmarkResults, Path]) -> None:
    table = per_video(whole[0].made)
    assert set(table["contestant"]) == {"truth", "copy_last_frame", "frozen", "untrained"}
    assert len(table) == 4 * 2 * 2
    assert set(table["seconds"]) == {2, 3}
    assert (table["frames"] == table["seconds"] * 8).all()
    assert table["value"].between(0, 1).all()
    assert (table["status"] == "done").all()
    for column in ("frames_sha256", "settings", "commit", "version", "measured_as"):
        assert (table[column].str.len() > 0).all()
    truth = table[table["contestant"] == "truth"]
    assert truth["frames_sha256"].nunique() == 4
    kernels = {name: {row["attention"] for row in one.rows} for name, one in whole[0].made.items()}
    assert kernels.pop("untrained") < {"flash_attention", "math"}
    assert set(map(frozenset, kernels.values())) == {frozenset({""})}, "the others have none"


@ONE_WORKER
def test_a_shorter_duration_is_the_beginning_of_a_longer_one(
    whole: tuple[BenchmarkResults, Path], tmp_path: Path
) -> None:
    short = per_video(run_benchmark(settings(*FEW, "durations=[2]"), tmp_path).made)
    long = per_video(whole[0].made)
    first = long[long["seconds"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        short.drop(columns="settings"), first.drop(columns="settings"), check_exact=True
    )


@ONE_WORKER
@pytest.mark.slow
def test_processes_change_nothing(whole: tuple[BenchmarkResults, Path], tmp_path: Path) -> None:
    same(run_benchmark(settings(*FEW, "workers=2"), tmp_path), whole[0])


@pytest.mark.slow
def test_a_process_that_dies_takes_one_video_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_workers_be_forks(monkeypatch)
    dying = "+contestants.dying={_target_:dying.Dying}"
    once = f"+contestants.once={{_target_:dying.Dying,mark:'{tmp_path / 'mark'}'}}"
    chosen = settings("contestants=none", dying, once, "workers=2")
    table = per_video(run_benchmark(chosen, tmp_path / "out").made)
    told = (
        table.set_index(["contestant", "video"])["reason"].fillna("").groupby(level=[0, 1]).first()
    )
    assert told[("dying", "world0001-0")].startswith("its process died three times")
    assert (told.drop(("dying", "world0001-0")) == "").all()
    assert set(table[table["contestant"] == "once"]["status"]) == {"done"}


@pytest.mark.whole
@ONE_WORKER
def test_a_killed_run_goes_on_and_ends_the_same(
    whole: tuple[BenchmarkResults, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    real = VideoRecorder.finish

    def dying(recorder: VideoRecorder, *told: Any) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(recorder.job.item.key)
        real(recorder, *told)

    monkeypatch.setattr(VideoRecorder, "finish", dying)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(settings(*FEW), tmp_path)
    assert len(list(tmp_path.glob("videos/*/*/row.json"))) == 3
    # As if it had been killed while it wrote.
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.glob("videos/*/*/row.json")}
    half = tmp_path / "videos" / "truth" / ".partial-world0001-0-1"
    half.mkdir(parents=True)
    (half / "row.json").write_text("{")
    monkeypatch.setattr(VideoRecorder, "finish", real)
    same(run_benchmark(settings(*FEW), tmp_path), whole[0])
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())
    assert not half.exists()


def test_weights_are_read_once_for_all_metrics_and_videos() -> None:
    by = {"_target_": "cf.metrics.extractors.mean_colour.MeanColour"}
    named = {"semantic_drift": "SemanticDrift", "own_anchor": "OwnAnchorAUC"}
    chosen = {
        key: {"_target_": f"cf.metrics.{name}", "extractor": by} for key, name in named.items()
    }
    made = [*build_metrics(chosen, []).values(), *build_metrics(chosen, []).values()]
    assert len({id(metric.measurement.extractor) for metric in made}) == 1
    odd = {"drift": {**chosen["semantic_drift"], "extractor": {**by, "device": "cpu"}}}
    with pytest.raises(ValueError, match=r"metrics\.drift\.extractor must be a Extractor"):
        build_metrics({"drift": {**chosen["semantic_drift"], "extractor": "clip-vit-b32"}}, [])
    with pytest.raises(ValueError, match=r"metrics\.drift\.extractor has no setting 'device'"):
        build_metrics(odd, [])


def test_metrics_are_built_once_and_have_forgotten_the_video_before() -> None:
    by = {"_target_": "cf.metrics.extractors.mean_colour.MeanColour"}
    chosen = {
        "drift": {"_target_": "cf.metrics.SemanticDrift", "extractor": by},
        "flicker": {"_target_": "cf.metrics.TemporalFlickeringVBench"},
    }
    first, second = (Sample(f"{name}-0", name, 0, ((0.0, name),)) for name in "ab")
    used = fresh_metrics(chosen, first)
    for metric in used.values():
        metric.update(torch.rand(9, 3, 16, 16), 1, fps=8)
    again = fresh_metrics(chosen, second)
    assert all(again[name] is metric for name, metric in used.items())
    states, expected = (states_of(x.values()) for x in (again, build_metrics(chosen, [])))
    assert all(torch.equal(states[name], value) for name, value in expected.items())
    extractor = {"_target_": "metrics_sets.Shrunken"}
    one = {"_target_": "cf.metrics.SegmentTextSimilarity", "extractor": extractor, "texts": None}
    told = [fresh_metrics({"text": one}, item) for item in (first, second)]
    assert [list(next(iter(x.values())).texts.texts.values()) for x in told] == [["a"], ["b"]]


def test_a_prompt_may_hold_any_text() -> None:
    texts = ["it costs ${price}", "???"]
    item = Sample("a-0", "a", 0, ((0.0, texts[0]), (1.0, texts[1]), (2.0, texts[0])))
    settings = {
        "_target_": "cf.metrics.SegmentTextSimilarity",
        "extractor": {"_target_": "metrics_sets.Shrunken"},
        "texts": None,
    }
    (metric,) = build_metrics({"text": settings}, [item]).values()
    assert isinstance(metric, SegmentTextSimilarity)
    assert sorted(metric.texts.texts.values()) == sorted(texts)
    assert metric.texts.texts[item.prompt_id] == texts[0]


@ONE_WORKER
@pytest.mark.whole
def test_what_is_finished_is_not_made_again_and_other_settings_are(
    whole: tuple[BenchmarkResults, Path], tmp_path: Path
) -> None:
    shutil.copytree(whole[1], tmp_path / "copy")
    files = sorted((tmp_path / "copy").glob("videos/*/*/row.json"))
    before = [file.stat().st_mtime_ns for file in files]
    run_benchmark(settings(*FEW), tmp_path / "copy")
    assert [file.stat().st_mtime_ns for file in files] == before
    run_benchmark(settings(*FEW, "contestants.frozen.seconds=0.5"), tmp_path / "copy")
    after = [file.stat().st_mtime_ns for file in files]
    changed = [file.parts[-3] for file, a, b in zip(files, before, after, strict=True) if a != b]
    assert changed == ["frozen", "frozen"]


@ONE_WORKER
@pytest.mark.whole
def test_a_contestant_that_breaks_is_a_row_and_its_beginning_stands(
    whole: tuple[BenchmarkResults, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cf.bench.contestants.controls import Truth

    real = Truth.play

    def breaking(self: Truth, take: Any, device: str) -> Any:
        for i, piece in enumerate(real(self, take, device)):
            if i == 2:  # 8 given and 8 more
                raise RuntimeError("out of something")
            yield piece

    monkeypatch.setattr(Truth, "play", breaking)
    table = per_video(run_benchmark(settings(*FEW), tmp_path).made)
    truth = table[table["contestant"] == "truth"]
    early, late = (truth[truth["seconds"] == seconds] for seconds in (2, 3))
    before = per_video(whole[0].made)
    before = before[(before["contestant"] == "truth") & (before["seconds"] == 2)]
    assert early["value"].tolist() == before["value"].tolist()
    assert (early["status"] == "done").all()
    assert late["value"].isna().all()
    assert set(late["reason"]) == {"RuntimeError: out of something"}
    rest = table[table["contestant"] == "copy_last_frame"]
    assert rest["value"].notna().all()
    again = run_benchmark(settings(*FEW), tmp_path)  # failures are tried again
    assert set(per_video(again.made)["status"]) == {"done", "failed"}


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = torch.save

    def saving(*arguments: Any, **more: Any) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(1)
        real(*arguments, **more)

    monkeypatch.setattr(torch, "save", saving)
    with pytest.raises(OSError, match="no space is left"):
        run_benchmark(settings(*FEW), tmp_path)
    assert len(list(tmp_path.glob("videos/*/*/row.json"))) == 2
    assert not list(tmp_path.glob("videos/*/.partial*"))


def test_whoever_is_not_at_hand_is_listed_and_not_replaced(tmp_path: Path) -> None:
    contest = run_benchmark(
        settings(*FEW, "~contestants.untrained", "networks={mine: nowhere/run}"), tmp_path
    )
    (away,) = (one for one in contest.entered if one.missing)
    assert away.name == "mine"
    assert "nowhere/run not found" in away.missing
    assert "mine" not in set(per_video(contest.made)["contestant"])
    write_tables(contest, tmp_path)
    assert "mine: nowhere/run not found" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["durations=[3,2]"], "durations=[3.0, 2.0]"),
        (["contestants.untrained.fps=16"], "16 frames/s, 32 x 32: untrained"),
        (["asked.seeds=[0,0]"], "names one twice"),
        (["asked.worlds=0"], "worlds=0"),
        (["export_vbench=x"], "give shown=2"),  # else VBench would see a part as if it were all
    ],
)
def test_it_refuses_in_one_message(overrides: list[str], named: str, refused: Command) -> None:
    told = refused("cf.benchmark", *SMALL, *overrides)
    assert named in told.replace("[3, 2]", "[3.0, 2.0]")


@pytest.mark.slow
def test_the_command_writes_its_tables(tmp_path: Path) -> None:
    folder = f"hydra.run.dir='{tmp_path / 'out'}'"
    give("cf.benchmark", *SMALL, *FEW, folder, "report=false", "tensorboard=false")
    table = pd.read_csv(tmp_path / "out" / "headline.csv")
    assert set(table["contestant"]) == {"truth", "copy_last_frame", "frozen", "untrained"}
    assert "untrained &" in (tmp_path / "out" / "results.tex").read_text()
    assert "untrained" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_nobody_who_is_spoilt_wins(tmp_path: Path) -> None:
    """A frozen, a looping, a resetting, a blurred and a noisy video against their original."""
    # It has a little noise, because whoever shows the truth's own frames is not ranked.
    spoilt = "_target_:cf.bench.contestants.controls.Spoilt,how:noise,seconds:1,strength:0.002"
    original = f"+contestants.original={{{spoilt}}}"
    walking = ("suite=world", "contestants=controls", "asked.worlds=3", "durations=[10]", original)
    metrics = ("metrics=video", "headline=[motion_smoothness,temporal_flicker]")
    beyond = "gates_beyond_truth=true"
    chosen = [
        one for one in SMALL if not one.startswith(("suite", "asked.worlds", "durations", "~"))
    ]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        cfg = compose("benchmark", [*walking, *chosen, *metrics, beyond, "~metrics.chunk_seam"])
    table = run_benchmark(to_settings(cfg), tmp_path).headlines[10.0]
    for cells in table.cells["original"].values():
        assert cells.place == 1
    for name in ("frozen", "looping", "resetting", "blurred", "noisy"):
        assert all(cell.place is None for cell in table.cells[name].values()), name
        assert sum(table.removed[name].values()) >= 2


@pytest.mark.slow
def test_whoever_is_not_spoilt_yet_is_the_truth_and_not_ranked(tmp_path: Path) -> None:
    gates = ("motion_retention", "static_fraction", "loop_rate", "sink_reset", "classical_quality")
    bare = [f"gates.{name}=null" for name in gates]
    chosen = settings(*FEW, *bare, "unranked=[]", "contestants.frozen.seconds=1.5")
    contest = run_benchmark(chosen, tmp_path)
    places = {
        at: {name: next(iter(cells.values())).place for name, cells in table.cells.items()}
        for at, table in contest.headlines.items()
    }
    assert places[2.0] == {"truth": None, "copy_last_frame": None, "frozen": None, "untrained": 1}
    assert places[3.0]["frozen"] is not None


def test_places_follow_values_and_gates_cost_them() -> None:
    from cf.bench.ranking import headline
    from cf.bench.results import ContestantResults
    from cf.bench.tasks.base import Sample, VideoSpec
    from cf.evaluation.gates import Gate
    from cf.metrics.result import Result

    def made(name: str, good: list[float], still: list[float]) -> ContestantResults:
        items = [Sample(f"{i}", f"{i}", 0, ((0.0, ""),)) for i in range(4)]
        terms = VideoSpec(8.0, (32, 32))
        mine = [Job(name, {}, "", {}, item, terms, (5.0,), {}) for item in items]
        ids = [item.video_id for item in items]
        results = {
            "good": Result("good", 0.0, True, dict(zip(ids, good, strict=True))),
            "still": Result("still", 0.0, False, dict(zip(ids, still, strict=True))),
        }
        return ContestantResults(name, [{}], {5.0: results}, mine)

    nan = float("nan")
    everyone = {
        "fine": made("fine", [0.5, 0.6, 0.5, 0.6], [0.0] * 4),
        "better": made("better", [0.7, 0.8, 0.7, 0.8], [0.1] * 4),
        "stopping": made("stopping", [0.9] * 4, [0.0, 0.0, 0.9, 0.9]),
        "frozen": made("frozen", [1.0] * 4, [1.0, 1.0, 1.0, 0.0]),
        "unknown": made("unknown", [1.0] * 4, [nan] * 4),
    }
    table = headline(everyone, 5.0, ["good"], [Gate("still", None, 0.5)])
    place = {name: cells["good"].place for name, cells in table.cells.items()}
    assert place == {"unknown": 1, "better": 2, "stopping": 3, "fine": 4, "frozen": None}
    assert table.unmeasured["unknown"] == {"still ≤ 0.5": 4}, "which neither passes nor fails"
    assert table.removed["unknown"] == {"still ≤ 0.5": 0}
    # Two of four prompts count as the worst value among the ranked.
    assert table.cells["stopping"]["good"].ranked == pytest.approx((0.9 * 2 + 0.5 * 2) / 4)
    assert table.removed["frozen"] == {"still ≤ 0.5": 3}
    against = headline(everyone, 5.0, ["good"], [Gate("still", None, 0.5, truth="frozen")])
    assert against.cells["frozen"]["good"].place == 1
