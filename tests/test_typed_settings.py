"""Settings as they are typed: a memory around another one, lists of settings."""

import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from cf.paths import CONFIG_DIR
from cf.settings.build import build, to_settings
from cf.settings.command_line import prepared
from cf.settings.given import typed_for


@pytest.mark.parametrize("inner", ["slow_fast", "merged", "short_window", "full"])
@pytest.mark.parametrize(
    "wrapper", ["recency_bias", "id_forcing", "commit_reads", "quantised", "pinned"]
)
def test_a_memory_within_another_has_no_settings_of_the_one_before(
    wrapper: str, inner: str
) -> None:
    """Once a window's settings stayed, and a memory that has no window was refused."""
    words = prepared([f"memory={wrapper}", f"+memory@memory.memory={inner}"], "memory_map")
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        memory = compose("memory_map", words).memory
        alone = compose("memory_map", [f"memory={inner}"]).memory
    assert memory.memory == alone
    assert build(to_settings(memory), "memory").memory == build(to_settings(alone), "memory")


def test_settings_of_a_memory_within_another_are_kept() -> None:
    given = ["+memory@memory.memory=slow_fast", "memory.memory.slow_frames=5"]
    words = prepared(["memory=recency_bias", *given], "memory_map")
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        memory = compose("memory_map", words).memory
    assert memory.memory.slow_frames == 5


def test_a_list_of_settings_is_told_with_the_quotes_that_it_needs() -> None:
    """Once it was told to be a list, which it was."""
    with pytest.raises(ValueError, match="write fit=") as refused:
        prepared(["fit=[trainer.max_steps=2,callbacks=recall]"], "demo")
    (typed,) = shlex.split(str(refused.value).rpartition("write ")[2])
    words = prepared([typed], "demo")
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        demo = compose("demo", words)
    assert demo.fit == ["trainer.max_steps=2", "callbacks=recall"]


@pytest.mark.parametrize(
    ("experiment", "scale", "remedy"),
    [
        ("doom_base", "tiny", "it takes scale=cpu or scale=gpu"),
        ("self_forcing_pp", "gpu", "it takes scale=tiny or scale=wan_1_3b"),
        ("walk_student", "gpu", "leave scale out"),
    ],
)
def test_a_scale_without_numbers_for_an_experiment_is_refused(
    experiment: str, scale: str, remedy: str
) -> None:
    """Once the scale's own world or module took the place of the experiment's, without a word."""
    with pytest.raises(ValueError, match=f"no numbers of scale={scale}: .*{remedy}"):
        prepared([f"experiment={experiment}", f"scale={scale}"], "fit")


def test_a_printed_command_repeats_what_was_typed_and_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once `cf.play` was printed without the memory and the steps that `cf.generate` was given."""
    typed = ["memory=window", "memory.window_frames=9", "sampling.num_steps=4", "world_seed=3"]
    other = ["seconds=5", "samples=2", "camera_path@path=tour", "save_every=7"]
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        cfg = compose("generate", [*typed, *other], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        assert sorted(typed_for("play", aside=("seconds",))) == sorted(typed)
    prepared(typed, "play")
