"""The state of every metric: rows per window, and the edges of the runs of frames seen so far."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

_DIMS = 3  # of what is kept of a frame, at most


class FrameRange(NamedTuple):
    """A contiguous run of frames of one video, with what is kept of its edges.

    Attributes:
        first, stop: source frames.
        head, tail: what is kept of the first and last few sampled frames, equally many.
    """

    video: int
    first: int
    stop: int
    fps: Fraction
    head: Tensor
    tail: Tensor

    def row(self) -> list[int]:
        """The range as whole numbers, without the values of its edges."""
        shape = list(self.head.shape[1:])
        padded = shape + [-1] * (_DIMS - len(shape))
        rate = [self.fps.numerator, self.fps.denominator]
        return [self.video, self.first, self.stop, *rate, len(self.head), *padded]


Stitch = Callable[[FrameRange, FrameRange], tuple[FrameRange, "Table"]]


@dataclass(frozen=True)
class Table:
    """Rows of several kinds; two tables are joined by appending rows.

    Attributes:
        keys: (video, window, measurements) of each row of `sums`.
        sums: of the measured numbers.
        runs: of frames seen, as `FrameRange.row`.
        edges: what is kept of the runs' edges, head and tail, flat, run after run.
        segments: (video, first, stop, prompt, seed, height, width) of frames under one prompt.
        marks: (video, frame) at which a block begins.
        faults: (video, frame, code) of what made a video unusable.
    """

    keys: Int[Tensor, "n 3"]
    sums: Tensor
    runs: Int[Tensor, "r 9"]
    edges: Tensor
    segments: Int[Tensor, "s 7"]
    marks: Int[Tensor, "m 2"]
    faults: Int[Tensor, "q 3"]

    @staticmethod
    def empty(width: int, dtype: torch.dtype, kept: torch.dtype) -> "Table":
        """A table without rows; `kept` is the dtype of the edges."""
        ints = [torch.zeros(0, columns, dtype=torch.long) for columns in (3, 9, 7, 2, 3)]
        sums = torch.zeros(0, width, dtype=dtype)
        return Table(ints[0], sums, ints[1], torch.zeros(0, dtype=kept), *ints[2:])

    @staticmethod
    def names() -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(f.name for f in fields(Table))

    def joined(self, other: "Table") -> "Table":
        """A table with the rows of both."""
        return self.followed([other])

    def followed(self, others: Sequence["Table"]) -> "Table":
        """A table with the rows of all, in order."""
        tables = (self, *others)
        return Table(**{name: stacked([getattr(x, name) for x in tables]) for name in self.names()})

    def unpacked(self) -> Iterator[FrameRange]:
        """The runs with their edges."""
        at = 0
        for row in self.runs.tolist():
            video, first, stop, top, bottom, edge, *padded = row
            shape = [side for side in padded if side >= 0]
            end = at + 2 * edge * math.prod(shape)
            head, tail = self.edges[at:end].view(2, edge, *shape)
            yield FrameRange(video, first, stop, Fraction(top, bottom), head, tail)
            at = end

    def with_runs(self, runs: list[FrameRange]) -> "Table":
        """A table with the same rows and other runs."""
        if not runs:
            return replace(self, runs=self.runs[:0], edges=self.edges[:0])
        rows = torch.tensor([run.row() for run in runs], dtype=torch.long)
        parts = [edge.reshape(-1) for run in runs for edge in (run.head, run.tail)]
        return replace(self, runs=rows, edges=torch.cat(parts).to(self.edges.dtype))

    def summed(self) -> "Table":
        """One row per window, in order."""
        done = _settled(self.keys[:, :2])
        keys, sums = self.keys[done:], self.sums[done:]
        if not len(keys):
            return self
        which, index = torch.unique(keys[:, :2], dim=0, return_inverse=True)
        if len(which) == len(keys):
            order = torch.empty_like(index)
            order[index] = torch.arange(len(index))
            keys, sums = keys[order], sums[order]
        else:
            sums = sums.new_zeros(len(which), sums.shape[1]).index_add_(0, index, sums)
            count = torch.zeros(len(which), dtype=torch.long).index_add_(0, index, keys[:, 2])
            keys = torch.cat((which, count[:, None]), 1)
        rows = torch.cat((self.keys[:done], keys)), torch.cat((self.sums[:done], sums))
        return replace(self, keys=rows[0], sums=rows[1])

    def tidied(self) -> "Table":
        """Neighbouring segments of one prompt joined; marks and faults once each."""
        joined: list[list[int]] = []
        for row in sorted(self.segments.tolist()):
            last = joined[-1] if joined else None
            if last and [last[0], last[2], *last[3:]] == [row[0], row[1], *row[3:]]:
                last[2] = row[2]
            else:
                joined.append(row)
        done = _settled(self.marks)
        return replace(
            self,
            segments=torch.tensor(joined, dtype=torch.long).view(-1, 7),
            marks=torch.cat((self.marks[:done], torch.unique(self.marks[done:], dim=0))),
            faults=torch.unique(self.faults, dim=0),
        )


def coalesced(parts: Sequence[Table], stitch: Stitch, edges: bool = True) -> Table:
    """One table with neighbouring runs joined and one row per window, in order and bounded.

    Args:
        parts: tables of the same metric, at least one; their edges are read where they lie.
        stitch: joins two neighbouring runs.
        edges: keep the runs' edges, which only further frames need: whole pictures, often.
    """
    runs: list[FrameRange] = []
    across: list[Table] = []
    every = chain.from_iterable(part.unpacked() for part in parts)
    for run in sorted(every, key=lambda run: run[:3]):
        last = runs[-1] if runs else None
        if last is None or last.video != run.video or last.stop < run.first:
            runs.append(run)
            continue
        runs[-1], more = stitch(last, run)
        across.append(more)
    if not edges:
        runs = [run._replace(head=run.head[:0], tail=run.tail[:0]) for run in runs]
    rows, *more_rows = (part.with_runs([]) for part in parts)
    return rows.followed([*more_rows, *across]).with_runs(runs).summed().tidied()


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Rows one after the other; the tensor itself where only one has any."""
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return filled[0] if len(filled) == 1 else torch.cat(filled)


def _settled(rows: Int[Tensor, "n 2"]) -> int:
    """The number of first rows that a sort would leave in place.

    Sorting an hour's rows again whenever a few are added would cost more the longer a video is.
    """
    if len(rows) < 2:
        return 0
    (first, second), (after, later) = rows[:-1].T, rows[1:].T
    rising = (first < after) | ((first == after) & (second < later))
    if rising.all():
        return len(rows)
    rest = rows[int(rising.int().argmin()) + 1 :]
    least = rest[:, 0].min()
    lowest = rest[rest[:, 0] == least, 1].min()
    return int(((rows[:, 0] < least) | ((rows[:, 0] == least) & (rows[:, 1] < lowest))).sum())
