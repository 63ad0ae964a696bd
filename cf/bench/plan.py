"""The videos of a benchmark as jobs, each of whose durations and texts has frames of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from cf.bench.contestants.entries import Entry
from cf.bench.store import Job
from cf.bench.tasks.base import Sample
from cf.data.script import refuse_unseen
from cf.settings.build import Settings


def plan(
    settings: Settings,
    entered: Sequence[Entry],
    items: Sequence[Sample],
    metrics: Mapping[str, Settings],
) -> list[Job]:
    """A job for every video of every contestant that is at hand.

    Raises:
        ValueError: if durations or texts cannot be told apart, or nobody is there.
    """
    durations = tuple(float(seconds) for seconds in settings["durations"])
    for fps in sorted({entry.terms.fps for entry in entered if entry.terms is not None}):
        _check_durations(durations, fps)
    for entry in entered:
        if entry.terms is not None:
            _check_texts(items, entry, durations)
    keys = [item.key for item in items]
    if len(set(keys)) < len(keys):
        raise ValueError("two videos have one name; give every prompt and seed once")
    shown = settings["shown"]
    if settings["export_vbench"] and shown < len(items):
        raise ValueError(
            f"export_vbench links the videos that are kept, and shown={shown} keeps {shown} of "
            f"{len(items)}: give shown={len(items)}"
        )
    jobs = [
        Job(
            entry.name,
            entry.settings,
            entry.fingerprint,
            settings["asked"],
            item.by(entry.training),
            entry.terms,
            durations,
            metrics,
            keep_video=i < shown and not entry.training,
            chunk_frames=settings["chunk_frames"],
        )
        for entry in entered
        if entry.terms is not None
        for i, item in enumerate(items)
    ]
    if not jobs:
        raise ValueError(
            "nobody who is named is at hand:\n  "
            + "\n  ".join(f"{entry.label}: {entry.missing}" for entry in entered)
        )
    return jobs


def _check_texts(items: Sequence[Sample], entry: Entry, durations: Sequence[float]) -> None:
    """Refuse texts that would never be seen.

    Raises:
        ValueError: two texts of a video begin in one frame or block of a contestant, or one of
            them begins when the longest duration is over.
    """
    assert entry.terms is not None
    fps, frames = entry.terms.fps, entry.terms.block_frames or 1
    unit = f"frame at {fps:g} frames/s" if frames == 1 else f"block, of {frames / fps:.3g} s"
    longest = max(durations)
    end = entry.contestant.first_block(round(longest * fps))
    for item in items:
        times = [seconds for seconds, _ in item.script]
        where = f"{item.prompt}, made by {entry.label}"
        begins = [entry.contestant.first_block(round(seconds * fps)) for seconds in times]
        refuse_unseen(times, begins, end, where, unit, f"the longest of durations is {longest:g} s")


def _check_durations(durations: Sequence[float], fps: float) -> None:
    """Raise a ValueError unless each duration has a frame of its own."""
    stops = [round(seconds * fps) for seconds in durations]
    if any(a >= b for a, b in pairwise([0, *stops])):
        raise ValueError(
            f"durations={list(durations)}: at {fps:g} frames/s they end after {stops} frames; each "
            f"must have {1 / fps:.3g} s, a frame, of its own"
        )
