"""Pages that are drawn from the code are what the code draws; what they name is there."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from cf.settings.groups_listed import own_groups

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.mark.slow
def test_the_page_of_settings_is_what_the_code_draws() -> None:
    import settings_page

    assert settings_page.PAGE.read_text() == settings_page.page()


def test_every_setting_stands_with_its_comment(tmp_path: Path) -> None:
    import settings_page

    file = tmp_path / "a.yaml"
    file.write_text("# A heading.\n\n# How many.\n# At least one.\ncount: 3\nname: ??? # of it\n")
    assert [*settings_page.settings_of(file)] == [
        ("count", "3", "How many. At least one."),
        ("name", "must be given", "of it"),
    ]


def test_what_the_reference_names_can_be_imported() -> None:
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert len(names) > 5
    for name in names:
        assert import_module(name).__doc__


def test_every_page_is_in_the_table_of_contents() -> None:
    told = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = set(re.findall(r"[\w-]+\.md", str(told)))
    assert named == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_a_commands_help_lists_the_groups_that_it_has() -> None:
    configs = ROOT / "configs"
    groups = own_groups(configs / "evaluate.yaml", configs)
    assert groups == {"metric", "metrics", "extractor", "gate_set"}
    assert own_groups(configs / "demo.yaml", configs) == {"study"}
    assert {"contestant", "suite/world", "camera_path"} <= own_groups(
        configs / "benchmark.yaml", configs
    )
    elsewhere = ROOT / "benchmarks" / "throughput.yaml"
    assert {"model", "schedule", "rollout"} <= own_groups(elsewhere, configs)
