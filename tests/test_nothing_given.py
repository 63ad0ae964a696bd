"""Settings given as nothing: a group, a list or a mapping is told in one message, or works."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cf.settings.command_line import prepared

Refused = Callable[..., str]
CLIPS = "videos=."


@pytest.mark.parametrize("given", ["metrics=[]", "metrics=null", "~metrics", "metrics=[null]"])
@pytest.mark.parametrize("command", ["evaluate", "benchmark"])
def test_a_group_without_an_option_names_its_options(
    refused: Refused, command: str, given: str
) -> None:
    base = [CLIPS] if command == "evaluate" else ["suite=smoke"]
    told = refused(f"cf.{command}", *base, given)
    assert f"{given} chooses nothing" in told
    assert "metrics=none" in told


@pytest.mark.parametrize(
    ("command", "given", "remedy"),
    [
        ("evaluate", "metrics={}", "~metrics.temporal_consistency"),
        ("benchmark", "gates={}", "~gates.motion_retention"),
        ("recall", "memories.window={}", "~memories.window"),
        ("generate", "sampling={}", "~sampling.block_frames"),
    ],
)
def test_an_empty_mapping_that_takes_nothing_away_is_told(
    refused: Refused, command: str, given: str, remedy: str
) -> None:
    told = refused(f"cf.{command}", given)
    assert f"{given} changes nothing" in told
    assert remedy in told


def test_what_may_be_null_may_be_given_as_null() -> None:
    given = ["checkpoint=.", "seconds=1", "memory=null", "model=null"]
    assert prepared(given, "generate") == ["checkpoint='.'", "seconds=1"]


def test_a_group_of_which_every_memory_is_null_is_told(refused: Refused, tmp_path: Path) -> None:
    none = [f"memories.{name}=null" for name in ("full", "slow_fast", "sink_window", "window")]
    assert "memories names none" in refused("cf.recall", f"students={{a:'{tmp_path}'}}", *none)


@pytest.mark.parametrize("name", ["clip.mov", "cut.mp4"])
def test_where_no_video_decodes_nothing_is_left(
    refused: Refused, tmp_path: Path, name: str
) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / name).write_bytes(b"PK\3\4" + bytes(200))
    told = refused("cf.evaluate", "videos=clips", "metrics=quick", "hydra.run.dir=out")
    assert "none of 1 videos can be decoded" in told
    assert not (tmp_path / "out").exists()
