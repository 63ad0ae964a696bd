"""The versions that numbers depend on: of this project and of its libraries."""

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cf

_LIBRARIES = ("av", "numpy", "opencv-python", "scipy", "torch", "torchmetrics", "torchvision")


def versions() -> dict[str, str]:
    """Name -> version; `commit` only in a checkout."""
    libraries = {"context-forcing": cf.__version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):  # a headless OpenCV has another name
            libraries[name] = version(name)
    commit = _commit(Path(cf.__file__).parent)
    return libraries | ({"commit": commit} if commit else {})


def _commit(folder: Path) -> str:
    """Of the checkout that holds the package, marked if files differ from it; empty without."""
    git = ("git", "-C", str(folder))
    try:
        place = subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=False
        )
        if place.returncode:
            return ""
        description = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return ""
    return description.stdout.strip()
