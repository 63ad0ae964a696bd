"""The page that adds a memory: its files, its commands, and that two files are all it takes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cf.memory.commit_reads import CommitReads
from cf.memory.pooled import Pooled
from cf.models.checkpoints import save_export
from cf.models.transformer import VideoTransformer
from cf.paths import CONFIG_DIR
from cf.settings.trusted import vet_export

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding-a-memory.md").read_text()
FILES = dict(re.findall(r"Save as `([^`]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = re.findall(r"^python (-m cf\.\w+ .*)$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the reader of the page has after its first two steps."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(command: str, cwd: Path, root: Path = ROOT) -> str:
    """What a command says; it must succeed."""
    done = subprocess.run(
        [sys.executable, *command.split()],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_page_has_two_files_and_every_kind_of_command() -> None:
    assert set(FILES) == {"mine/strided.py", "my_configs/memory/strided.yaml"}
    named = {command.split()[1] for command in COMMANDS}
    assert named == {"cf.memory_map", "cf.generate", "cf.fit"}


def test_a_memory_of_ones_own_is_drawn(folder: Path) -> None:
    command = next(c for c in COMMANDS if "memory.stride=4" in c)
    run(f"{command} story.frames=48 hydra.run.dir=drawn", folder)
    assert (folder / "drawn" / "strided.png").stat().st_size > 1000


def test_a_wrapped_memory_is_exchanged_as_the_page_says() -> None:
    (command,) = (c for c in COMMANDS if "memory@" in c)
    with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
        cfg = compose("memory_map", command.split()[2:])
    made = instantiate(cfg.memory, _convert_="all")
    assert isinstance(made, CommitReads)
    assert isinstance(made.memory, Pooled)


def exported(path: Path) -> Path:
    """An untrained network as a run would export it."""
    with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
        cfg = compose("fit", ["memory=sliding", "model.num_layers=1", "hydra.runtime.output_dir=o"])
    parts = {
        name: OmegaConf.to_container(cfg[name], resolve=True)
        for name in ("model", "codec", "text", "rollout")
    }
    torch.manual_seed(0)
    network = instantiate(parts["model"], _convert_="all")
    assert isinstance(network, VideoTransformer)
    config = {**parts, "fps": 8, "size": [32, 32]}
    save_export(path, network.state_dict(), config)
    return path


@pytest.mark.slow
def test_a_memory_of_ones_own_generates(folder: Path) -> None:
    exported(folder / "net.safetensors")
    (command,) = (c for c in COMMANDS if "cf.generate" in c and " -m" not in c[3:])
    command = command.replace("RUN", "net.safetensors")
    run(f"{command} seconds=4 hydra.run.dir=made", folder)
    assert (folder / "made" / "video_0.mp4").exists()
    assert "Strided(stride=8" in (folder / "made" / "generate.json").read_text()


def test_what_only_a_file_names_is_refused_at_any_depth() -> None:
    own = {"_target_": "cf.rollout.Rollout", "memory": {"_target_": "cf.memory.full.Full"}}
    vet_export({"rollout": own}, "the checkpoint")
    for memory in (
        {"_target_": "mine.strided.Strided"},
        {"_target_": "cf.memory.quantised.Quantised", "memory": {"_target_": "os.system"}},
        {"_target_": "cf.memory.full.Full", "list": [{"_target_": "os.system"}]},
    ):
        with pytest.raises(
            ValueError, match=r"not part of cf; name it yourself \(memory=\.\.\., and --config-dir"
        ):
            vet_export({"rollout": {**own, "memory": memory}}, "the checkpoint")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_new_files_make_it_part_of_cf(tmp_path: Path) -> None:
    """In a copy of the checkout, of which nothing else is touched, the contract tests find it."""
    for part in ("cf", "configs", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, yaml = FILES.values()
    (tmp_path / "cf" / "memory" / "strided.py").write_text(file)
    (tmp_path / "configs" / "memory" / "strided.yaml").write_text(
        yaml.replace("mine.strided", "cf.memory.strided")
    )
    quiet = "-m pytest -q -p no:cacheprovider"
    found = run(f"{quiet} tests/test_memory.py -k strided", tmp_path, tmp_path)
    passed = re.search(r"(\d+) passed", found)
    assert passed is not None
    assert int(passed[1]) >= 10
    configs = run(f"{quiet} tests/test_configs.py -k memory/strided", tmp_path, tmp_path)
    assert re.search(r"[1-9]\d* passed", configs)
    drawn = run(
        "-m cf.memory_map memory=strided story.frames=24 hydra.run.dir=d", tmp_path, tmp_path
    )
    assert "strided.png" in drawn
