"""A text that would never be seen is refused before the work, by every command that takes texts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import Command

from cf.models.checkpoints import save_export
from cf.models.transformer import VideoTransformer

WIDTHS: dict[str, Any] = {"dim": 24, "num_heads": 2, "num_layers": 1, "ffn_dim": 24}
WIDTHS |= {"latent_shape": [3, 8, 8], "patch_size": [4, 4]}
ENTRY = (
    "suite=interactive_prompts",
    "contestants=none",
    "+contestant@contestants.drawn=untrained",
    "contestants.drawn.model.control_dim=null",  # texts have no camera
    "asked.fps=8",
    "asked.size=[32,32]",
    "workers=0",
    "devices=cpu",
)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network at 8 frames per second, in blocks of three frames."""
    made = tmp_path_factory.mktemp("export") / "network.safetensors"
    memory = {"_target_": "cf.memory.Sliding", "window_frames": 6}
    schedule = {"_target_": "cf.schedule.FlowSchedule"}
    rollout = {"_target_": "cf.rollout.Rollout", "block_frames": 3, "num_steps": 1}
    config = {
        "model": {"_target_": "cf.models.transformer.VideoTransformer", **WIDTHS},
        "codec": {"_target_": "cf.models.codec.PixelCodec"},
        "text": {"_target_": "cf.models.text.NoText"},
        "rollout": {**rollout, "schedule": schedule, "memory": memory},
        "fps": 8,
        "size": [8, 8],
        "step": 1,
    }
    save_export(made, VideoTransformer(**WIDTHS).state_dict(), config)
    return made


@pytest.mark.parametrize(
    ("acts", "told"),
    [
        ("[[0,a],[0.01,b]]", "texts of 0 s and 0.01 s begin in one block, of 0.375 s"),
        ("[[0,a],[0.2,b],[0.3,c]]", "texts of 0.2 s and 0.3 s begin in one block"),
        ("[[0,a],[2,b]]", "text of 2 s would never be seen: the video ends after seconds=2"),
        ("[[0,a],[1.95,b]]", "text of 1.95 s would never be seen"),
        ("[[0,a],[100,b]]", "text of 100 s would never be seen"),
    ],
)
def test_generate(acts: str, told: str, export: Path, tmp_path: Path, refused: Command) -> None:
    out = tmp_path / "out"
    of = (f"checkpoint='{export}'", "seconds=2", f"hydra.run.dir='{out}'")
    assert told in refused("cf.generate", *of, f"prompts={acts}")
    assert not out.exists()


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([0, 0.01], r"the texts of 0 s and 0.01 s begin in one block, of 0.375 s"),
        ([0, 1, 1.1], r"the texts of 1 s and 1.1 s begin in one block"),
        ([0, 2], r"the text of 2 s would never be seen: the longest of durations is 2 s"),
        ([0, 1.95], r"the text of 1.95 s would never be seen"),
        ([0, 1, 60], r"the text of 60 s would never be seen"),
    ],
)
def test_benchmark(times: list[float], told: str, tmp_path: Path, refused: Command) -> None:
    listed, out = tmp_path / "texts.jsonl", tmp_path / "out"
    whole = {"prompt_id": "whole", "text": "a fox"}
    late = {"prompt_id": "late", "segments": [[at, f"text {at}"] for at in times]}
    listed.write_text(f"{json.dumps(whole)}\n{json.dumps(late)}\n")
    asked = (*ENTRY, f"asked.file='{listed}'", "durations=[1,2]", f"hydra.run.dir='{out}'")
    assert re.search(f"late, made by drawn: {told}", refused("cf.benchmark", *asked))
    assert not (out / "videos").exists()


@pytest.mark.parametrize(
    ("times", "told"),
    [([0, 1, 1.01], "texts of 1 s and 1.01 s begin in one block"), ([0, 2], "text of 2 s would")],
)
def test_generate_from_a_file(
    times: list[float], told: str, export: Path, tmp_path: Path, refused: Command
) -> None:
    listed, out = tmp_path / "texts.jsonl", tmp_path / "out"
    script = {"prompt_id": "late", "segments": [[at, f"text {at}"] for at in times]}
    listed.write_text(json.dumps({"prompt_id": "whole", "text": "a fox"}) + "\n")
    listed.write_text(listed.read_text() + json.dumps(script) + "\n")
    of = (f"checkpoint='{export}'", "seconds=2", f"hydra.run.dir='{out}'")
    message = refused("cf.generate", *of, f"prompts_file='{listed}'")
    assert told in message
    assert f"{listed}, line 2: " in message
    assert not out.exists()
