"""Where the configuration files are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

CONFIG_DIR = str(next(p for p in (_PACKAGE / "_configs", _PACKAGE.parent / "configs") if p.is_dir()))
