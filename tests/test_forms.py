"""Hydra's other forms (`+x=`, `++x=`, `~x`, `-m`) with free text and paths, and hostile targets."""

import os
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_benchmarks import in_this_process

from cf.paths import CONFIG_DIR
from cf.settings.command_line import prepared

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def value(command: str, name: str, *given: str) -> Any:
    """A setting as a command has it in the end."""
    settings = [one for one in prepared(given, command) if not one.startswith("-")]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        chosen = OmegaConf.select(compose(command, settings, return_hydra_config=True), name)
    return OmegaConf.to_container(chosen) if OmegaConf.is_config(chosen) else chosen


@pytest.mark.parametrize(
    ("command", "given", "name", "expected"),
    [
        ("benchmark", "++title=it's 100% {a}, [b] #1", "title", "it's 100% {a}, [b] #1"),
        ("benchmark", "+networks.mine=a (1)/x=2", "networks.mine", "a (1)/x=2"),
        ("benchmark", "++networks.mine=~/a, b", "networks.mine", "HOME/a, b"),
        ("benchmark", "++networks={a: x (1)}", "networks", {"a": "x (1)"}),
        ("benchmark", "+contestants.x.folder=a, (b)", "contestants.x.folder", "a, (b)"),
        ("benchmark", "++hydra.run.dir=a b/c=1 (2)", "hydra.run.dir", "a b/c=1 (2)"),
        ("fit", "++data.folder=a (1), b", "data.folder", "a (1), b"),
        ("compare", "+groups.a=x (1)", "groups.a", "x (1)"),
        ("evaluate", "+videos.new=~/a, b", "videos.new", "HOME/a, b"),
    ],
)
def test_texts_and_paths_arrive_as_they_were_typed(
    command: str, given: str, name: str, expected: Any
) -> None:
    home = os.path.expanduser("~")
    wanted = expected.replace("HOME", home) if isinstance(expected, str) else expected
    assert value(command, name, given) == wanted


@pytest.mark.whole
def test_several_runs_have_texts_between_quotes() -> None:
    for form in ("data.folder", "++data.folder"):
        *_, given = prepared(["-m", f"{form}='a (1)','b, c'"], "fit")
        assert given == f"{form}='a (1)','b, c'"
        *_, given = prepared(["-m", f"{form}=a (1), b"], "fit")
        assert given == f"{form}='a (1), b'"
    *_, given = prepared(["-m", "memory=glob(sli*)"], "memory_map")
    assert given == "memory=glob(sli*)"


@pytest.mark.parametrize(
    ("command", "given", "told"),
    [
        ("generate", ["+prompt=it's, 100% #1"], "prompt already.* write prompt="),
        ("generate", ["~prompt"], "~prompt: this setting cannot be taken out.*prompt="),
        ("generate", ["~prompt=it's a fox"], "~prompt: this setting cannot be taken out"),
        ("generate", ["~sed"], "no setting 'sed'; did you mean seed"),
        ("generate", ["~~prompt"], "name=value"),
        ("generate", ["+~prompt=a"], "name=value"),
        ("generate", ["+++prompt=a"], "name=value"),
        ("generate", ["-m", "seed=glob(*)"], "gives no value"),
        ("benchmark", ["+hydra.run.dir=a b"], "hydra.run.dir already.* write hydra.run.dir="),
        ("benchmark", ["~hydra.run.dir"], "hydra.run.dir: it cannot be taken out"),
        ("benchmark", ["~seed"], "~seed: this setting cannot be taken out"),
        ("fit", ["~data.folder"], "data.folder: it is not given"),
        ("evaluate", ["~metrics"], "metrics is a group of options"),
    ],
)
def test_what_cannot_be_is_told_with_its_remedy(command: str, given: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        prepared(given, command)


def test_the_remedy_of_what_cannot_be_read_is_read() -> None:
    """A setting that only another one brings is known, and a list is quoted entry by entry."""
    with pytest.raises(ValueError, match="cannot be read") as told:
        prepared(["-m", "sweep=study", "sweep.benchmark=[suite=recall, world=doom]"], "fit")
    remedy = re.search(r'write (.*)="(.*)"$', str(told.value))
    assert remedy is not None
    settings = ["sweep=study", "=".join(remedy.groups())]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        cfg = compose("fit", settings)
    assert [*cfg.sweep.benchmark] == ["suite=recall", "world=doom"]


TARGETS = {
    "throughput": ("model._target_=os.system", "memories=[sliding]"),
    "memory": ("sizes={tiny: ['model._target_=os.system']}", "memories=[sliding]"),
    "metrics": ("extractor._target_=subprocess.Popen", "hours=null", "metrics=none"),
}


@pytest.mark.parametrize("script", TARGETS)
def test_no_script_runs_a_foreign_target(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("os.system", lambda *_: seen.append("os.system"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    argv = [script, *TARGETS[script], f"folder={tmp_path / 'rows'}"]
    monkeypatch.setattr(sys, "argv", argv)
    spec = spec_from_file_location(script, BENCHMARKS / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script, module)
    spec.loader.exec_module(module)
    if script != "metrics":  # in this process, where it would be seen
        monkeypatch.setattr("throughput.Worker.started", in_this_process)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 1
    assert f"benchmarks/{script}.py: " in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.jsonl"))
    assert not seen


@pytest.mark.slow
def test_a_demo_starts_no_foreign_target(tmp_path: Path, refused: Command) -> None:
    out = tmp_path / "out"
    hostile = 'fit=["optimizer._target_=os.system"]'
    assert "cf.fit ended with status 1" in refused("cf.demo", hostile, f"hydra.run.dir='{out}'")
    assert not list(out.rglob("*.safetensors"))
