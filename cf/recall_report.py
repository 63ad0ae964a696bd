"""What `cf.recall` leaves behind: a table, a plot of recall by lag, videos in step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor

from cf.evaluation.plots import PALETTE, PLAIN
from cf.files.atomic import write_text
from cf.files.counts import so_many
from cf.files.figures import save_figure
from cf.files.tables import csv_of, markdown_of, number
from cf.settings.build import Settings
from cf.stats.resampling import Interval
from cf.video.captions import HEIGHT, line, with_remarks
from cf.video.sheet import contact_sheet
from cf.video.writer import VideoWriter

if TYPE_CHECKING:
    from cf.metrics.pooled import PooledResult
    from cf.rollout.influence import Influence
    from cf.types import Video

log = logging.getLogger("cf.recall")

_HEADINGS = {
    "recall": "recall, all lags",
    "self_recall": "self recall",
    "cross_room": "cross-room match",
    "entropy": "entropy (bits)",
    "novel_quality": "novel quality (dB)",
    "drift": "drift (dB)",
}
_SCALE = 3
_SHEET = 1400  # pixels across a contact sheet


@dataclass(frozen=True)
class Outcome:
    """What a contestant made of the worlds.

    Attributes:
        counts: every number of `RoomRecall`, by name.
        frames_per_second: of all videos together, on one thread.
        shown: the first few videos.
        influence: how far back the next block is influenced, or why that was not measured.
        places: which room each frame of the shown videos is in; None: the truth's outcome knows.
    """

    counts: Mapping[str, PooledResult]
    frames_per_second: float
    attended: int | None
    shown: Video
    influence: Influence | str | None
    places: Int[Tensor, "b t"] | None = None


def write_recall_report(outcomes: Mapping[str, Outcome], settings: Settings, folder: Path) -> None:
    """Write and print everything; `outcomes` are by the contestants' labels, the truth first."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {label: _row(outcome, settings) for label, outcome in outcomes.items()}
    write_text(folder / "recall.csv", csv_of(_long(rows)))
    changes = _influences(outcomes)
    if len(changes):
        write_text(folder / "influence.csv", csv_of(changes))
    table = _table(rows, outcomes)
    write_text(folder / "recall.md", _caption(settings) + "\n\n" + table + "\n")
    log.info("%s\n%s", _caption(settings), table)
    save_figure(_plot(rows, settings), folder / "recall.png", dpi=110)
    fps = settings["data"]["fps"]
    grid, labels = _side_by_side(outcomes, settings["not_shown"], settings["given"], fps)
    height, width = grid.shape[-2:]
    with VideoWriter(folder / "recall.mp4", fps, (height, width)) as writer:
        writer.write(grid)
    given = settings["given"]
    picks = torch.linspace(0, len(grid) - 1, 12).round().long()
    marks = [f"{i / fps:.1f} s{' (given)' * (i < given)}" for i in picks.tolist()]
    columns = max(_SHEET // width, 1)
    sheet = folder / "recall_sheet.png"
    contact_sheet(grid[picks], sheet, columns=columns, labels=marks, most_width=width)
    log.info("columns of the video: %s", ", ".join(labels))
    for what, name in (
        ("table", "recall.md"),
        ("numbers", "recall.csv"),
        ("plot", "recall.png"),
        ("video", "recall.mp4"),
        ("contact sheet", "recall_sheet.png"),
    ):
        log.info("%s: %s", what, folder / name)


def lag_headings(settings: Settings) -> list[str]:
    """How the bins of lag are called: in seconds."""
    seconds = [f"{lag / settings['data']['fps']:g}" for lag in settings["lags"]]
    return [f"{a}-{b} s" for a, b in pairwise(seconds)]


def _row(outcome: Outcome, settings: Settings) -> dict[str, Interval]:
    lags = {f"lag {i}": f"recall, {name}" for i, name in enumerate(lag_headings(settings))}
    headings = {**lags, **_HEADINGS}
    return {headings[name]: count.interval() for name, count in outcome.counts.items()}


def _long(rows: Mapping[str, Mapping[str, Interval]]) -> pd.DataFrame:
    """One line per contestant and statistic."""
    return pd.DataFrame(
        [
            {"contestant": label, "statistic": name}
            | {"value": interval.value, "low": interval.low, "high": interval.high}
            for label, row in rows.items()
            for name, interval in row.items()
        ]
    )


def _influences(outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """One line per contestant and lag: how much the next block changes."""
    return pd.DataFrame(
        [
            {"contestant": label, "lag_frames": lag, "change": change, "floor": influence.floor}
            for label, outcome in outcomes.items()
            if (influence := outcome.influence) is not None and not isinstance(influence, str)
            for lag, change in zip(influence.lags, influence.change, strict=True)
        ]
    )


def _table(rows: Mapping[str, Mapping[str, Interval]], outcomes: Mapping[str, Outcome]) -> str:
    head = ["contestant", *next(iter(rows.values())), "attended frames", "frames/s"]
    with_influence = any(outcome.influence is not None for outcome in outcomes.values())
    lines = [[*head, "influence horizon"] if with_influence else head]
    for label, row in rows.items():
        attended, speed = outcomes[label].attended, outcomes[label].frames_per_second
        tail = ["all" if attended is None else str(attended), f"{speed:.0f}"]
        tail = ["", ""] if label == "truth" else tail
        tail += [_horizon(outcomes[label].influence)] * with_influence
        lines.append([label, *(_shown(interval) for interval in row.values()), *tail])
    return "\n".join(markdown_of(lines, padded=True))


def _horizon(influence: Influence | str | None) -> str:
    """Seconds; above the longest lag that was tried; or why it was not measured."""
    if influence is None or isinstance(influence, str):
        return f"not measured: {influence}" if influence else ""
    seconds = influence.seconds
    return f"above lag {influence.lags[-1]}" if seconds is None else f"{seconds:g} s"


def _shown(interval: Interval) -> str:
    if not np.isfinite(interval.value):
        return "-"
    value, low, high = map(_number, (interval.value, interval.low, interval.high))
    return value if np.isnan(interval.low) else f"{value} [{low}, {high}]"


def _number(value: float) -> str:
    return number(value, ".1f" if abs(value) >= 10 else ".2f")


def _caption(settings: Settings) -> str:
    fps = settings["data"]["fps"]
    bounds = "; 95 % bootstrap intervals over worlds" if settings["worlds"] > 1 else ""
    return (
        f"{so_many(settings['worlds'], 'world')} of {settings['frames'] / fps:g} s, of which "
        f"{settings['given'] / fps:g} s are given{bounds}"
    )


@rc_context(PLAIN)
def _plot(rows: Mapping[str, Mapping[str, Interval]], settings: Settings) -> Figure:
    """Recall by lag, a line per contestant; colour tells the network, dashes the memory."""
    names = [f"recall, {name}" for name in lag_headings(settings)]
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots()
    networks = list(dict.fromkeys(label.split(", ")[0] for label in rows))
    memories = list(dict.fromkeys(label.split(", ")[-1] for label in rows if ", " in label))
    dashes, drawn = ("-", "--", "-.", ":"), dict[str, Any]()
    for label, row in rows.items():
        if label == "truth":
            continue
        network, _, memory = label.partition(", ")
        estimates = [(row[name].value, row[name].low, row[name].high) for name in names]
        value, low, high = (np.array(x) for x in zip(*estimates, strict=True))
        at = np.arange(len(names)) + 0.02 * (list(rows).index(label) - len(rows) / 2)
        style = dashes[memories.index(memory) % 4] if memory else "-"
        colour = "black" if network == "oracle" else PALETTE[networks.index(network) % len(PALETTE)]
        bounds = np.stack((value - low, high - value)).clip(min=0)
        drawn[label] = axes.errorbar(at, value, bounds, ls=style, color=colour, marker="o", ms=4)
    axes.set(xticks=range(len(names)), xticklabels=lag_headings(settings), ylim=(0, 1.03))
    axes.set(xlabel="time since the cell was last in view", ylabel="share of cells painted right")
    axes.set_title(_caption(settings), fontsize=9)
    axes.grid(alpha=0.3)
    figure.legend([*drawn.values()], [*drawn], loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _side_by_side(
    outcomes: Mapping[str, Outcome], left_out: Sequence[str], given: int, fps: float
) -> tuple[Tensor, list[str]]:
    """Worlds below one another, contestants beside one another, all in step.

    Above each world stands what a memory could know of what is in view.
    """
    places = outcomes["truth"].places
    assert places is not None
    few = [label for label in outcomes if label.partition(", ")[2] not in left_out]
    columns = []
    for label in few:
        video = outcomes[label].shown.repeat_interleave(_SCALE, -1).repeat_interleave(_SCALE, -2)
        columns.append(torch.nn.functional.pad(video, (2, 2, 2, 2), value=1.0))
    worlds = [
        with_remarks(world, remarks(rooms, given, fps))
        for world, rooms in zip(torch.cat(columns, -1), places.tolist(), strict=True)
    ]
    headings = [_heading(label, one.shape[1:]) for label, one in zip(few, columns, strict=True)]
    grid = torch.cat((torch.cat(headings, -1), *worlds), -2)
    return grid[..., : grid.shape[-2] // 2 * 2, : grid.shape[-1] // 2 * 2], few


def remarks(places: Sequence[int], given: int, fps: float) -> list[str]:
    """Whether each frame's room was seen before, and how long it was out of view.

    Args:
        places: which room each frame shows.
        given: frames at the beginning that are real.
        fps: frames per second.

    >>> remarks([0, 1, 1, 0, 2], given=2, fps=1.0)
    ['given', 'given', 'still the given room', 'seen before: 3.0 s out of view', 'never seen']
    """
    texts, last, begun = [], dict[int, int](), 0
    for at, room in enumerate(places):
        if at and room != places[at - 1]:
            last[places[at - 1]], begun = at - 1, at
        if at < given:
            texts.append("given")
        elif room in last:
            texts.append(f"seen before: {(begun - last[room]) / fps:.1f} s out of view")
        elif begun < given:
            texts.append("still the given room")
        else:
            texts.append("never seen")
    return texts


def _heading(label: str, shape: Sequence[int]) -> Tensor:
    """The contestant's name, in two lines, as frames of a video."""
    lines = [*label.split(", "), ""][:2]
    picture = torch.cat([line(text, shape[-1], HEIGHT) for text in lines], -2)
    return picture.expand(shape[0], -1, -1, -1)
