"""`cf.compare`: runs, results folders and csv files side by side."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import Command, give
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from cf.comparing.compare import sides_of
from cf.comparing.scores import compare_sides, read_scores
from cf.stats.paired import compare


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
    (row,) = compare_sides([*read_scores(a), *read_scores(b)]).to_dict("records")
    (first,), (second,) = read_scores(a), read_scores(b)
    expected = compare(first.values["quality"], second.values["quality"])
    assert row["pairs"] == 12
    assert row["difference"] == expected.difference.value == pytest.approx(-0.3, abs=0.05)
    assert row["p"] == row["p_holm"] == 2 / 2**12
    assert set(first.values) == {"quality"}


def training(folder: Path, loss: float, seed: int = 0, window: int = 9) -> Path:
    folder.mkdir(parents=True)
    table = pd.DataFrame(
        {"step": [4, 9], "train/loss": [1.0, loss], "train/lr": 0.1, "val/x": [2.0, np.nan]}
    )
    table.to_csv(folder / "metrics.csv", index=False)
    memory = {"_target_": "cf.memory.sliding.Sliding", "window_frames": window}
    settings = {
        "seed": seed,
        "folder": str(folder),
        "memory": memory,
        "module": {"rollout": {"memory": memory}, "noise_seed": seed + 7},
        "callbacks": {"samples": {"folder": f"{folder}/samples"}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    for seed in range(6):
        training(folder / "full" / f"seed_{seed}", 0.5 + seed / 100, seed)
        training(folder / "short" / f"seed_{seed}", 0.2 + seed / 50, seed, window=3)
    return folder


@pytest.fixture(scope="module")
def out(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of comparing its two methods."""
    folder = tmp_path_factory.mktemp("out")
    laid(folder, f"{sweep}/*", "only=['train/*']")
    return folder


def laid(folder: Path, *arguments: str) -> tuple[pd.DataFrame, str]:
    give("cf.compare", *arguments, f"hydra.run.dir='{folder}'")
    table = pd.read_csv(folder / "compare.csv").set_index("metric")
    return table, (folder / "compare.md").read_text()


@pytest.mark.whole
def test_two_trainings_are_one_pair_and_no_p_says_anything(tmp_path: Path) -> None:
    a, b = training(tmp_path / "a", 0.5), training(tmp_path / "b", 0.25, seed=1)
    rows, text = laid(tmp_path / "out", str(a), str(b))
    assert rows.loc["train/loss", "difference"] == 0.25
    assert rows.loc["val/x", "difference"] == 0  # the last value that was logged
    assert rows.loc["train/loss", "p"] == 1
    assert "p cannot fall below 1" in rows.loc["train/loss", "note"]
    assert "differ in their seed too (a: 0, b: 1)" in text


@pytest.mark.whole
def test_replicas_are_paired_by_seed_and_tested(tmp_path: Path, sweep: Path) -> None:
    rows, text = laid(tmp_path / "out", f"full={sweep}/full/*", f"less={sweep}/short/*")
    loss = {s: 0.5 + s / 100 for s in range(6)}, {s: 0.2 + s / 50 for s in range(6)}
    expected = compare(*loss)
    row = rows.loc["train/loss"]
    assert (row["first"], row["second"], row["pairs"]) == ("full", "less", 6)
    assert row["p"] == row["p_holm"] == expected.p == 2 / 2**6  # nothing else is tested
    assert row["detectable"] == pytest.approx(expected.detectable)
    assert np.isnan(rows.loc["train/lr", "p"])  # a schedule is no result
    assert "The unit is the training seed" in text


@pytest.mark.whole
def test_a_seed_that_one_method_lacks_is_dropped(tmp_path: Path, sweep: Path) -> None:
    given = [f"full={sweep}/full/*", *(f"short={sweep}/short/seed_{i}" for i in (1, 4))]
    row = laid(tmp_path / "out", *given)[0].loc["train/loss"]
    assert (row["pairs"], row["dropped"]) == (2, 4)
    assert row["difference"] == pytest.approx(0.3 - 2.5 / 100)


@pytest.mark.whole
def test_a_folder_of_runs_is_a_group_of_its_name(tmp_path: Path, sweep: Path, out: Path) -> None:
    assert pd.read_csv(out / "compare.csv").set_index("metric").loc["train/loss", "first"] == "full"
    groups = f"groups={{full:['{sweep}/full/*'],short:['{sweep}/short']}}"
    text = laid(tmp_path / "named", groups, "only=['train/*']")[1]
    assert text == (out / "compare.md").read_text()


def test_what_hydra_writes_beside_the_runs_of_a_sweep_is_none(tmp_path: Path) -> None:
    """`cf.fit -m` leaves it, and `*` finds it."""
    runs = [training(tmp_path / str(seed), loss=1.0, seed=seed) for seed in range(2)]
    beside = tmp_path / "multirun.yaml"
    beside.write_text("hydra: {}\n")
    assert sides_of([], {"a": [f"{tmp_path}/*"]}).trainings == {"a": runs}
    assert len(sides_of([*map(str, runs), str(beside)], {}).trainings) == 2


