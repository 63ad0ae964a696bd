"""Results as files that people and programs read: csv and markdown, generated, never typed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cf.bench.contest import BenchmarkResults
from cf.bench.ranking import Cell
from cf.files.atomic import write_text
from cf.files.counts import so_many
from cf.files.tables import ARROWS, csv_of, inline, latex_of, markdown_of, number, to_json
from cf.report.long_tables import LongTables, long_tables


def write_tables(contest: BenchmarkResults, folder: Path) -> LongTables:
    """Write everything that was measured: csv files, `results.md`, `.tex` and `.json`.

    Returns:
        What stands in the csv files, by their names.
    """
    tables = long_tables(contest)
    texts = {f"{name}.csv": csv_of(table) for name, table in tables.items()}
    texts |= {
        "results.md": headlines_as_markdown(contest),
        "results.tex": headlines_as_latex(contest),
    }
    texts["results.json"] = to_json(_summary(contest), indent=1)
    for name, text in texts.items():
        write_text(folder / name, text)
    return tables


def _summary(contest: BenchmarkResults) -> dict[str, Any]:
    return {
        "settings": contest.settings,
        "provenance": contest.provenance,
        "unavailable_metrics": contest.unavailable,
        "unavailable": {entry.label: entry.missing for entry in contest.entered if entry.missing},
        "notes": contest.notes,
        "results": {
            name: {
                f"{seconds:g}": {key: _result(result) for key, result in results.items()}
                for seconds, results in contestant.results.items()
            }
            for name, contestant in contest.made.items()
        },
    }


def headlines_as_markdown(contest: BenchmarkResults) -> str:
    """The headlines for a README or a paper's draft."""
    parts = ["# Results", ""]
    for seconds, table in contest.headlines.items():
        head = [f"{metric} {ARROWS[better]}" for metric, better in table.metrics.items()]
        parts += [f"## {seconds:g} s, {so_many(table.prompts, 'prompt')}", ""]
        rows, order = [["contestant", *head, "fail a gate"]], table.order()
        open_ = {name: of for name in order if (of := table.not_measured(name))}
        for name in order:
            cells = table.cells[name]
            fails = f"{table.failing[name]} of {table.videos[name]}"
            rows.append([name, *(_shown(cells[metric]) for metric in table.metrics), fails])
        parts += [*markdown_of(rows), ""]
        parts += [f"Gates: {', '.join(map(str, table.gates)) or 'none'}.", ""]
        unmeasured = [
            "- "
            + inline(
                f"{name}: gates not measured, of so many prompts, neither passed nor failed: {of}"
            )
            for name, of in open_.items()
        ]
        parts += [*unmeasured, ""] if unmeasured else []
    away = [
        f"- {inline(f'{entry.label}: {entry.missing}')}"
        for entry in contest.entered
        if entry.missing
    ]
    parts += ["Not at hand:", "", *away, ""] if away else []
    lacking = [f"- {inline(f'{name}: {reason}')}" for name, reason in contest.unavailable.items()]
    parts += ["Not measured:", "", *lacking, ""] if lacking else []
    parts += [f"- {inline(note)}" for note in contest.notes]
    parts += [*_pairs(contest), *(f"- {note}" for note in _few(contest))]
    parts.append(f"\n{contest.statistics()} {_code(contest)}")
    return "\n".join(parts) + "\n"


def headlines_as_latex(contest: BenchmarkResults) -> str:
    """The headlines for a paper: a table for each duration, the best of each metric in bold."""
    parts = []
    for seconds, table in contest.headlines.items():
        head = [f"{metric} {ARROWS[better]}" for metric, better in table.metrics.items()]
        rows, bold = [["contestant", *head]], set()
        for row, name in enumerate(table.order()):
            cells = [table.cells[name][metric] for metric in table.metrics]
            rows.append([name, *(_shown(cell, place=False) for cell in cells)])
            bold |= {(row, column) for column, cell in enumerate(cells, 1) if cell.place == 1}
        parts.append(f"% {seconds:g} s, {so_many(table.prompts, 'prompt')}\n{latex_of(rows, bold)}")
    return "\n".join(parts)


def gate_counts(counts: Mapping[str, int]) -> str:
    """The gates with their number of prompts, where it is not 0."""
    return "; ".join(f"{gate}: {count}" for gate, count in counts.items() if count)


def _pairs(contest: BenchmarkResults) -> list[str]:
    """Who differs from whom at the longest duration, if anybody is ranked."""
    last = contest.last
    if not last.versus:
        return []
    head = ["metric", "first", "second", "difference", "p (Holm)", "detectable", "pairs"]
    lines = [head]
    for pair in last.versus:
        bounds = f"{number(pair['difference'])} [{number(pair['low'])}, {number(pair['high'])}]"
        tested = [number(pair["p_holm"]), number(pair["detectable"]), str(pair["pairs"])]
        lines.append([pair["metric"], pair["first"], pair["second"], bounds, *tested])
    title = f"## Pairs at {last.seconds:g} s"
    return [title, "", *markdown_of(lines), ""]


def _few(contest: BenchmarkResults) -> list[str]:
    return sorted({pair["note"] for pair in contest.last.versus if pair["note"]})


def _shown(cell: Cell, place: bool = True) -> str:
    if not math.isfinite(cell.shown):
        return f"not measured ({cell.note})" if cell.note else "not measured"
    at = f" (#{cell.place})" if cell.place and place else ""
    low, high = number(cell.mean.low), number(cell.mean.high)
    bounds = f" [{low}, {high}]" if math.isfinite(cell.mean.low) else ""
    return f"{number(cell.shown)}{bounds}{at}"


def _code(contest: BenchmarkResults) -> str:
    return f"Code {contest.provenance['version']}, commit {contest.provenance['commit']}."


def _result(result: Any) -> dict[str, Any]:
    return {
        "value": result.value,
        "extras": dict(result.extras),
        "curves": {name: curve.tolist() for name, curve in result.curves.items()},
        "reasons": {str(key): reason for key, reason in result.reasons.items()},
        "provenance": dict(result.provenance),
    }
