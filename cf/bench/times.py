"""Checks that each duration and each text of a benchmark has frames of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cf.bench.contestants.entries import Entry
from cf.bench.tasks.base import Sample
from cf.data.script import refuse_crowded


def check_texts(items: Sequence[Sample], one: Entry, durations: Sequence[float]) -> None:
    """Refuse texts that would never be seen.

    Raises:
        ValueError: two texts of a video begin in one frame or block of a contestant, or one of
            them begins when the longest duration is over.
    """
    assert one.terms is not None
    fps, frames = one.terms.fps, one.terms.block_frames or 1
    each = f"frame at {fps:g} frames/s" if frames == 1 else f"block, of {frames / fps:.3g} s"
    end = one.contestant.first_block(round(max(durations) * fps))
    for item in items:
        times = [seconds for seconds, _ in item.script]
        where = f"{item.prompt}, made by {one.label}"
        refuse_crowded(times, lambda at: one.contestant.first_block(round(at * fps)), where, each)
        if one.contestant.first_block(round(times[-1] * fps)) >= end:
            raise ValueError(
                f"{where}: the text of {times[-1]:g} s would never be seen: the longest of "
                f"durations is {max(durations):g} s, and a text begins with a {each}; give a "
                f"longer one, or leave the text out"
            )


def check_durations(durations: Sequence[float], fps: float) -> None:
    """Raise a ValueError unless each duration has a frame of its own."""
    stops = [round(seconds * fps) for seconds in durations]
    if any(a >= b for a, b in pairwise([0, *stops])):
        raise ValueError(
            f"durations={list(durations)}: at {fps:g} frames/s they end after {stops} frames; each "
            f"must have {1 / fps:.3g} s, a frame, of its own"
        )
