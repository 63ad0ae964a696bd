"""What all pages of results share: one template, its style, and the pictures beside it."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from cf.bench.store import folder_of
from cf.files.atomic import write_text

_ASSETS = files("cf.report") / "assets"
_KINDS = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".png": "image/png"}
Link = Callable[[Path, str, str], str]
"""A file, whose it is and what it shows -> the address of it on the page."""


def render(folder: Path, **content: Any) -> Path:
    """Write `index.html` from what its sections show; nothing on it is fetched from anywhere.

    Args:
        folder: in which the page lies, beside its `media/`.
        content: what the template names. A section whose content is None is left out, and so is
            its entry in the list of sections.

    Raises:
        jinja2.UndefinedError: something that the template names is not given.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    template = environment.from_string((_ASSETS / "report.html").read_text())
    style, script = (Markup((_ASSETS / name).read_text()) for name in ("report.css", "report.js"))
    write_text(folder / "index.html", template.render(css=style, script=script, **content))
    return folder / "index.html"


def embedded(file: Path, contestant: str, item: str) -> str:
    """The file itself as an address, for a page that is one file."""
    data = base64.b64encode(file.read_bytes()).decode()
    return f"data:{_KINDS[file.suffix.lower()]};base64,{data}"


class Media:
    """Copies into `media/`, hard links where the file system has them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder / "media", ignore_errors=True)  # of an earlier report

    def __call__(self, file: Path, contestant: str, item: str) -> str:
        """The address of the copy, from the page."""
        copy = self.place(contestant, item, file.suffix.lower())
        try:
            os.link(os.path.realpath(file), copy)
        except OSError:
            shutil.copyfile(file, copy)
        return self.address(copy)

    def place(self, contestant: str, item: str, suffix: str) -> Path:
        """Where a file of one's own for the page is to be written; nothing lies there."""
        place = self._folder / "media" / folder_of(contestant) / f"{folder_of(item)}{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        return place

    def address(self, place: Path) -> str:
        """The address of a file in the page's folder."""
        return quote(place.relative_to(self._folder).as_posix())
