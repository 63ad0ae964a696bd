"""A whole benchmark: contestants, videos, numbers and headlines."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cf.bench.contestants.controls import Truth
from cf.bench.contestants.entries import Entry, entries
from cf.bench.contestants.named import check_names
from cf.bench.measures import MetricChoice, choose_metrics
from cf.bench.places import Places
from cf.bench.plan import plan
from cf.bench.ranking import Cell, Headline, headline
from cf.bench.results import ContestantResults, read_results
from cf.bench.runner import Runner
from cf.bench.store import Job, Store
from cf.bench.tasks.base import Task
from cf.bench.texts import encode_texts
from cf.evaluation.gates import gates_of
from cf.evaluation.named_metrics import warn
from cf.evaluation.provenance import versions
from cf.settings.build import Settings, build
from cf.stats.trainings import trainings

log = logging.getLogger("cf.benchmark")


@dataclass(frozen=True)
class Contest:
    """Who makes which videos, and what is measured: all that is agreed before the work.

    Attributes:
        truth: the contestant that is the world as it is; None: it does not take part.
    """

    settings: Settings
    places: Places
    entered: list[Entry]
    metrics: MetricChoice
    jobs: list[Job]
    truth: str | None


@dataclass(frozen=True)
class BenchmarkResults:
    """All that a benchmark found, for tables and pages.

    Attributes:
        names: of metrics, by their names in the settings.
        unavailable: metrics that could not be had, with the reason.
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

    @property
    def last(self) -> Headline:
        """The table of the longest duration."""
        return self.headlines[max(self.headlines)]

    def cells(self, seconds: float, metric: str) -> dict[str, Cell]:
        """The cells that a metric would have as a headline; nobody is ranked by it."""
        table = headline(self.made, seconds, [metric], [], list(self.made))
        return {name: cells[metric] for name, cells in table.cells.items()}

    def unit(self, name: str) -> str:
        """The unit of a contestant's mean and interval."""
        return "training" if len(trainings(self.made[name].units())) > 1 else "prompt"

    def statistics(self) -> str:
        """A sentence on the intervals, for readers of a table."""
        most = max(len(trainings(contestant.units())) for contestant in self.made.values())
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
    """Make and measure all videos that are missing, and compare the contestants.

    Args:
        settings: of `cf.benchmark`.
        folder: where videos, states and rows are kept; a second run goes on in it, and no other
            process may work there meanwhile.
        typed: settings that were given on the command line.

    Raises:
        ValueError: if contestants differ in their terms, or settings cannot be used.
    """
    contest = prepare_contest(settings, typed)
    store, origin = Store(folder), provenance()
    runner = Runner(store, contest.places, origin)
    store.tidy()
    try:
        jobs = runner.unfinished(contest.jobs)
        encode_texts(contest.entered, [job.item for job in jobs], contest.places)
        runner.run(jobs)
    finally:  # of workers that were ended
        store.tidy()
    results = read_results(contest.jobs, store)
    return rank(contest, results, origin)


def prepare_contest(settings: Settings, typed: Collection[str] = ()) -> Contest:
    """Everything that can be checked before the work begins.

    Raises:
        ValueError: as `run_benchmark`.
    """
    task, places, entered, metrics, truth = _chosen(settings, typed)
    warn(log, metrics.unavailable)
    for entry in entered:
        if entry.missing:
            log.warning("%s does not take part: %s", entry.label, entry.missing)
    items = task.items()
    jobs = plan(settings, entered, items, metrics.settings)
    for entry in entered:
        if entry.terms is not None:
            entry.contestant.check(items, entry.name)
    return Contest(settings, places, entered, metrics, jobs, truth)


def check_contest(settings: Settings) -> None:
    """What can be told of a benchmark before its networks are trained.

    Args:
        settings: of `cf.benchmark`, with `absent=list`.

    Raises:
        ValueError: as `run_benchmark`, but for what depends on the networks.
    """
    _chosen(settings, ())


def _chosen(
    settings: Settings, typed: Collection[str]
) -> tuple[Task, Places, list[Entry], MetricChoice, str | None]:
    """The task, the places, who takes part, the metrics, and who is the truth."""
    places = Places.of(settings)
    task: Task = build(settings["asked"], "asked")
    entered = entries(settings, task)
    check_names(settings, entered, typed)
    truth = next((entry.name for entry in entered if isinstance(entry.contestant, Truth)), None)
    if settings["gates_beyond_truth"] and truth is None:
        raise ValueError(
            "gates compare with the truth, which does not take part; add "
            "+contestant@contestants.truth=truth, or give gates_beyond_truth=false"
        )
    return task, places, entered, choose_metrics(settings["metrics"], task), truth


def rank(
    contest: Contest, made: Mapping[str, ContestantResults], seen: Mapping[str, Any]
) -> BenchmarkResults:
    """Rank the contestants at every duration, and say what is not ranked and why."""
    settings, entered, jobs = contest.settings, contest.entered, contest.jobs
    names = contest.metrics.names
    wanted = [names[key] for key in settings["headline"] if key in names]
    truth = contest.truth if settings["gates_beyond_truth"] else None
    gates, lacking = gates_of(settings["gates"], names, truth)
    notes = []
    if lacking:
        notes.append(
            f"Nobody is ranked: {', '.join(lacking)}, by which stills and loops are told, were not "
            f"measured."
        )
    for name in _conflicts(made):
        notes.append(f"{name} was not measured alike for everyone and is left out")
        wanted = [metric for metric in wanted if metric != name]
    kinds = {entry.name: type(entry.contestant) for entry in entered}
    named = set(settings["unranked"])
    aside = {entry.name for entry in entered if named & {entry.name, entry.files}}
    unranked = [name for name in made if notes or kinds[name].control or name in aside]
    equal = {at: _copies(made, at, contest.truth) for at in jobs[0].durations}
    headlines = {
        at: headline(made, at, wanted, gates, [*unranked, *like]) for at, like in equal.items()
    }
    commits = {row["commit"] for contestant in made.values() for row in contestant.rows}
    if len(commits) > 1:
        notes.append(f"rows come from several commits: {', '.join(sorted(map(str, commits)))}")
    return BenchmarkResults(
        settings,
        entered,
        jobs,
        made,
        headlines,
        names,
        contest.metrics.unavailable,
        dict(seen),
        notes,
    )


def _conflicts(contestants: Mapping[str, ContestantResults]) -> list[str]:
    """Metrics that were not measured alike for everyone; these share no column."""
    conflicts = []
    seconds = next(iter(contestants.values())).results if contestants else {}
    for name in next(iter(seconds.values()), {}):
        alike = all(
            len({contestant.results[at][name].digest() for contestant in contestants.values()}) == 1
            for at in seconds
        )
        conflicts += [] if alike else [name]
    return conflicts


def _copies(
    contestants: Mapping[str, ContestantResults], seconds: float, truth: str | None
) -> list[str]:
    """Contestants whose frames equal the truth's so far; one that is spoilt later is among them."""
    frames = {
        name: {
            row["item"]: row["durations"][f"{seconds:g}"]["frames_sha256"]
            for row in contestant.rows
        }
        for name, contestant in contestants.items()
    }
    shown = frames.get(truth or "")
    return [name for name, hashes in frames.items() if hashes and hashes == shown]


def provenance() -> dict[str, Any]:
    """Which code, libraries and machine made the rows."""
    origin: dict[str, Any] = {"commit": "unknown", **versions()}
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    origin["device"] = cuda or platform.processor() or platform.machine()
    return {"version": origin.pop("context-forcing"), **origin}
