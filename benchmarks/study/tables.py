"""The tables of the study, from its rows.

    python benchmarks/study/tables.py        of the committed rows
    python benchmarks/study/tables.py outputs/sweep/study/study outputs/sweep/study/study_memories
                                             of studies of yours, whose rows are kept

Rows are of each video: contestant, place, training seed, outcome, value. Means and intervals are
over trainings and places. The tests are those of PLAN.md: exact, of pairs by training seed; of the
first part's three comparisons, corrected by Holm; of the one of its second part.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from cf.files.tables import markdown_of, number
from cf.stats.paired import Interval, corrected
from cf.stats.trainings import Values, mean_over_trainings, versus

ROWS = Path(__file__).parents[1] / "results" / "study" / "rows.csv"
LAG_ROWS = ROWS.with_name("rows_memories.csv")
"""Of the second part."""
PRIMARY, HELD = "PoseRevisitPSNR", "full_through"
OUTCOMES = (PRIMARY, "ForcedChoice[surfaces]", "ForcedChoice[objects]", "PoseObedience")
ARMS = ("previous_detached", "previous_through", "full_detached", HELD)
"""Those that would speak against the thesis first."""
MEMORIES = ("full_memory", "sink_window", "truth")
SAME_NETWORKS = (HELD, "equal_window", "full_memory")
"""Memories of the second part; the first holds as many frames as the second."""
LAGS = ("1.5 to 5 s", "5 to 16 s", "40 to 96 s")
LAG_OUTCOMES = tuple(
    form.format(lag) for form in (PRIMARY + "[{}]", "ForcedChoice[surfaces, {}]") for lag in LAGS
)
_KEPT = ("contestant", "prompt", "training", "metric", "value")
Rows = Mapping[str, Mapping[str, Values]]
"""By outcome and contestant: values of a training and a place."""


def main() -> None:
    """Keep the rows of the results that are named, if any are; print the tables of what is kept."""
    for folder in sys.argv[1:]:
        second = Path(folder).name == "study_memories"
        part = (LAG_ROWS, LAG_OUTCOMES) if second else (ROWS, OUTCOMES)
        keep(Path(folder) / "per_video.csv", *part)
    sys.stdout.write(tables(read(ROWS)))
    if LAG_ROWS.is_file():
        sys.stdout.write("\n" + lag_tables(read(LAG_ROWS)))


def keep(measured: Path, rows: Path, outcomes: Sequence[str] = OUTCOMES) -> None:
    """The columns and outcomes of a benchmark's rows of which the tables are made.

    Args:
        measured: `per_video.csv` of the benchmark.
        rows: the file that is written.
        outcomes: names of metrics.
    """
    with measured.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["metric"] in outcomes and row["value"]]
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
        parts += [*means(rows, title, names, OUTCOMES), ""]
    others = [name for name in ARMS if name != HELD]
    return "\n".join([*parts, *differences(rows, PRIMARY, others)]) + "\n"


def lag_tables(rows: Rows) -> str:
    """Memories of the same networks by how long a view was out of sight, then the difference.

    Args:
        rows: of all videos of the second part.
    """
    parts = []
    for at in range(0, len(LAG_OUTCOMES), len(LAGS)):
        outcomes = LAG_OUTCOMES[at : at + len(LAGS)]
        parts += [*means(rows, "memory of full_through", SAME_NETWORKS, outcomes), ""]
    primary = LAG_OUTCOMES[len(LAGS) - 1]
    return "\n".join([*parts, *differences(rows, primary, ["equal_window"])]) + "\n"


def means(rows: Rows, title: str, names: Sequence[str], outcomes: Sequence[str]) -> list[str]:
    """Lines of a table of means with 95 % intervals.

    Args:
        rows: of all videos.
        title: what `names` are.
        names: of the contestants.
        outcomes: names of metrics, a column each.
    """
    lines = [
        [name, *(told(mean_over_trainings(rows[of][name])) for of in outcomes)] for name in names
    ]
    return list(markdown_of([[title, *outcomes], *lines]))


def differences(rows: Rows, outcome: str, others: Sequence[str]) -> list[str]:
    """Lines of a table of what `full_through` is ahead of others, corrected by Holm over them.

    Args:
        rows: of all videos.
        outcome: the metric, in dB.
        others: with whom it is compared.
    """
    of = rows[outcome]
    pairs = corrected((outcome, HELD, one, versus(of[HELD], of[one], True)) for one in others)
    lines = [
        [
            *(f"{HELD} - {pair.second}", told(pair.comparison.difference)),
            *(f"{pair.comparison.p:.3g}", f"{pair.corrected_p:.3g}"),
            f"{pair.comparison.detectable:.2g}",
        ]
        for pair in pairs
    ]
    heading = [f"{outcome}, dB", "difference", "p", "p (Holm)", "detectable"]
    return list(markdown_of([heading, *lines]))


def told(found: Interval) -> str:
    """A value with its interval, as tables have it.

    Args:
        found: what is told.
    """
    low, high = number(found.low, ".2f"), number(found.high, ".2f")
    return f"{number(found.value, '.2f')} [{low}, {high}]"


if __name__ == "__main__":
    main()
