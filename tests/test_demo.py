"""The demo as a whole, on worlds and networks that take seconds."""

from pathlib import Path

import pandas as pd
import pytest
from commands import ROOMS, run

pytestmark = pytest.mark.whole

RECALL = (
    "worlds=3",
    "frames=18",
    "given=9",
    "lags=[1,16]",
    "shown=1",
    "shown_frames=18",
    "data.size=[16,16]",
    "data.world.view_cells=2",
    "data.world.room_cells=3",
    "model.patch_size=[8,8]",
)


def quoted(settings: list[str]) -> str:
    return "[" + ",".join(f'"{one}"' for one in settings) + "]"


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_demo_ends_with_a_table_and_says_where_everything_is(tmp_path: Path) -> None:
    groups = ("data=", "model=", "memory=", "rollout.", "trainer.max_steps")
    quick = [one for one in ROOMS if not one.startswith(groups)]
    # The world comes with the experiment, which a sweep adds after it has read the other settings.
    quick = [f"++{one}" if one.startswith("data.world") else one for one in quick]
    quick += ["trainer.max_steps=2", "callbacks=recall", "callbacks.recall.every_steps=1000"]
    swept = ["experiment=rooms_student", "module.length.least=12", "module.length.most=12"]
    swept += ["module.prefix_blocks=[1,2]", "score=full_history,previous_block"]
    done = run(
        "cf.demo",
        "study=claim",
        f"fit={quoted(quick)}",
        f"recall={quoted(list(RECALL))}",
        f"sweeps.students.settings={quoted(swept)}",
        f"hydra.run.dir={tmp_path / 'demo'}",
    )
    assert done.status == 0, done.told
    told = done.told
    for name in ("recall.md", "recall.png", "recall.mp4", "recall_sheet.png"):
        assert str(tmp_path / "demo" / "recall" / name) in told
        assert (tmp_path / "demo" / "recall" / name).stat().st_size > 0
    assert f"tensorboard.main --logdir {tmp_path / 'demo'}" in told
    table = pd.read_csv(tmp_path / "demo" / "recall" / "recall.csv")
    students = {f"{s}, {m}" for s in ("full_history", "memoryless") for m in ("full", "slow_fast")}
    assert {"truth", "oracle", *students} <= set(table["contestant"])
    for run_folder in ("start/rooms_teacher", "start/rooms_base", "students/previous_block"):
        assert (tmp_path / "demo" / run_folder / "network.safetensors").exists()
