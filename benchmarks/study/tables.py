"""The tables of the study, from its rows.

    python benchmarks/study/tables.py                             of the committed rows
    python benchmarks/study/tables.py outputs/sweep/study/study  of a study of yours, to keep

Rows are of each video: contestant, place, training seed, outcome, value. Means and intervals are
over trainings and places. The test is that of PLAN.md: exact, of pairs by training seed, corrected
by Holm over the three comparisons that the plan names.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from cf.files.tables import markdown_of, number
from cf.stats.paired import Interval, corrected
from cf.stats.trainings import Values, mean_over_trainings, versus

ROWS = Path(__file__).parents[1] / "results" / "study" / "rows.csv"
PRIMARY, HELD = "PoseRevisitPSNR", "full_through"
OUTCOMES = (PRIMARY, "ForcedChoice[surfaces]", "ForcedChoice[objects]", "PoseObedience")
ARMS = ("previous_detached", "previous_through", "full_detached", HELD)
"""Those that would speak against the thesis first."""
MEMORIES = ("full_memory", "sink_window", "truth")
_KEPT = ("contestant", "prompt", "training", "metric", "value")
Rows = Mapping[str, Mapping[str, Values]]
"""By outcome and contestant: values of a training and a place."""


def main() -> None:
    """Keep the rows of the results that are named, if any are; print the tables of what is kept."""
    for folder in sys.argv[1:]:
        keep(Path(folder) / "per_video.csv", ROWS)
    sys.stdout.write(tables(read(ROWS)))


def keep(measured: Path, rows: Path) -> None:
    """The columns and outcomes of a benchmark's rows of which the tables are made.

    Args:
        measured: `per_video.csv` of the benchmark.
        rows: the file that is written.
    """
    with measured.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["metric"] in OUTCOMES and row["value"]]
    rows.parent.mkdir(parents=True, exist_ok=True)
    with rows.open("w", newline="") as file:
        writer = csv.DictWriter(file, _KEPT, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "value": f"{float(row['value']):.6g}"} for row in found)


def read(rows: Path) -> Rows:
    """What `keep` wrote.

    Args:
        rows: the file.
    """
    found: dict[str, dict[str, dict[tuple[int | None, str], float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    with rows.open(newline="") as file:
        for row in csv.DictReader(file):
            training = int(float(row["training"])) if row["training"] else None
            unit = training, row["prompt"]
            found[row["metric"]][row["contestant"]][unit] = float(row["value"])
    return found


def tables(rows: Rows) -> str:
    """Arms and memories by outcome, then the three differences of the plan.

    Args:
        rows: of all videos.
    """
    parts = []
    for title, names in (("arm", ARMS), ("memory of full_through", (HELD, *MEMORIES))):
        lines = [
            [name, *(told(mean_over_trainings(rows[of][name])) for of in OUTCOMES)]
            for name in names
        ]
        parts += [*markdown_of([[title, *OUTCOMES], *lines]), ""]
    of = rows[PRIMARY]
    others = [name for name in ARMS if name != HELD]
    pairs = corrected((PRIMARY, HELD, one, versus(of[HELD], of[one], True)) for one in others)
    lines = [
        [
            *(f"{HELD} - {pair.second}", told(pair.comparison.difference)),
            *(f"{pair.comparison.p:.3g}", f"{pair.corrected_p:.3g}"),
            f"{pair.comparison.detectable:.2g}",
        ]
        for pair in pairs
    ]
    heading = [f"{PRIMARY}, dB", "difference", "p", "p (Holm)", "detectable"]
    parts += markdown_of([heading, *lines])
    return "\n".join(parts) + "\n"


def told(found: Interval) -> str:
    """A value with its interval, as tables have it.

    Args:
        found: what is told.
    """
    low, high = number(found.low, ".2f"), number(found.high, ".2f")
    return f"{number(found.value, '.2f')} [{low}, {high}]"


if __name__ == "__main__":
    main()
