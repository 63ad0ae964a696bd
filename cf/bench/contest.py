"""A whole benchmark: who takes part, all videos, all numbers, and what is made of them."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cf.bench.contestants.controls import Truth
from cf.bench.contestants.entries import Entry, agreed, entries
from cf.bench.contestants.named import check_names
from cf.bench.job import Job
from cf.bench.measures import build_metrics, texts_of
from cf.bench.ranking import Cell, Gate, Headline, headline
from cf.bench.results import ContestantResults, collect, conflicts
from cf.bench.runner import run
from cf.bench.store import Store
from cf.bench.tasks.base import SLACK, Task
from cf.bench.times import check_durations, check_texts
from cf.evaluation.named_metrics import forget_extractors, metrics_of, warn
from cf.evaluation.provenance import versions
from cf.settings.build import Settings, build
from cf.stats.trainings import trainings

log = logging.getLogger("cf.benchmark")


@dataclass(frozen=True)
class BenchmarkResults:
    """What a benchmark comes down to.

    Attributes:
        names: of metrics, by their names in the settings.
        unavailable: metrics that could not be had, with the reason.
        conflicts: metrics that were not measured alike for everyone.
    """

    settings: Settings
    entered: list[Entry]
    jobs: list[Job]
    made: Mapping[str, ContestantResults]
    headlines: Mapping[float, Headline]
    names: Mapping[str, str]
    unavailable: Mapping[str, str]
    provenance: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    def cells(self, seconds: float, metric: str) -> dict[str, Cell]:
        """Any metric at a duration as a headline has it, in the places of none."""
        found = headline(self.made, seconds, [metric], [], list(self.made))
        return {name: cells[metric] for name, cells in found.cells.items()}

    def unit(self, name: str) -> str:
        """What a contestant's mean and its interval are over."""
        return "training" if len(trainings(self.made[name].units())) > 1 else "prompt"

    def statistics(self) -> str:
        """What a reader must know of the intervals."""
        most = max(len(trainings(one.units())) for one in self.made.values())
        over_prompts = "Means over prompts with 95 % bootstrap intervals."
        if most < 2:
            return over_prompts
        return (
            f"Methods were trained up to {most} times: the training is the unit, and each of them "
            f"meets the same prompts. Means over trainings with 95 % intervals (Student's, of a "
            f"two-way layout); pairs are paired by training. Who was trained once has an interval "
            f"over prompts."
        )


def run_benchmark(
    settings: Settings, folder: Path, typed: Collection[str] = ()
) -> BenchmarkResults:
    """Make and measure all videos that are not there yet, and put everything together.

    Attributes:
        typed: settings that were given on the command line.

    Raises:
        ValueError: if contestants differ in their terms, or settings cannot be used.
    """
    asked: Task = build(settings["asked"], "asked")
    entered = agreed(entries(settings, asked), asked.terms(), settings["unequal"])
    check_names(settings, entered, typed)
    _truth(settings, entered)
    fit, unavailable = _measurable(settings["metrics"], asked)
    warn(log, unavailable)
    for one in entered:
        if one.missing:
            log.warning("%s does not take part: %s", one.label, one.missing)
    jobs = plan(settings, entered, asked, fit)
    for one in entered:
        if one.terms is not None:
            one.contestant.check(asked.items(), one.name)
    store, seen = Store(folder), provenance()
    with store.locked():
        store.tidy()
        try:
            places = devices(settings)
            run(jobs, store, places, seen, _workers(settings["workers"], places))
        finally:  # of workers that were ended
            store.tidy()
        made = collect(jobs, store)
    return judged(settings, entered, jobs, made, fit, unavailable, seen)


def plan(
    settings: Settings, entered: Sequence[Entry], asked: Task, metrics: Mapping[str, Settings]
) -> list[Job]:
    """Everyone who is there makes every video.

    Raises:
        ValueError: if durations or texts cannot be told apart, or nobody is there.
    """
    durations = tuple(float(seconds) for seconds in settings["durations"])
    items = asked.items()
    for fps in sorted({one.terms.fps for one in entered if one.terms is not None}):
        check_durations(durations, fps)
    for one in entered:
        if one.terms is not None:
            check_texts(items, one, durations)
    keys = [item.key for item in items]
    if len(set(keys)) < len(keys):
        raise ValueError("two videos have one name; give every prompt and seed once")
    jobs = [
        Job(
            one.files,
            one.settings,
            one.fingerprint,
            settings["asked"],
            item.by(one.training),
            one.terms,
            durations,
            metrics,
            keep_video=i < settings["shown"] and not one.training,
            chunk_frames=settings["chunk_frames"],
        )
        for one in entered
        if one.terms is not None
        for i, item in enumerate(items)
    ]
    if not jobs:
        raise ValueError(
            "nobody who is named is at hand:\n  "
            + "\n  ".join(f"{one.label}: {one.missing}" for one in entered)
        )
    return jobs


