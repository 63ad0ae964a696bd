"""The package as people get it: built, installed into a fresh environment, used elsewhere."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

import pytest
from test_evaluate import drawn

import cf
from cf.__main__ import available

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.whole,
    pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling builds the packages"),
]


def told(*command: str | Path, cwd: Path) -> str:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(one) for one in command]
    done = subprocess.run(words, cwd=cwd, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def built(source: Path, kind: str, folder: Path) -> Path:
    """A wheel or sdist of the sources, as `pip install` has it built."""
    code = f"from hatchling.build import build_{kind}; build_{kind}({str(folder)!r})"
    told(sys.executable, "-c", code, cwd=source)
    (made,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has this package from the wheel of its sdist.

    Its libraries are those of this environment: they lie behind a path, and are not copied.
    """
    folder = tmp_path_factory.mktemp("packages")
    sdist = built(ROOT, "sdist", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    wheel = built(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    told(*pip, wheel, cwd=folder)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    # A path in a .pth file is searched last, and .pth files within it are not read: an editable
    # install of the checkout stays out.
    (site / "libraries.pth").write_text(get_path("purelib") + "\n")
    return python


def test_every_command_is_there_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = told(installed, "-c", "import cf; print(cf.__file__)", cwd=tmp_path)
    assert str(installed.parents[1]) in where
    listed = told(installed.parent / "cf", cwd=tmp_path)
    for name in available():
        assert f"cf.{name}" in listed
    assert cf.__version__ in told(
        installed,
        "-c",
        "from importlib.metadata import version as v; print(v('context-forcing'))",
        cwd=tmp_path,
    )


def test_videos_are_measured_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    for who in ("ours", "theirs"):
        drawn(tmp_path / who / "a.mp4", seed=len(who))
    flicker = "+metrics.flickering._target_=cf.metrics.TemporalFlickeringVBench"
    command = (installed, "-m", "cf.evaluate", "videos=[ours,theirs]", "metrics=none", flicker)
    told(*command, "hydra.run.dir=out", cwd=tmp_path)
    assert "</html>" in (tmp_path / "out" / "index.html").read_text()


def test_the_sdist_holds_what_its_tests_and_pages_need(installed: Path) -> None:
    (sdist,) = installed.parents[2].glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "Makefile", "configs/fit.yaml", "tests/commands.py"} <= names
    (wheel,) = installed.parents[2].glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in inside if name.startswith(("tests/", "docs/", "benchmarks/"))]
    assert {f"cf/report/assets/report.{kind}" for kind in ("html", "css", "js")} <= {*inside}
