"""What is said where OpenCV is installed but the libraries of its windows are not."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "cf"


@pytest.mark.whole
@pytest.mark.parametrize("name", ["evaluate", pytest.param("fit", marks=pytest.mark.exhaustive)])
def test_a_missing_libgl_is_told_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    given = {"evaluate": f"videos={tmp_path}", "fit": f"data.folder={tmp_path}"}[name]
    command = [sys.executable, "-m", f"cf.{name}", given, f"hydra.run.dir={tmp_path / 'out'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "libGL.so.1" in line]
    assert len(lines) == 1
    assert "pip install opencv-python-headless" in lines[0]
    assert not (tmp_path / "out").exists()


def test_opencv_is_imported_in_one_place() -> None:
    found = [path for path in SOURCES.rglob("*.py") if "import cv2" in path.read_text()]
    through = "from cf.system.opencv import cv2"
    own = [path for path in found if "\nimport cv2" in path.read_text().replace(through, "")]
    own.remove(SOURCES / "data" / "world" / "doom" / "game.py")  # a script, without cf
    assert own == []
