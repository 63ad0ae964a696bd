"""`cf.recall` as a command: its table, numbers, plot and videos, and what it refuses."""

from pathlib import Path

import pandas as pd
import pytest
from commands import ROOMS, Command, fit, give, let_workers_be_forks

from cf.video.probe import probe

pytestmark = pytest.mark.whole

QUICK = (
    "worlds=5",
    "frames=24",
    "given=9",
    "batch_size=2",
    "shown=2",
    "shown_frames=30",
    "lags=[1,8,32]",
    "data.size=[16,16]",
    "data.world.view_cells=2",
    "data.world.room_cells=3",
    "model.patch_size=[8,8]",
    "memories.slow_fast.slow_frames=6",
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("network") / "run", *ROOMS, "trainer.max_steps=1")


@pytest.mark.slow
def test_every_network_is_measured_under_every_memory(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_workers_be_forks(monkeypatch)
    students = f"students={{one:'{network}',other:'{network}'}}"
    out = f"hydra.run.dir='{tmp_path / 'out'}'"
    give("cf.recall", *QUICK, "influence=[0,3,6,9]", students, f"oracle='{network}'", out)
    table = pd.read_csv(tmp_path / "out" / "recall.csv")
    labels = [f"{name}, {m}" for name in ("one", "other") for m in ("full", "slow_fast")]
    assert {"truth", *labels, "other, window", "one, sink_window", "oracle"} == {
        *table["contestant"]
    } - {"one, window", "other, sink_window"}
    values = table.pivot_table(index="contestant", columns="statistic", values="value")
    assert (values.loc["truth", ["recall, all lags", "self recall"]] == 1).all()
    assert values.loc["one, full"].equals(values.loc["other, full"].rename("one, full"))
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["value"] <= table["high"] + 1e-9).mean() > 0.9  # few worlds bias an entropy
    text = (tmp_path / "out" / "recall.md").read_text()
    assert "5 worlds of 3 s, of which 1.125 s are given" in text
    assert "| one, slow_fast" in text
    changes = pd.read_csv(tmp_path / "out" / "influence.csv").set_index("contestant")
    window = changes.loc["one, window"].set_index("lag_frames")["change"]
    assert window[0] > window[9] == 0  # nothing lies behind the whole past
    assert "influence horizon" in text
    assert probe(tmp_path / "out" / "recall.mp4").duration == pytest.approx(30 / 8, abs=0.01)
    for picture in ("recall.png", "recall_sheet.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ([], "students must be given"),
        (["students={a: .}", "given=96"], "given=96"),
        (["students={a: .}", "data=videos", "data.folder=x"], "data=rooms"),
    ],
)
def test_recall_refuses_in_one_message(settings: list[str], named: str, refused: Command) -> None:
    assert named in refused("cf.recall", *settings)


def test_a_world_in_other_tokens_is_refused_before_it_is_drawn(
    network: Path, refused: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.data.world.rooms.Rooms.draw", None)
    given = [one for one in QUICK if "patch_size" not in one]
    told = refused("cf.recall", *given, f"students={{one:'{network}'}}")
    assert "give model.patch_size=[8, 8]" in told