def judged(
    settings: Settings,
    entered: list[Entry],
    jobs: list[Job],
    made: Mapping[str, ContestantResults],
    metrics: Mapping[str, Settings],
    unavailable: Mapping[str, str],
    seen: Mapping[str, Any],
) -> BenchmarkResults:
    """Headlines of every duration, if what they need was measured."""
    names = dict(zip(metrics, build_metrics(metrics, [job.item for job in jobs]), strict=True))
    wanted = [names[key] for key in settings["headline"] if key in names]
    gates, lacking, truth = [], [], _truth(settings, entered)
    for key, bounds in settings["gates"].items():
        if bounds is None:
            continue
        if key in names:
            gates.append(Gate(names[key], bounds[0], bounds[1], truth))
        else:
            lacking.append(key)
    notes = []
    if lacking:
        notes.append(
            f"Nobody is ranked: {', '.join(lacking)}, by which stills and loops are told, were not "
            f"measured."
        )
    for name in conflicts(made):
        notes.append(f"{name} was not measured alike for everyone and is left out")
        wanted = [one for one in wanted if one != name]
    kinds = {one.files: type(one.contestant) for one in entered}
    named = set(settings["unranked"])
    aside = {one.files for one in entered if named & {one.name, one.files}}
    unranked = [name for name in made if notes or kinds[name].control or name in aside]
    original = _original(entered)
    headlines = {
        at: headline(made, at, wanted, gates, [*unranked, *_copies(made, at, original)])
        for at in jobs[0].durations
    }
    commits = {row["commit"] for one in made.values() for row in one.rows}
    if len(commits) > 1:
        notes.append(f"rows come from several commits: {', '.join(sorted(map(str, commits)))}")
    return BenchmarkResults(
        settings, entered, jobs, made, headlines, names, unavailable, dict(seen), notes
    )


def _truth(settings: Settings, entered: list[Entry]) -> str | None:
    """The contestant with which gates compare."""
    if not settings["gates_beyond_truth"]:
        return None
    name = _original(entered)
    if name is None:
        raise ValueError(
            "gates compare with the truth, which does not take part; add "
            "+contestant@contestants.truth=truth, or give gates_beyond_truth=false"
        )
    return name


def _original(entered: Sequence[Entry]) -> str | None:
    found = (one.files for one in entered if isinstance(one.contestant, Truth))
    return next(found, None)


def _copies(
    made: Mapping[str, ContestantResults], seconds: float, original: str | None
) -> list[str]:
    """Who has shown nothing but the truth's own frames so far, as whoever is spoilt later on."""
    frames = {
        name: {row["item"]: row["durations"][f"{seconds:g}"]["frames_sha256"] for row in one.rows}
        for name, one in made.items()
    }
    shown = frames.get(original or "")
    return [name for name, mine in frames.items() if mine and mine == shown]


def devices(settings: Settings) -> list[str]:
    """Where networks run: one name for each process, in turn."""
    import torch

    chosen = settings["devices"]
    if chosen != "auto":
        return [chosen] if isinstance(chosen, str) else list(chosen)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{i}" for i in range(count)] or ["cpu"]


def _workers(asked: int | None, places: Sequence[str]) -> int:
    """Processes: as asked, or one for each GPU; on the CPU two."""
    if asked is not None:
        return asked
    gpus = [place for place in places if place.startswith("cuda")]
    return len(gpus) or 2


def provenance() -> dict[str, Any]:
    """Which code, libraries and machine made the rows."""
    import torch

    found: dict[str, Any] = {"commit": "unknown", **versions()}
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found["device"] = cuda or platform.processor() or platform.machine()
    return {"version": found.pop("context-forcing"), **found}


def _measurable(
    settings: Mapping[str, Settings], asked: Task
) -> tuple[dict[str, Settings], dict[str, str]]:
    """The settings of metrics that can be had, and why the others cannot."""
    absent = (ValueError, OSError, ImportError)
    made, unavailable = metrics_of(settings, texts_of(asked.items()), _given(asked), absent)
    forget_extractors()  # the processes that make videos read their own
    return {key: settings[key] for key in made}, unavailable


def _given(asked: Task) -> list[str]:
    """What is known of each frame: the truths' names, and the true frames if they are known."""
    first = asked.items()[0]
    known = asked.known(asked.film(first, 1 + SLACK), 1, 0, 1)
    return [*known.truth, *(["reference"] if known.reference is not None else [])]
