"""The tables of the page, as its template takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cf.bench.contest import BenchmarkResults
from cf.bench.ranking import Cell, Headline
from cf.files.counts import so_many
from cf.files.tables import ARROWS, number
from cf.report.charts import Look
from cf.report.tables import gate_counts

_LINES = {"-": "solid", "--": "dashed", "-.": "dashed", ":": "dotted"}


def swatch(look: Look) -> str:
    """The CSS of a short piece of a contestant's line."""
    return f"border-top-color:{look.colour};border-top-style:{_LINES[look.dashes]}"


def duration(table: Headline, look: Mapping[str, Look], controls: Sequence[str]) -> dict[str, Any]:
    """The headline of one duration."""
    compared = [name for name in table.cells if name not in controls] or list(table.cells)
    spans = {
        metric: _span([table.cells[name][metric] for name in compared]) for metric in table.metrics
    }
    better = {True: "up is better", False: "down is better", None: "neither is better"}
    return {
        "seconds": f"{table.seconds:g}",
        "prompts": so_many(table.prompts, "prompt"),
        "gates": "; ".join(map(str, table.gates)),
        "columns": [
            {"name": name, "arrow": ARROWS[up], "title": better[up]}
            for name, up in table.metrics.items()
        ],
        "rows": [
            {
                "name": name,
                "control": name in controls,
                "colour": look[name].colour,
                "swatch": swatch(look[name]),
                "cells": [_cell(table.cells[name][metric], spans[metric]) for metric in spans],
                "removed": table.failing[name],
                "total": table.videos[name],
                "gates": gate_counts(table.removed[name]),
                "unmeasured": table.not_measured(name),
            }
            for name in table.order()
        ],
    }


def _span(cells: Sequence[Cell]) -> tuple[float, float]:
    ends = [
        end
        for cell in cells
        for end in (cell.mean.low, cell.mean.high, cell.mean.value)
        if math.isfinite(end)
    ]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _cell(cell: Cell, span: tuple[float, float]) -> dict[str, Any]:
    mean = cell.mean
    valued = math.isfinite(mean.value)
    bounds = math.isfinite(mean.low) and math.isfinite(mean.high)
    low, high = (mean.low, mean.high) if bounds else (mean.value, mean.value)
    bar = None
    # The truth's 100 dB would leave the others a corner of the axis.
    if valued and span[0] <= low and high <= span[1]:
        left, right = _share(low, span), _share(high, span)
        bar = {"low": left, "width": right - left, "at": _share(mean.value, span)}
    return {
        "value": number(cell.shown) if math.isfinite(cell.shown) else "not measured",
        "sort": cell.shown if math.isfinite(cell.shown) else "",
        "place": cell.place,
        "note": cell.note,
        "interval": f"{number(mean.low)} to {number(mean.high)}" if bounds else "",
        "missing": mean.missing or "",
        "bar": bar,
    }


def _share(value: float, span: tuple[float, float]) -> float:
    low, high = span
    return round(4 + 92 * ((value - low) / (high - low) if high > low else 0.5), 2)


def pair_rows(table: Headline) -> list[dict[str, Any]]:
    """Every two ranked contestants, on the longest duration."""
    rows = []
    for pair in table.versus:
        texts = [f"{pair['seconds']:g}", pair["metric"], pair["first"], pair["second"]]
        numbers = [
            pair["difference"],
            None,
            pair["p_holm"],
            pair["win_rate"],
            pair["detectable"],
        ]
        cells = [{"text": text, "sort": text} for text in texts]
        cells += [_number(value) for value in numbers]
        cells[5] = {"text": f"{number(pair['low'])} to {number(pair['high'])}", "sort": ""}
        rows.append({"cells": cells})
    return rows


def cost_rows(contest: BenchmarkResults, costs: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """The costs of each contestant."""
    attended = {
        entry.name: entry.terms.attended for entry in contest.entered if entry.terms is not None
    }
    rows = []
    for line in costs.to_dict("records"):
        name = line["contestant"]
        peak = line.get("peak_bytes")
        cells = [
            {"text": name, "sort": name},
            _number(line.get("frames_per_second"), ".1f"),
            *(_number(line.get(f"block_ms{when}"), ".1f") for when in ("", "_early", "_late")),
            _number(line.get("first_frame_seconds"), ".2f"),
            _number(None if peak is None else peak / 2**20, ".0f"),
            _number(attended.get(name), ".0f"),
            {"text": line["device"], "sort": line["device"]},
        ]
        rows.append(cells)
    return rows


def _number(value: float | None, form: str = ".3f") -> dict[str, Any]:
    if value is None or not math.isfinite(value):
        return {"text": "-", "sort": ""}
    return {"text": number(value, form), "sort": value}
