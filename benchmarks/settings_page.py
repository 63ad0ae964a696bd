"""Draws docs/settings.md from configs/ and the schema of each command: nothing on it is typed.

python benchmarks/settings_page.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import yaml

from cf.files.atomic import write_text
from cf.files.tables import inline, markdown_of
from cf.paths import CONFIG_DIR
from cf.settings.checks import kind_of
from cf.settings.schema import COMMANDS

ROOT = Path(__file__).parents[1]
CONFIGS = Path(CONFIG_DIR)
PAGE = ROOT / "docs" / "settings.md"
_LONGEST = 60  # characters of a default
_KEY = re.compile(r"^([a-z_]+):(.*)$")


def page() -> str:
    """The page: every command's own settings, and the options of every group."""
    parts = [
        "# Settings",
        "Every command takes `name=value`, as often as you like; a group takes one of its "
        "options by name, `memory=slow_fast`, and a setting inside it by its path, "
        "`memory.slow_frames=12`. "
        "This page is drawn from the code by `python benchmarks/settings_page.py`; a test compares "
        "the two. `--help` shows the same with the values that hold.",
        "## Commands",
    ]
    for command in COMMANDS:
        parts += [f"### cf.{command}", _command(command)]
    parts += [
        "## Groups",
        "An option is a file of `configs/`; one of your own lies in a folder "
        "that `--config-dir` names.",
    ]
    for folder in sorted(one for one in CONFIGS.iterdir() if one.is_dir()):
        rows = [["option", "what it is"], *_options(folder)]
        if len(rows) > 1:
            parts += [f"### {folder.name}", "\n".join(markdown_of(rows))]
    return "\n\n".join(parts) + "\n"


def _command(command: str) -> str:
    rows = [["setting", "takes", "default", "what it is"]]
    for name, default, told in settings_of(CONFIGS / f"{command}.yaml"):
        rows.append([name, kind_of(command, name) or "a group's settings", default, told])
    return "\n".join(markdown_of(rows))


def settings_of(file: Path) -> Iterator[tuple[str, str, str]]:
    """Name, default and comment of each setting at the top of a file, in order.

    A comment is what stands right above a setting, or beside it.
    """
    values = yaml.safe_load(file.read_text())
    above: list[str] = []
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            above.append(line.lstrip("# "))
        elif (found := _KEY.match(line)) and found[1] not in ("defaults", "hydra"):
            beside = found[2].partition(" # ")[2]
            told = " ".join(filter(None, [*above, beside]))
            yield found[1], _short(values[found[1]]), told
            above = []
        elif not line.startswith(" "):
            above = []


def _short(value: object) -> str:
    if value == "???":
        return "must be given"
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _options(folder: Path) -> Iterator[list[str]]:
    for file in sorted(folder.glob("*.yaml")):
        yield [file.stem, _told(file)]


def _told(file: Path) -> str:
    """The comment with which an option begins; else what its class says of itself."""
    lines = [one for one in file.read_text().splitlines() if not one.startswith("# @package")]
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    if comment:
        return " ".join(comment)
    target = next((one.split()[1] for one in lines if one.startswith("_target_:")), "")
    if not target.startswith("cf."):
        return ""
    module, _, name = target.rpartition(".")
    documented = getattr(import_module(module), name).__doc__ or ""
    return inline(documented.strip().split("\n")[0])


if __name__ == "__main__":
    if sys.argv[1:]:
        raise SystemExit("settings_page: it takes no arguments; it writes docs/settings.md")
    write_text(PAGE, page())
