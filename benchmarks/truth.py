"""Draws what measures against an engine's picture make of videos wrong in known ways."""

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from truth_matrix import TRUTH_DUTIES, WRONG, TruthDuty, TruthMatrix

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "truth.png"
_VIDEOS, _SECONDS = 4, 16.0


def main() -> None:
    """Measure, and draw; another picture, and how many videos, may be given."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    matrix = TruthMatrix(int(sys.argv[2]) if len(sys.argv) > 2 else _VIDEOS, _SECONDS)
    matrix.measure()
    drawn(matrix).savefig(path, dpi=84, pil_kwargs={"optimize": True})
    for row in TRUTH_DUTIES:
        told = ", ".join(f"{wrong} {matrix.values[row, wrong]:.3f}" for wrong in WRONG)
        sys.stdout.write(f"{row}: {told}\n")


def drawn(matrix: TruthMatrix) -> Figure:
    """A cell per measure and wrong: its value, and as blue how much of the truth's is lost."""
    figure = Figure(figsize=(11, 0.62 * len(TRUTH_DUTIES) + 2.0), layout="constrained")
    axes = figure.subplots()
    for y, (row, duty) in enumerate(TRUTH_DUTIES.items()):
        for x, wrong in enumerate(WRONG):
            _cell(axes, duty, matrix.values[row, wrong], wrong, (x, y))
    axes.set(xlim=(-0.5, len(WRONG) - 0.5), ylim=(len(TRUTH_DUTIES) - 0.5, -0.5))
    names = [name.replace("_", " ") for name in WRONG]
    axes.set_xticks(range(len(names)), names, rotation=30, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(TRUTH_DUTIES)), list(TRUTH_DUTIES))
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    axes.spines[:].set_visible(False)
    text = (
        f"{matrix.videos} walks through places of DOOM, {matrix.seconds:g} s each: wrong from the "
        "first generated frame on. The deeper the blue, the more of the true\nvideo's value is "
        "lost (PSNR: of 100 dB; LPIPS: .5). Framed: the measure is in charge, and must tell.\n"
        "Dotted: it must keep still."
    )
    axes.set_xlabel(text, fontsize=9, loc="left", labelpad=10)
    return figure


def _cell(axes: Axes, duty: TruthDuty, value: float, wrong: str, place: tuple[int, int]) -> None:
    (x, y), lost = place, (duty.right - value) / (duty.right - duty.lost)
    lost = min(max(lost, 0.0), 1.0)
    colour = tuple(1 - lost * (1 - part) for part in (0.13, 0.4, 0.67))
    box = {"xy": (x - 0.47, y - 0.44), "width": 0.94, "height": 0.88}
    axes.add_patch(Rectangle(**box, fc=colour, ec="#CCCCCC", lw=0.5))
    text = f"{value:.0f}" if duty.right > 1 else f"{value:.2f}"
    axes.text(x, y, text, ha="center", va="center", color="w" if lost > 0.6 else "k", fontsize=10)
    if wrong in duty.charge:
        axes.add_patch(Rectangle(**box, fill=False, ec="k", lw=2, zorder=3))
    if wrong in duty.still:
        axes.add_patch(Rectangle(**box, fill=False, ec="k", lw=1.2, ls=":", zorder=3))


if __name__ == "__main__":
    main()
