"""Classes have moved; what was written before names them as they were called then, for ever."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import give

import cf.memory
import cf.metrics
import cf.rollout
from cf.bench.store import Job
from cf.bench.tasks.base import Sample, VideoSpec
from cf.models.checkpoints import save_export
from cf.models.transformer import VideoTransformer
from cf.settings.command_line import prepared
from cf.settings.renamed import FIRST_HOMES, with_current_names, with_first_names
from cf.settings.targets import class_of

FACES = [cf.memory, cf.metrics, cf.rollout]


@pytest.mark.parametrize("name", sorted(FIRST_HOMES))
def test_every_class_that_moved_is_found_by_either_name(name: str) -> None:
    now = {"of": [{"_target_": name, "inner": {"_target_": name}}]}
    before = with_first_names(now)
    assert before["of"][0]["_target_"] == f"{FIRST_HOMES[name]}.{name.rpartition('.')[2]}"
    assert with_current_names(before) == now
    assert isinstance(class_of(name), type)


@pytest.mark.parametrize("face", FACES, ids=lambda face: str(face.__name__))
def test_a_face_hands_on_what_it_names_and_imports_nothing_before(face: object) -> None:
    names = face.__all__  # type: ignore[attr-defined]
    assert len(names) > 5
    for name in names:
        assert getattr(face, name).__name__ == name
    code = f"import {face.__name__}, sys; print(*sys.modules)"  # type: ignore[attr-defined]
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "torch" not in loaded.split()


def test_a_finished_video_is_told_from_others_as_before() -> None:
    """The hash that stands in the rows of finished benchmarks, from before classes moved."""
    flush = {"_target_": "cf.rollout.Flush", "recent_frames": 2}
    network = {
        "_target_": "cf.bench.contestants.network.Network",
        "checkpoint": None,
        "rollout": {"_target_": "cf.rollout.Rolling", "num_steps": 5},
        "switch": flush,
    }
    dino = {"_target_": "cf.metrics.extractors.dino.Dino", "name": "x"}
    job = Job(
        "mine",
        network,
        "abc",
        {"_target_": "cf.bench.tasks.prompts.Prompts", "file": "a.txt"},
        Sample("fox-0", "a fox", 0, ((0.0, "a fox"),)),
        VideoSpec(8.0, (32, 32)),
        (1.0, 2.0),
        {
            "loops": {"_target_": "cf.metrics.LoopRate"},
            "drift": {"_target_": "cf.metrics.SemanticDrift", "extractor": dino},
        },
    )
    assert job.digest() == "dd80ac94"


def test_an_export_of_before_still_generates(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"dim": 24, "num_heads": 2, "num_layers": 1, "ffn_dim": 24}
    sizes |= {"latent_shape": [3, 8, 8], "patch_size": [4, 4]}
    config = {
        "model": {"_target_": "cf.models.transformer.VideoTransformer", **sizes},
        "codec": {"_target_": "cf.models.codec.PixelCodec"},
        "text": {"_target_": "cf.models.text.NoText"},
        "rollout": {
            "_target_": "cf.rolling.Rolling",
            "block_frames": 3,
            "num_steps": 2,
            "schedule": {"_target_": "cf.schedule.FlowSchedule"},
            "memory": {
                "_target_": "cf.memory.anchor.Anchor",
                "window_frames": 6,
                "faithful": False,
            },
        },
        "fps": 8,
        "size": [8, 8],
        "step": 1,
    }
    save_export(tmp_path / "old.safetensors", VideoTransformer(**sizes).state_dict(), config)
    of = (f"checkpoint='{tmp_path / 'old.safetensors'}'", "seconds=1", "device=cpu", "size=[8,8]")
    switch = ("++switch._target_=cf.switch.Keep", "switch=keep")
    give("cf.generate", *of, *switch, f"hydra.run.dir='{tmp_path / 'out'}'")
    assert list((tmp_path / "out").rglob("*.mp4"))


def test_a_setting_that_was_renamed_is_taken_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    taken = prepared(["memory=anchor", "memory.faithful=true"], "memory_map")
    assert "memory.as_released=true" in taken
    assert "memory.faithful is called memory.as_released today" in capfd.readouterr().err
    assert with_first_names({"memory": {"as_released": True}}) == {"memory": {"faithful": True}}


@pytest.mark.parametrize(("value", "gradient"), [(True, "ThroughPast"), (False, "Detached")])
def test_how_gradient_flowed_before_it_was_a_choice(value: bool, gradient: str) -> None:
    length = {"_target_": "cf.modules.rollout_length.Length", "least": 6}
    module = {"_target_": "cf.modules.distill.DistillModule", "length": length}
    before = {"module": {**module, "differentiable_past": value}, "seed": 0}
    now = with_current_names(before)["module"]
    assert now["gradient"] == {"_target_": f"cf.distillation.gradients.{gradient}"}
    assert "differentiable_past" not in now
    assert now["length"]["_target_"] == "cf.distillation.rollout_length.Length"
    typed = prepared(["module=distill", f"module.differentiable_past={value}", "data=rooms"], "fit")
    assert f"gradient={'through_past' if value else 'detached'}" in typed
