"""The page of an evaluation: folders of videos side by side, as the benchmark shows contestants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from cf.bench.ranking import Cell, Headline
from cf.evaluation.comparisons import Comparisons, per_prompt
from cf.evaluation.measure import Measured
from cf.evaluation.report import columns, window_rows
from cf.evaluation.videos import Listed
from cf.files.tables import ARROWS, number
from cf.report.charts import Look, chart_over_time, looks
from cf.report.page_tables import duration, pair_rows, swatch
from cf.report.shell import Media, render
from cf.settings.build import Settings, escaped
from cf.stats.paired import interval
from cf.video.playable import plays_in_browsers
from cf.video.reader import read_chunks, read_frames
from cf.video.sheet import contact_sheet
from cf.video.writer import VideoWriter

_NO_GATE = "prompts of which no gate was measured"
_SHEET = 16  # frames
_PREVIEW = 60.0  # seconds of a video that is encoded anew for the eye
_WIDEST = 640  # pixels of such a video


def write_evaluation_page(
    measured: Measured,
    compared: Comparisons,
    told: Mapping[str, str],
    settings: Settings,
    folder: Path,
) -> Path:
    """`index.html` with `media/`: table, players in step, curves, pairs and worst cases.

    Args:
        measured: every metric of every contestant.
        compared: the contestants on the prompts that they share.
        told: versions that the numbers depend on.
        settings: of `cf.evaluate`; `shown` prompts have players.
        folder: of the evaluation.
    """
    names = measured.contestants
    look, link = looks(names, []), Media(folder)
    table = headline_of(measured, compared)
    noted = [pair for pair in table.versus if pair["note"]]
    return render(
        folder,
        kicker="Videos compared" if len(names) > 1 else "Videos measured",
        title=" and ".join(names) if len(names) < 4 else f"{len(names)} folders of videos",
        lead=_lead(measured),
        notes=[f"{name}: {why}" for name, why in compared.refused.items()],
        gated=compared.gates_in_words(),
        statistics="Means over prompts with 95 % bootstrap intervals.",
        band_unit="prompts",
        tables=[duration(table, look, [])],
        by_metric=True,
        unmeasured=measured.unavailable,
        players=list(_players(measured, settings["shown"], look, link)),
        played="The same prompt, from the first frame on. Files that no browser plays are shown as "
        f"H.264, their first {_PREVIEW:g} s; what was measured are the files as they are.",
        given=0,
        legend=[{"name": name, "swatch": swatch(style)} for name, style in look.items()],
        curves=list(_curves(measured, look)),
        lags=[],
        pareto=None,
        pareto_reason=None,
        pairs=pair_rows(table),
        pair_notes=sorted({f"{pair['metric']}: {pair['note']}" for pair in noted}),
        costs=None,
        **_worst(measured, table, look, link),
        failed="Videos without numbers",
        failures=[
            {
                "contestant": video.contestant,
                "video": video.name,
                "status": "not decoded",
                "reason": measured.failures[video.video_id],
            }
            for video in measured.videos
            if video.video_id in measured.failures
        ],
        entered=None,
        provenance=told,
        settings=OmegaConf.to_yaml(OmegaConf.create(escaped(settings))),
        published=None,
    )


def headline_of(measured: Measured, compared: Comparisons) -> Headline:
    """The numbers of an evaluation as the benchmark's tables take them; nothing is ruled out."""
    names = measured.contestants
    first = measured.results[names[0]]
    cells: dict[str, dict[str, Cell]] = {name: {} for name in names}
    for metric in first:
        standing = {entry.name: entry for entry in compared.places.get(metric, ())}
        for name in names:
            result, placed = measured.results[name][metric], standing.get(name)
            over = interval([*per_prompt(measured, name, metric).values()])
            ranked = math.nan if placed is None else placed.ranked
            place = placed.place if placed is not None and len(names) > 1 else None
            place = place if over.units else None
            note = compared.refused.get(metric, "") or result.reasons.get(None, "") or result.why()
            cells[name][metric] = Cell(metric, result.value, over, ranked, place, note)
    seconds = [facts.frames / facts.fps for facts in measured.facts.values()]
    longest = max(seconds, default=math.nan)
    prompts = {
        name: len({v.prompt for v in measured.videos if v.contestant == name}) for name in names
    }
    return Headline(
        longest,
        {metric: result.higher_is_better for metric, result in first.items()},
        cells,
        removed={name: compared.failing[name].by_gate for name in names},
        failing={name: compared.failing[name].failing for name in names},
        videos=prompts,
        gates=compared.gates,
        unmeasured={
            name: {_NO_GATE: failing.unjudged} for name, failing in compared.failing.items()
        },
        reasons={name: {_NO_GATE: ""} for name in names},
        versus=[
            {"seconds": longest, **pair.row(), "note": pair.comparison.note}
            for pair in compared.pairs
        ],
    )


