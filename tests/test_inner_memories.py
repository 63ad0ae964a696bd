"""A memory around another one, as it is typed."""

import pytest
from hydra import compose, initialize_config_dir

from cf.paths import CONFIG_DIR
from cf.settings.build import build, to_settings
from cf.settings.command_line import prepared


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
