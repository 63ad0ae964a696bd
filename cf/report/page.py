"""The page that people read: tables, curves, players in step, worst cases, provenance."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from cf.bench.contest import BenchmarkResults
from cf.bench.results import ContestantResults
from cf.bench.store import SHEET, VIDEO, Store
from cf.files.counts import so_many
from cf.files.tables import ARROWS, number
from cf.metrics.result import Result
from cf.report.charts import Look, against, by_lag, chart_over_time, lag_curves, looks
from cf.report.long_tables import LongTables
from cf.report.page_tables import cost_rows, duration, pair_rows, swatch
from cf.report.shell import Link, Media, embedded, render
from cf.settings.build import escaped


def write_report(contest: BenchmarkResults, tables: LongTables, folder: Path) -> Path:
    """`index.html` with `media/`, or all in one file; nothing on it is fetched from anywhere."""
    single = bool(contest.settings["single_file"])
    link = embedded if single else Media(folder)
    names = list(contest.made)
    controls = [entry.name for entry in contest.entered if entry.contestant.control]
    aside = {*contest.settings["unranked"]}
    controls += [entry.name for entry in contest.entered if {entry.name, entry.files} & aside]
    look = looks(names, controls)
    task = contest.settings["asked"]
    given = task.get("given_seconds", 0) or 0
    hint = f"The first {given:g} s are given. " if given else ""
    return render(
        folder,
        kicker="Long-video benchmark",
        title=contest.settings["title"]
        or f"{so_many(len(names), 'contestant')}, {so_many(_videos(contest), 'video')}",
        lead=_lead(contest, given),
        notes=contest.notes,
        statistics=contest.statistics(),
        band_unit="trainings" if _trained(contest) else "prompts",
        tables=[duration(table, look, controls) for table in contest.headlines.values()],
        unmeasured=contest.unavailable,
        players=list(_players(contest, Store(folder), look, link)),
        played=f"The same prompt or world and the same seed. {hint}The players are H.264 for the "
        "eye; what was measured are the frames as they were generated.",
        given=given,
        by_metric=False,
        failed="Videos that are not whole",
        legend=[{"name": name, "swatch": swatch(style)} for name, style in look.items()],
        curves=list(_curves(contest, tables["per_window"], look, given)),
        lags=list(_lags(contest, look)),
        **_pareto(contest, look),
        pairs=pair_rows(contest.last),
        pair_notes=sorted({row["note"] for row in contest.last.versus if row["note"]}),
        costs=cost_rows(contest, tables["costs"]),
        **_worst(contest, Store(folder), look, link),
        failures=tables["failures"].to_dict("records"),
        entered=[_who(entry) for entry in contest.entered],
        provenance=contest.provenance,
        settings=OmegaConf.to_yaml(OmegaConf.create(escaped(contest.settings))),
        published=_published(),
    )


def _published() -> list[dict[str, str]]:
    """Numbers that papers publish of themselves."""
    return list(csv.DictReader((files("cf.report") / "published.csv").read_text().splitlines()))


def _videos(contest: BenchmarkResults) -> int:
    return len({job.item.key for job in contest.jobs if not job.item.training})


def _trained(contest: BenchmarkResults) -> bool:
    """Whether some contestant was trained several times."""
    return any(contest.unit(name) == "training" for name in contest.made)


def _lead(contest: BenchmarkResults, given: float) -> str:
    lengths = " and ".join(f"{seconds:g}" for seconds in contest.headlines)
    away = sum(bool(entry.missing) for entry in contest.entered)
    parts = [
        f"Every contestant makes the same {so_many(_videos(contest), 'video')} of {lengths} seconds"
        + (f", the first {given:g} of which are given" if given else "")
        + ", measured as they are generated.",
        "Shorter durations are the beginnings of the longest."
        if len(contest.headlines) > 1
        else "",
        f"{away} more who were named are not at hand." if away else "",
    ]
    return " ".join(part for part in parts if part)


def _players(
    contest: BenchmarkResults, store: Store, look: Mapping[str, Look], link: Link
) -> Iterator[dict[str, Any]]:
    for item in dict.fromkeys(job.item for job in contest.jobs):
        paths = {name: store.folder(name, item.key) / VIDEO for name in contest.made}
        videos = [
            {"name": name, "src": link(path, name, item.key), "swatch": swatch(look[name])}
            for name, path in paths.items()
            if path.is_file()
        ]
        if videos:
            text = " / ".join(text for _, text in item.script if text)
            yield {"name": item.key, "videos": videos, "text": text}


def _curves(
    contest: BenchmarkResults, table: pd.DataFrame, look: Mapping[str, Look], given: float
) -> Iterator[dict[str, Any]]:
    first = contest.last.metrics
    names = [*first, *(name for name in dict.fromkeys(table["metric"]) if name not in first)]
    for name in names:
        svg = chart_over_time(table[table["metric"] == name], look, given)
        if svg:
            title, higher = _result(contest, name).curve_title
            yield {"name": title, "svg": svg, "arrow": ARROWS[higher]}


def _result(contest: BenchmarkResults, name: str) -> Result:
    return next(iter(contest.made.values())).longest[name]


def _lags(contest: BenchmarkResults, look: Mapping[str, Look]) -> Iterator[dict[str, Any]]:
    """A chart of every metric with curves by lag."""
    for metric in next(iter(contest.made.values())).longest:
        if curves := lag_curves(contest.made, metric):
            svg = by_lag(curves, look, metric)
            arrow = ARROWS[_result(contest, metric).higher_is_better]
            yield {"name": metric, "svg": svg, "arrow": arrow}


def _pareto(contest: BenchmarkResults, look: Mapping[str, Look]) -> dict[str, Any]:
    axes = [contest.settings["pareto"][side] for side in ("across", "up")]
    named = [contest.names.get(key) for key in axes]
    lacking = [key for key, name in zip(axes, named, strict=True) if name is None]
    if lacking:
        reason = f"Not drawn: {' and '.join(lacking)} not measured."
        return {"pareto": None, "pareto_reason": reason}
    last = contest.last
    across, up = (contest.cells(last.seconds, str(name)) for name in named)
    ranked = {name for name, cells in last.cells.items() if any(c.place for c in cells.values())}
    drawn = against(across, up, ranked, look, " | ".join(map(str, named)))
    return {"pareto": drawn, "pareto_reason": ""}


def _worst(
    contest: BenchmarkResults, store: Store, look: Mapping[str, Look], link: Link
) -> dict[str, Any]:
    last = contest.last
    metric = next((name for name, better in last.metrics.items() if better is not None), None)
    if metric is None:
        return {"worst": [], "worst_by": ""}
    sheets = []
    for name, contestant in contest.made.items():
        item, value = _least(contestant, last.seconds, metric, bool(last.metrics[metric]))
        sheet = store.folder(name, item) / SHEET
        if sheet.is_file():
            shown = {"name": name, "item": item, "value": number(value)}
            src = link(sheet, name, item)
            sheets.append({**shown, "src": src, "swatch": swatch(look[name])})
    return {"worst": sheets, "worst_by": f"{metric} at {last.seconds:g} s"}


def _least(
    contestant: ContestantResults, seconds: float, metric: str, higher: bool
) -> tuple[str, float]:
    """The video with the worst value; one without a value is worse than any."""
    values = contestant.results[seconds][metric].per_video
    worst = {job.item.key: values.get(job.item.video_id, math.nan) for job in contestant.jobs}
    key = min(
        worst,
        key=lambda k: -math.inf if math.isnan(worst[k]) else worst[k] * (1 if higher else -1),
    )
    return key, worst[key]


def _who(entry: Any) -> dict[str, str]:
    terms = "-"
    if entry.terms is not None:
        height, width = entry.terms.size
        terms = f"{entry.terms.fps:g} frames/s, {height} x {width}"
        if entry.terms.block_frames:
            terms += f", blocks of {entry.terms.block_frames}"
        if entry.terms.attended:
            terms += f", {entry.terms.attended} latent frames attended"
    return {
        "name": entry.label,
        "terms": terms,
        "source": entry.contestant.source or "-",
        "note": entry.contestant.note,
        "weights": entry.fingerprint[:16] or "-",
        "missing": entry.missing,
    }
