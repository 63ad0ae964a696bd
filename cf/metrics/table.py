"""The state of every metric: rows per window, and the edges of the runs of frames seen so far."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import numpy as np
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

    video_id: int
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
        return [self.video_id, self.first, self.stop, *rate, len(self.head), *padded]


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
        start = _settled(self.keys[:, :2])
        keys, sums = self.keys[start:], self.sums[start:]
        if not keys.shape[0]:
            return self
        numbers = keys.numpy()
        firsts, index = _ranked(numbers[:, :2])
        if len(firsts) == len(index):
            keys, sums = torch.from_numpy(numbers[firsts]), sums[torch.from_numpy(firsts)]
        else:
            merged = numbers[firsts]
            merged[:, 2] = 0
            np.add.at(merged[:, 2], index, numbers[:, 2])
            keys = torch.from_numpy(merged)
            rows = sums.new_zeros(len(firsts), sums.shape[1])
            sums = rows.index_add_(0, torch.from_numpy(index), sums)
        if start:
            keys, sums = torch.cat((self.keys[:start], keys)), torch.cat((self.sums[:start], sums))
        return replace(self, keys=keys, sums=sums)

    def tidied(self) -> "Table":
        """Neighbouring segments of one prompt joined; marks and faults once each."""
        joined: list[list[int]] = []
        for row in sorted(self.segments.tolist()):
            last = joined[-1] if joined else None
            if last and [last[0], last[2], *last[3:]] == [row[0], row[1], *row[3:]]:
                last[2] = row[2]
            else:
                joined.append(row)
        marks, faults = self.marks, self.faults
        start = _settled(marks)
        if start < marks.shape[0]:
            marks = torch.cat((marks[:start], torch.unique(marks[start:], dim=0)))
        return replace(
            self,
            segments=torch.tensor(joined, dtype=torch.long).view(-1, 7),
            marks=marks,
            faults=torch.unique(faults, dim=0) if faults.shape[0] > 1 else faults,
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
        if last is None or last.video_id != run.video_id or last.stop < run.first:
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
    filled = [part for part in parts if part.shape[0]] or list(parts[:1])
    return filled[0] if len(filled) == 1 else torch.cat(filled)


def _ranked(rows: Int[np.ndarray, "n 2"]) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " n"]]:
    """Where the first of each kind of row is, in rising order, and the kind of each row."""
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rising = rows[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (rising[1:] != rising[:-1]).any(1)
    index = np.empty_like(order)
    index[order] = fresh.cumsum() - 1
    return order[fresh], index


def _settled(rows: Int[Tensor, "n 2"]) -> int:
    """The number of first rows that a sort would leave in place.

    Sorting an hour's rows again whenever a few are added would cost more the longer a video is.
    Tables are short, most of them: NumPy takes a fifth of the time of tensors.
    """
    if rows.shape[0] < 2:
        return 0
    first, second = rows.numpy().T
    rising = (first[:-1] < first[1:]) | ((first[:-1] == first[1:]) & (second[:-1] < second[1:]))
    if rising.all():
        return len(first)
    fall = int(rising.argmin()) + 1
    least = first[fall:].min()
    lowest = second[fall:][first[fall:] == least].min()
    return int(((first < least) | ((first == least) & (second < lowest))).sum())
