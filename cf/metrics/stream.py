"""Rows from pieces of videos, and whole videos from rows; chunks and order change nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from cf.metrics.measurement import Clock, Measurement, clock
from cf.metrics.scored import Fault, Scored, Segment
from cf.metrics.table import FrameRange, Table

NO_PROMPT = -1


@dataclass(frozen=True)
class Stream:
    """A measurement of frames that come in pieces.

    Attributes:
        window: seconds over which numbers are summed; None keeps one row per sampled frame.
    """

    measurement: Measurement
    window: float | None

    @cached_property
    def empty(self) -> Table:
        """A table without rows."""
        m = self.measurement
        return Table.empty(m.width, m.dtype, m.kept)

    def clock(self, fps: Fraction) -> Clock:
        """The clock of a video: its sampled frames and their windows."""
        return clock(fps, self.measurement.rate, self.window)

    def measured(self, video: int, first: int, stop: int, fps: Fraction, kept: Tensor) -> Table:
        """A run of frames with its rows, of which `kept` is kept."""
        edge = min(self.measurement.span - 1, len(kept))
        rows = self._rows(video, -(-first // self.clock(fps).stride), fps, kept)
        run = FrameRange(video, first, stop, fps, kept[:edge], kept[len(kept) - edge :])
        return rows.with_runs([run])

    def _rows(self, video: int, sample: int, fps: Fraction, frames: Tensor) -> Table:
        """Rows of all measurements that lie within `frames`, whose first frame is that sample."""
        m, at = self.measurement, self.clock(fps)
        skip = -sample % m.stride
        frames = frames[skip:]
        if len(frames) < m.span:
            return self.empty
        with torch.no_grad():
            numbers = m.measure(frames).to("cpu", m.dtype)
        expected = (len(frames) - m.span) // m.stride + 1
        if numbers.shape != (expected, m.width):
            raise ValueError(
                f"{type(m).__name__}.measure returned shape {tuple(numbers.shape)} for "
                f"{len(frames)} frames; with its span, stride and width it must be "
                f"{(expected, m.width)}"
            )
        samples = sample + skip + torch.arange(expected) * m.stride
        window = at.windows(samples * at.stride)
        ones = torch.ones_like(window)
        keys = torch.stack((ones * video, window, ones), 1)
        return replace(self.empty, keys=keys, sums=numbers).summed()

    def stitch(self, left: FrameRange, right: FrameRange) -> tuple[FrameRange, Table]:
        """Join two neighbouring runs, with the measurements that lie across their border."""
        edges = (left.head, left.tail, right.head, right.tail)
        fault = None
        if left.stop > right.first:
            fault = Fault.TWICE
        elif left.fps != right.fps:
            fault = Fault.RATE
        elif len({edge.shape[1:] for edge in edges if len(edge)}) > 1:
            fault = Fault.SIZE
        if fault:  # the video is not scored
            joined = left._replace(stop=max(left.stop, right.stop))
            return joined, self.fault(left.video_id, right.first, fault)
        edge = self.measurement.span - 1
        sample = -(-right.first // self.clock(left.fps).stride) - len(left.tail)
        across = _joined(left.tail, right.head)
        rows = self.empty
        if len(left.tail) and len(right.head):
            rows = self._rows(left.video_id, sample, left.fps, across)
        head, tail = left.head, right.tail
        if len(head) < edge:
            head = _joined(head, right.head)[:edge]
        if len(tail) < edge:
            tail = _joined(left.tail, tail)
            tail = tail[max(len(tail) - edge, 0) :]
        return FrameRange(left.video_id, left.first, right.stop, left.fps, head, tail), rows

    def fault(self, video: int, frame: int, fault: Fault) -> Table:
        """Why a video cannot be scored, as a row."""
        return replace(self.empty, faults=torch.tensor([[video, frame, int(fault)]]))

    def scored(self, table: Table) -> Iterator[Scored]:
        """Every video of a coalesced table."""
        runs: dict[int, list[FrameRange]] = {}
        for run in table.unpacked():
            runs.setdefault(run.video_id, []).append(run)
        owned = [_ByVideo(part) for part in (table.keys, table.faults, table.segments, table.marks)]
        for video in sorted({*runs, *table.faults[:, 0].tolist()}):
            rows, *others = (part.rows(video) for part in owned)
            yield self._video(video, runs.get(video, []), table, rows, *others)

    def _video(
        self,
        video: int,
        runs: list[FrameRange],
        table: Table,
        rows: Tensor,
        faulty: Tensor,
        described: Tensor,
        marked: Tensor,
    ) -> Scored:
        """One video, from its rows of keys, faults, segments and marks."""
        window = table.keys[rows, 1]
        faults = table.faults[faulty]
        segments = table.segments[described].tolist()
        at = self.clock(runs[0].fps if runs else Fraction(1))
        prompt = segments[0][3] if segments else NO_PROMPT
        step = at.window if at.window is not None else at.stride / at.fps
        return Scored(
            video_id=video,
            # Without prompts every video has its own, and no other can have it.
            prompt=-2 - video if prompt == NO_PROMPT else prompt,
            seed=None if not segments or segments[0][4] == NO_PROMPT else segments[0][4],
            clock=at,
            window=window,
            count=table.keys[rows, 2],
            sums=table.sums[rows],
            seconds=window.double() * float(step),
            segments=tuple(
                Segment(first, stop, None if prompt == NO_PROMPT else prompt)
                for _, first, stop, prompt, *_ in segments
            ),
            marks=table.marks[marked, 1],
            frames=sum(run.stop - run.first for run in runs),
            size=(segments[0][5], segments[0][6]) if segments else (0, 0),
            reason=_reason(runs, faults.tolist()),
        )


class _ByVideo:
    """An index of the rows of each video."""

    def __init__(self, rows: Tensor) -> None:
        self._videos, self._order = rows[:, 0].sort(stable=True)

    def rows(self, video: int) -> Tensor:
        """Their numbers, rising."""
        ends = torch.searchsorted(self._videos, torch.tensor([video, video + 1]))
        return self._order[int(ends[0]) : int(ends[1])]


def _joined(first: Tensor, second: Tensor) -> Tensor:
    """Tensors joined along the first axis; empty ones may have any shape."""
    return torch.cat([part for part in (first, second) if len(part)] or [first])


def _reason(runs: list[FrameRange], faults: list[list[int]]) -> str:
    if faults:
        _, frame, code = faults[0]
        return Fault(code).reason(frame)
    if not runs:
        return "none of its frames was seen"
    if runs[0].first:
        return f"it begins at frame {runs[0].first}; frames 0 to {runs[0].first - 1} are missing"
    if len(runs) > 1:
        return f"frames {runs[0].stop} to {runs[1].first - 1} are missing"
    return ""