def _lead(measured: Measured) -> str:
    seconds = [facts.frames / facts.fps for facts in measured.facts.values()]
    shapes = {(facts.height, facts.width) for facts in measured.facts.values()}
    counts = ", ".join(
        f"{name} {sum(video.contestant == name for video in measured.videos)}"
        for name in measured.contestants
    )
    least, most = min(seconds), max(seconds)
    ends = [most] if most < 1.05 * least else [least, most]
    length = f"{' to '.join(number(end, '.3g') for end in ends)} s"
    size = " and ".join(f"{h} x {w}" for h, w in sorted(shapes)[:3])
    return (
        f"Videos: {counts}. They last {length} and have {size} pixels{', ...' * (len(shapes) > 3)}."
    )


def _shared(measured: Measured) -> list[str]:
    """Prompts of which every contestant has a video that decodes, in order; else all of them."""
    decoded = [video for video in measured.videos if video.video_id in measured.facts]
    prompts = {
        name: dict.fromkeys(video.prompt for video in decoded if video.contestant == name)
        for name in measured.contestants
    }
    every = list(dict.fromkeys(video.prompt for video in decoded))
    return [
        prompt for prompt in every if all(prompt in listed for listed in prompts.values())
    ] or every


def _players(
    measured: Measured, most: int, look: Mapping[str, Look], link: Media
) -> Iterator[dict[str, Any]]:
    for row, prompt in enumerate(_shared(measured)[:most]):
        videos = []
        for name in measured.contestants:
            decoded = [
                video
                for video in measured.videos
                if (video.contestant, video.prompt) == (name, prompt)
                and video.video_id in measured.facts
            ]
            for video in decoded[:1]:
                src = _played(video, measured, link, f"{row}")
                videos.append({"name": name, "src": src, "swatch": swatch(look[name])})
        text = decoded[0].text if decoded and decoded[0].text != prompt else ""
        yield {"name": prompt, "videos": videos, "text": text}


def _played(video: Listed, measured: Measured, link: Media, item: str) -> str:
    """The address of a file that browsers play: this one, or its beginning as H.264."""
    if plays_in_browsers(video.path):
        return link(video.path, video.contestant, item)
    facts = measured.facts[video.video_id]
    width = min(facts.width, _WIDEST)
    size = max(round(facts.height * width / facts.width), 1), width
    remaining, place = round(_PREVIEW * facts.fps), link.place(video.contestant, item, ".mp4")
    with VideoWriter(place, facts.fps, size) as writer:
        for piece in read_chunks(video.path, 16, facts.fps, size):
            writer.write(piece[:remaining].float() / 255)
            remaining -= len(piece)
            if remaining <= 0:
                break
    return link.address(place)


def _curves(measured: Measured, look: Mapping[str, Look]) -> Iterator[dict[str, Any]]:
    prompts = {(video.contestant, video.name): video.prompt for video in measured.videos}
    table = window_rows(measured).rename(columns={"seconds": "second"}).assign(training=None)
    pairs = zip(table["contestant"], table["video"], strict=True)
    table["prompt"] = [prompts[pair] for pair in pairs]
    for name, result in measured.results[measured.contestants[0]].items():
        windows = table[table["metric"].isin(columns(measured, name).values())]
        svg = chart_over_time(windows, look, 0)
        if svg:
            title, higher = result.curve_title
            yield {"name": title, "svg": svg, "arrow": ARROWS[higher]}


def _worst(
    measured: Measured, table: Headline, look: Mapping[str, Look], link: Media
) -> dict[str, Any]:
    """A sheet of each contestant's worst video, by the first metric that has values and a side."""
    of_each = (
        (metric, higher, _values(measured, metric))
        for metric, higher in table.metrics.items()
        if higher is not None
    )
    candidates = (
        candidate for candidate in of_each if not all(map(math.isnan, candidate[2].values()))
    )
    metric, higher, values = next(candidates, ("", False, {}))
    sheets: list[dict[str, Any]] = []
    if not metric:
        return {"worst": sheets, "worst_by": ""}
    for name in measured.contestants:
        scores = {
            video: values[video.video_id]
            for video in measured.videos
            if video.contestant == name and not math.isnan(values[video.video_id])
        }
        if not scores:
            continue
        video = min(scores, key=lambda key: scores[key] * (1 if higher else -1))
        place = link.place(name, "worst", ".png")
        _sheet(video, measured, place)
        shown = {"name": name, "item": video.name, "value": number(scores[video])}
        sheets.append({**shown, "src": link.address(place), "swatch": swatch(look[name])})
    return {"worst": sheets, "worst_by": metric}


def _values(measured: Measured, metric: str) -> dict[int, float]:
    """The value of each video of every contestant; NaN where it has none."""
    return {
        video.video_id: measured.results[video.contestant][metric].per_video.get(
            video.video_id, math.nan
        )
        for video in measured.videos
    }


def _sheet(video: Listed, measured: Measured, place: Path) -> None:
    """Frames from first to last, each read alone, so that an hour fits as well as a second."""
    facts = measured.facts[video.video_id]
    count = min(_SHEET, facts.frames)
    last = (facts.frames - 1) / facts.fps
    times = [last * i / max(1, count - 1) for i in range(count)]
    size = facts.height, facts.width
    frames = [read_frames(video.path, at, 1, facts.fps, size) for at in times]
    labels = [f"{at:.2f} s" for at in times]
    contact_sheet(torch.cat(frames).float() / 255, place, count=None, labels=labels)
