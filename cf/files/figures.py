"""Figures as files."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from cf.files.atomic import replacing


def save_figure(figure: Figure, path: Path, dpi: float = 130) -> None:
    """Write a figure in the format of the file's suffix; equal figures give equal bytes.

    An SVG from Matplotlib holds the time and random names of its parts, by which a command that was
    repeated, or went on after a stop, would seem to have another result.

    Args:
        figure: what is drawn.
        path: the file; `.png` and `.svg` are used here.
        dpi: pixels per inch of a format that has pixels.
    """
    suffix = path.suffix[1:]
    metadata = {"Date": None} if suffix == "svg" else None
    with rc_context({"svg.hashsalt": "cf"}), replacing(path) as written:
        figure.savefig(written, dpi=dpi, format=suffix, metadata=metadata)
