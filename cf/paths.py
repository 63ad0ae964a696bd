"""Where the configuration files are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

_PLACES = (_PACKAGE / "_configs", _PACKAGE.parent / "configs")
CONFIG_DIR = str(next(place for place in _PLACES if place.is_dir()))
