"""Draws the responsibility matrix: what each metric makes of each graded distortion."""

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from distortions import DISTORTIONS
from expected_responses import EXPECTED, SCENES
from responsibility_matrix import STRENGTHS, Matrix, scenes

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "responsibility.png"
_BETTER, _WORSE = "#E08214", "#2166AC"
_COLOURS = LinearSegmentedColormap.from_list("judged", [_BETTER, "#FFFFFF", _WORSE])


def main() -> None:
    """Measure all distortions at all strengths, and draw; another picture may be named."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    matrix = Matrix(EXPECTED, scenes(SCENES))
    for distortion in tqdm(DISTORTIONS, unit="distortion"):
        for strength in STRENGTHS:
            matrix.measure(EXPECTED, distortion, strength)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(matrix).savefig(path, dpi=84, pil_kwargs={"optimize": True})


def drawn(matrix: Matrix) -> Figure:
    """A cell per metric and distortion: its values over the strengths, its verdict as colour."""
    figure = Figure(figsize=(13.6, 0.56 * len(EXPECTED) + 2.3), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(EXPECTED):
        for column, distortion in enumerate(DISTORTIONS):
            _cell(axes, matrix, name, distortion, (column, row))
    axes.set(xlim=(-0.5, len(DISTORTIONS) - 0.5), ylim=(len(EXPECTED) - 0.5, -0.5))
    names = [name.replace("_", " ") for name in DISTORTIONS]
    axes.set_xticks(range(len(names)), names, rotation=38, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(EXPECTED)), list(EXPECTED))
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    axes.spines[:].set_visible(False)
    text = (
        "Each line: the metric at strengths 0, ¼, ½, ¾, 1 of the distortion, on videos of WALK. "
        "Blue: it judges the distorted video worse; orange: better;\nwhite: it does not notice. "
        "Framed: it answers for it, and must move at every step. Star: a known weakness, asserted "
        "in the tests. Hatched: it gives no number."
    )
    axes.set_xlabel(text, fontsize=9, loc="left", labelpad=10)
    return figure


def _cell(axes: Axes, matrix: Matrix, name: str, distortion: str, place: tuple[int, int]) -> None:
    expected, (x, y) = EXPECTED[name], place
    values = np.array([matrix.value(name, distortion, strength) for strength in STRENGTHS])
    change = (values - values[0]) / expected.scale
    worse = -1.0 if expected.metric().higher_is_better else 1.0
    missing = math.isnan(change[-1])
    verdict = 0.0 if missing else float(np.clip(worse * change[-1], -1, 1))
    ground = "#EEEEEE" if missing else _COLOURS(0.5 + 0.5 * verdict)
    corner, hatch = (x - 0.47, y - 0.44), "////" if missing else None
    axes.add_patch(Rectangle(corner, 0.94, 0.88, fc=ground, ec="#CCCCCC", lw=0.5, hatch=hatch))
    across = x + np.linspace(-0.38, 0.38, len(STRENGTHS))
    height = y - 0.32 * np.clip(change, -1, 1)
    axes.plot(across, height, lw=1.4, color="w" if abs(verdict) > 0.6 else "k")
    if distortion in expected.must_respond:
        axes.add_patch(Rectangle(corner, 0.94, 0.88, fill=False, ec="k", lw=2, zorder=3))
    if distortion in expected.known_blind:
        axes.text(x + 0.42, y - 0.2, "★", fontsize=10, ha="right", va="center")


if __name__ == "__main__":
    main()
