"""Durations and texts of a benchmark against its frames: what would never be seen is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise

from cf.bench.contestants.entries import Entry
from cf.bench.tasks.base import Sample
from cf.data.script import refuse_crowded

log = logging.getLogger("cf.benchmark")


def check_texts(items: Sequence[Sample], one: Entry) -> None:
    """Refuse texts that would never be seen.

    Raises:
        ValueError: two texts of a video begin in one frame or block of a contestant.
    """
    assert one.terms is not None
    fps, frames = one.terms.fps, one.terms.block_frames or 1
    each = f"frame at {fps:g} frames/s" if frames == 1 else f"block, of {frames / fps:.3g} s"
    for item in items:
        times = [seconds for seconds, _ in item.script]
        where = f"{item.prompt}, made by {one.label}"
        refuse_crowded(times, lambda at: one.contestant.first_block(round(at * fps)), where, each)


def check_durations(durations: Sequence[float], items: Sequence[Sample], fps: float) -> None:
    """Warn of texts that begin after the longest duration.

    Raises:
        ValueError: a duration has no frame of its own.
    """
    stops = [round(seconds * fps) for seconds in durations]
    if any(a >= b for a, b in pairwise([0, *stops])):
        raise ValueError(
            f"durations={list(durations)}: at {fps:g} frames/s they end after {stops} frames; each "
            f"must have {1 / fps:.3g} s, a frame, of its own"
        )
    late = [item for item in items if round(item.script[-1][0] * fps) >= stops[-1]]
    if late:
        log.warning(
            "the longest of durations is %g s, and %d videos have texts that begin later and are "
            "not shown, such as %s at %g s",
            durations[-1],
            len(late),
            late[0].prompt,
            late[0].script[-1][0],
        )