@pytest.mark.whole
def test_settings_are_told_once_and_only_where_they_differ(out: Path) -> None:
    settings = pd.read_csv(out / "settings.csv")
    assert settings.to_dict("records") == [
        {"setting": "memory.window_frames", "full": 9, "short": 3}
    ]
    assert "By seed alone: seed, module.noise_seed." in (out / "compare.md").read_text()


@pytest.mark.whole
def test_what_differs_between_replicas_is_told(tmp_path: Path, sweep: Path) -> None:
    another = training(tmp_path / "another", 0.4, seed=9, window=4)
    groups = f"groups={{full:['{sweep}/full/*','{another}'],short:['{sweep}/short']}}"
    text = laid(tmp_path / "out", groups, "only=[train/loss]")[1]
    assert "**Not replicas:** the runs of full differ in memory.window_frames as well." in text


@pytest.mark.whole
def test_curves_are_drawn_for_every_scalar(out: Path) -> None:
    names = {one.name for one in (out / "curves").iterdir()}
    assert names == {f"train_{n}.{kind}" for n in ("loss", "lr") for kind in ("png", "svg")}
    assert "full: mean and range of 6 runs" in (out / "curves.svg").read_text()
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.whole
def test_runs_stand_side_by_side_in_tensorboard(out: Path) -> None:
    board = EventAccumulator(str(out / "tensorboard" / "short" / "seed_2")).Reload()
    assert [one.value for one in board.Scalars("train/loss")] == pytest.approx([1.0, 0.24])
    assert [one.step for one in board.Scalars("train/loss")] == [4, 9]
    assert board.Scalars("last/train/loss")[-1].value == pytest.approx(0.24)
    content = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    said = HParamsPluginData.FromString(content).session_start_info.hparams
    assert said["memory.window_frames"].number_value == 3
    assert said["method"].string_value == "short"


def test_what_was_not_measured_alike_is_not_compared(tmp_path: Path) -> None:
    for name, told in (("a", "1234"), ("b", "5678")):
        (tmp_path / name).mkdir()
        lines = [("x", f"p{i}", 5.0, "quality", float(i), told) for i in range(4)]
        columns = ["contestant", "prompt", "seconds", "metric", "value", "measured_as"]
        table = pd.DataFrame(lines, columns=columns)
        table.to_csv(tmp_path / name / "per_video.csv", index=False)
    (row,) = compare_sides([*read_scores(tmp_path / "a"), *read_scores(tmp_path / "b")]).to_dict(
        "records"
    )
    assert row["note"] == "not measured alike; not compared"
    assert np.isnan(row["difference"]) if "difference" in row else True


@pytest.mark.whole
def test_the_command_writes_the_comparison(tmp_path: Path) -> None:
    a, b = scores(tmp_path / "a.csv", 0.0), scores(tmp_path / "b.csv", 0.3)
    give("cf.compare", f"runs=['{a}','{b}']", f"hydra.run.dir='{tmp_path / 'out'}'")
    assert "| quality | a | b |" in (tmp_path / "out" / "compare.md").read_text()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["runs=null"], "runs must be given"),
        (["nowhere"], "nowhere holds no scores"),
        (["nowhere/*"], "nothing is called nowhere/*"),
        (["full=nowhere"], "group full: nowhere does not exist"),
        (["full=scores.csv"], "group full: scores.csv holds no training run"),
        (["a/b=one"], "'a/b' cannot name a group"),
        (["one", "scores.csv"], "one is a training run and scores.csv is none"),
        (["one", "one"], "one is given twice"),
        (["one"], "give two or more sides"),
        (["one", "short"], "short is a run that has logged nothing"),
        (["full=short"], "short is a run that has logged nothing"),
        (["one", "empty"], "empty/metrics.csv is empty"),
        (["both=[one,same]"], "one and same both have seed 0"),
        (["both=one", "both=untold"], "untold has no config.yaml that tells its seed"),
        (["one", "same", "only=[loss]"], "only: loss is none of train/loss, train/lr"),
        (["groups=full"], "groups must be {name: [run, run]} or null, got 'full'"),
    ],
)
def test_it_refuses_in_one_message(
    given: list[str], named: str, refused: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scores(Path("scores.csv"), 0.0)
    for name in ("one", "same", "untold"):
        training(Path(name), 0.5)
    Path("untold/config.yaml").unlink()
    for name in ("empty", "short"):
        Path(name).mkdir()
    Path("short/config.yaml").write_text("seed: 0\n")
    Path("empty/metrics.csv").touch()
    assert named in refused("cf.compare", *given)
