"""Rows of hours of video: tidied without being sorted again, and read in bounded memory."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from metrics_motion import MOTION
from torch import Tensor

from cf.metrics.motion import chunk_seam
from cf.metrics.motion.chunk_seam import ChunkSeam
from cf.metrics.repetition import loop_rate
from cf.metrics.repetition.loop_rate import LoopRate
from cf.metrics.table import Table, _settled


def table(rows: list[tuple[int, int]], marks: list[tuple[int, int]], sums: Tensor) -> Table:
    empty = Table.empty(2, torch.float64, torch.float32)
    keys = torch.tensor([(*row, 1) for row in rows], dtype=torch.long).view(-1, 3)
    found = {"keys": keys, "sums": sums, "marks": torch.tensor(marks).long().view(-1, 2)}
    return Table(**{**vars(empty), **found})


def plainly(rows: list[tuple[int, int]], sums: Tensor) -> dict[tuple[int, int], tuple[Any, int]]:
    """Sums in the order in which they came, and how many."""
    found: dict[tuple[int, int], tuple[Any, int]] = {}
    for row, numbers in zip(rows, sums, strict=True):
        held, count = found.get(row, (torch.zeros(2).double(), 0))
        found[row] = held + numbers, count + 1
    return found


@pytest.mark.parametrize("seed", range(40))
def test_rows_come_out_sorted_and_summed_whatever_lay_in_order_before(seed: int) -> None:
    draw = random.Random(seed)
    videos = [draw.choice((-3, 5, 2**62 - 1)) for _ in range(draw.randint(0, 3))] or [7]
    done = sorted({(draw.choice(videos), draw.randint(0, 30)) for _ in range(draw.randint(0, 20))})
    new = [(draw.choice(videos), draw.randint(20, 50)) for _ in range(draw.randint(0, 12))]
    if seed % 2:
        draw.shuffle(new)
    rows = [*done, *new]
    sums = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(seed)).double()
    expected = plainly(rows, sums)
    tidy = table(rows, rows, sums).summed().tidied()
    assert [tuple(row) for row in tidy.keys[:, :2].tolist()] == sorted(expected)
    for key, numbers in zip(tidy.keys.tolist(), tidy.sums, strict=True):
        held, count = expected[key[0], key[1]]
        assert key[2] == count
        assert torch.equal(numbers, held)
    assert [tuple(mark) for mark in tidy.marks.tolist()] == sorted(set(rows))


def test_what_is_settled_is_not_sorted_again() -> None:
    rows = torch.tensor([(1, i) for i in range(100)])
    assert _settled(rows) == 100
    assert _settled(torch.cat((rows, torch.tensor([[1, 99], [1, 100]])))) == 99
    assert _settled(torch.cat((rows, torch.tensor([[1, 40], [0, 7]])))) == 0
    assert _settled(torch.cat((rows, torch.tensor([[2, 0], [1, 40]])))) == 40


def test_a_loop_is_found_however_few_frames_are_compared_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0)).repeat(
        3, 1, 1, 1
    )

    def value() -> float:
        metric = LoopRate()
        metric.update(frames, 0, fps=4)
        return metric.result().value

    whole = value()
    assert whole > 0.5
    monkeypatch.setattr(loop_rate, "_PAIRS", 7)
    assert value() == whole


@pytest.mark.parametrize("name", MOTION)
def test_a_reason_asks_nobody_to_write_code(name: str) -> None:
    for frames in (1, 2, 16):
        metric = MOTION[name]()
        metric.update(torch.full((frames, 3, 32, 32), 0.5), 0, fps=8)
        assert not [
            one for one in metric.result().reasons.values() if "(..." in one or "update" in one
        ]


def test_boundaries_are_drawn_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    frames = torch.from_numpy(random.uniform(size=(40, 3, 32, 48))).float()

    def extras() -> dict[str, float]:
        metric = ChunkSeam()
        metric.update(frames, 3, fps=8, boundaries=list(range(0, 40, 3)))
        return dict(metric.result().extras)

    whole = extras()
    assert 0 < whole["p"] <= 1
    assert not math.isnan(whole["p"])
    for places in (1, 100, 5000):
        monkeypatch.setattr(chunk_seam, "_PLACES", places)
        assert extras() == whole
