"""The rows of one run: compared with one another, and as markdown tables."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from cf.files.tables import markdown_of

REFERENCE = "sliding"
"""The memory that the others are compared with."""
Row = dict[str, Any]
Spread = dict[str, Any]


def spread(values: Sequence[float]) -> Spread:
    """Median, least, greatest and each, to the microsecond."""
    found = {"median": median(values), "min": min(values), "max": max(values)}
    rounded = {key: round(value, 6) for key, value in found.items()}
    return rounded | {"each": [round(value, 6) for value in values]}


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows with their ratio to the reference memory at the same task; None without one."""
    references = {_task(row): row for row in rows if row["memory"] == REFERENCE}
    return [row | {"ratio_to_sliding": ratio(row, references.get(_task(row)))} for row in rows]


def ratio(row: Row, other: Row | None) -> Spread | None:
    """How many times as long as `other`, round by round: what slows a round down cancels.

    By processor time on a CPU, which other processes hardly change, and by the clock on a GPU.
    """
    if other is None or row["seconds"] is None or other["seconds"] is None:
        return None
    pairs = zip(row[row["timed_by"]]["each"], other[row["timed_by"]]["each"], strict=True)
    return {key: value for key, value in spread([a / b for a, b in pairs]).items() if key != "each"}


def report(rows: Sequence[Row], command: Sequence[str]) -> str:
    """The tables of one run, as markdown."""
    first = rows[0]
    dirty = " with uncommitted changes" if first["dirty"] else ""
    timed_by = first["timed_by"].replace("_", " ")
    lines = [
        "# Throughput",
        "",
        "Generated; the rows behind it are in throughput.jsonl, what is timed in ../README.md.",
        "",
        "```",
        " ".join(command),
        "```",
        "",
        f"{first['device']}, {first['cores']} cores, {first['threads']} of them used, "
        f"{first['dtype']}, {first['parameters'] / 1e6:.2f} M parameters, torch {first['torch']}, "
        f"commit {str(first['commit'])[:12]}{dirty}, {first['date']}, "
        f"load average at the start {first['load'][0]}.",
        "",
        f"Times are ratios of {timed_by}: the median of {first['repeats']} rounds (least to "
        f"greatest). Frames per second are latent frames by the clock.",
        "",
    ]
    skipped = [
        f"- {row['memory']}, {' '.join(map(str, _task(row)))}: {row['skipped']}"
        for row in rows
        if "skipped" in row
    ]
    skipped = ["## Skipped", "", *skipped, ""] if skipped else []
    tables = [*_block_tables(rows), *_training_table(rows), *skipped]
    return "\n".join([*lines, *tables])


def _block_tables(rows: Sequence[Row]) -> list[str]:
    found = {(row["memory"], row["block"]): row for row in rows if row["what"] == "block"}
    blocks = sorted({block for _, block in found})
    memories = list(dict.fromkeys(memory for memory, _ in found))
    of = {memory: [found[memory, block] for block in blocks] for memory in memories}
    names = [f"block {block}" for block in blocks]
    growth = [f"{blocks[-1]} / {block}" for block in blocks[:-1]]
    against = [[m, *map(_ratio, r), *map(_fps, r)] for m, r in of.items()]
    grown = [[m, *(shown(ratio(r[-1], e)) for e in r[:-1])] for m, r in of.items()]
    tables = [
        f"## Time of a block, relative to {REFERENCE} at the same block",
        "",
        *markdown([*names, *(f"frames/s, {name}" for name in names)], against),
    ]
    if growth:
        title = f"## Time of block {blocks[-1]}, relative to earlier blocks of the same memory"
        tables += [title, "", *markdown(growth, grown)]
    for key, title in (
        ("attended_frames", "Latent frames attended, the block's own included"),
        ("context_bytes", "Context: keys, values and positions held, MiB"),
        ("peak_bytes", "Peak of one block: weights, context, rotated keys, activations, MiB"),
    ):
        cells = [[memory, *(_amount(one, key) for one in r)] for memory, r in of.items()]
        tables += [f"## {title}", "", *markdown(names, cells)]
    return tables


def _training_table(rows: Sequence[Row]) -> list[str]:
    steps = [row for row in rows if row["what"] == "train_step"]
    head = ["objective", f"time, relative to {REFERENCE}", "frames/s", "peak, MiB"]
    cells = [
        [row["memory"], row["objective"], _ratio(row), _fps(row), _amount(row, "peak_bytes")]
        for row in steps
    ]
    return ["## Training step", "", *markdown(head, cells)] if steps else []


def markdown(head: Sequence[str], cells: Sequence[Sequence[str]], of: str = "memory") -> list[str]:
    """A table whose first column is the memory, or what it is `of`."""
    return [*markdown_of([[of, *head], *cells]), ""]


def _task(row: Row) -> tuple[str, Any]:
    return row["what"], row["block"] if row["what"] == "block" else row["objective"]


def _ratio(row: Row) -> str:
    return shown(row["ratio_to_sliding"])


def shown(found: Spread | None) -> str:
    """Median (least to greatest)."""
    if found is None:
        return "-"
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def _fps(row: Row) -> str:
    return f"{row['frames_per_second']['latent']:.1f}" if row["frames_per_second"] else "-"


def _amount(row: Row, key: str) -> str:
    if key not in row:
        return "-"
    return f"{row[key] / 2**20:.2f}" if key.endswith("bytes") else f"{row[key]:g}"
