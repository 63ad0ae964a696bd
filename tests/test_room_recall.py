"""Recall of rooms, as `cf.recall` and the training callback tell it, and how sure it is."""

import math
from itertools import pairwise

import pytest
import torch

from cf.data.world.base import Drawn
from cf.data.world.known import known
from cf.data.world.rooms import Rooms
from cf.metrics.pooled import PooledResult, ratio
from cf.metrics.recall.room_recall import RoomRecall
from cf.recall_report import _shown
from cf.types import Video

LAGS = (1, 8, 16, 32, 64)
ROOMS = Rooms()


def pooled(
    video: Video, drawn: Drawn, given: int = 36, lags: tuple[int, ...] = LAGS
) -> dict[str, PooledResult]:
    counted = RoomRecall(ROOMS, lags, video.shape[1], 8)
    for start, stop in pairwise((0, 5, len(video))):  # in batches of any size
        counted.update(
            video[start:stop], [known(drawn, i, given) for i in range(start, min(stop, len(video)))]
        )
    return counted.pooled()


def scores(video: Video, drawn: Drawn) -> dict[str, float]:
    return {name: one.value for name, one in pooled(video, drawn).items()}


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Rooms(cut=0.25).draw(9, range(16), 96)


def test_the_truth_recalls_everything(drawn: Drawn) -> None:
    found = scores(drawn.video, drawn)
    assert found["recall"] == found["self_recall"] == 1
    assert found["cross_room"] < 0.15
    assert found["novel_quality"] > 60


def test_blur_and_collapse_are_told_apart_from_recall(drawn: Drawn) -> None:
    """One picture for every room is perfectly consistent with itself, and nothing else."""
    same = drawn.video[:, :1].expand_as(drawn.video)
    found = scores(same, drawn)
    assert found["recall"] < 0.3
    assert found["cross_room"] > 0.4
    grey = scores(torch.full_like(drawn.video, 0.5), drawn)
    assert grey["recall"] < 0.2
    assert grey["novel_quality"] < 20
    assert grey["entropy"] < 2
    other = Rooms(cut=0.25).draw(10, range(16), 96)
    assert scores(other.video, drawn)["recall"] < 0.25


def test_a_video_that_gets_worse_drifts(drawn: Drawn) -> None:
    noise = torch.randn(drawn.video.shape, generator=torch.Generator().manual_seed(0))
    rising = 0.02 + 0.2 * torch.linspace(0, 1, 96)[None, :, None, None, None]
    assert scores((drawn.video + rising * noise).clamp(0, 1), drawn)["drift"] > 4
    assert abs(scores((drawn.video + 0.1 * noise).clamp(0, 1), drawn)["drift"]) < 1


def test_recall_counts_what_a_plain_loop_counts(drawn: Drawn) -> None:
    """Cell by cell, with dictionaries."""
    given, truth = 36, drawn.truth
    video = drawn.video.clone()
    video[:, 60:] = 0.5  # wrong from here on
    made, _ = ROOMS.read(video, drawn.scene)
    hits, seen, own_hits, own_seen = ([0.0] * 4 for _ in range(4))
    for b in range(16):
        last: dict[tuple[int, int], int] = {}
        painted: dict[tuple[int, int, int], int] = {}
        before, painted_before, start = dict(last), dict(painted), 0
        known = set()
        for t in range(96):
            if truth.fresh[b, t] == 0:
                before, painted_before, start = dict(last), dict(painted), t
            first = int(truth.camera[b, t]) // 8
            for column in range(4):
                key = (int(truth.place[b, t]), first + column)
                lag = start - before[key] if key in before else -1
                if t < given:
                    known.add(key)
                last[key] = t
                for row in range(2):
                    cell = int(made[b, t, row, column])
                    if t >= given and lag >= 0:
                        at = sum(lag >= edge for edge in LAGS) - 1
                        if key in known and 0 <= at < 4:
                            seen[at] += 1
                            hits[at] += cell == int(truth.identity[b, t, row, column])
                        if (*key, row) in painted_before:
                            own_seen[0] += 1
                            own_hits[0] += cell == painted_before[(*key, row)]
                    if t >= given:
                        painted[(*key, row)] = cell
    counts = pooled(video, drawn)
    by_lag = [counts[f"lag {i}"].sums.sum(0).tolist() for i in range(4)]
    assert by_lag == [list(pair) for pair in zip(hits, seen, strict=True)]
    assert counts["self_recall"].sums.sum(0).tolist() == [own_hits[0], own_seen[0]]
    assert counts["recall"].sums.sum(0).tolist() == [sum(hits), sum(seen)]
    assert 0 < sum(hits) < sum(seen)


def test_new_cells_are_what_a_plain_loop_takes_for_new(drawn: Drawn) -> None:
    """Errors of cells that no earlier stay and no given frame had in view, and what is there."""
    given, truth = 36, drawn.truth
    noise = torch.randn(drawn.video.shape, generator=torch.Generator().manual_seed(0))
    video = (drawn.video + 0.1 * noise).clamp(0, 1)
    made, error = ROOMS.read(video, drawn.scene)
    total, painted = [0.0, 0.0], torch.zeros(2, 19)
    for b in range(16):
        earlier: set[tuple[int, int]] = set()
        stay: set[tuple[int, int]] = set()
        for t in range(96):
            if truth.fresh[b, t] == 0:
                earlier, stay = earlier | stay, set()
            first = int(truth.camera[b, t]) // 8
            for column in range(4):
                key = (int(truth.place[b, t]), first + column)
                (earlier if t < given else stay).add(key)
                if t >= given and key not in earlier:
                    for row in range(2):
                        total[0] += float(error[b, t, row, column])
                        total[1] += 1
                        painted[row, made[b, t, row, column]] += 1
    counts = pooled(video, drawn)
    torch.testing.assert_close(
        counts["novel_quality"].sums.sum(0), torch.tensor(total, dtype=torch.double)
    )
    assert torch.equal(counts["entropy"].sums.sum(0), painted.double())
    assert total[1] > 100


def test_an_interval_covers_the_true_share() -> None:
    """Of 200 samples of 64 worlds whose recall is 0.7, about 95 % of intervals hold it."""
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for i in range(200):
        world = (0.7 + 0.15 * torch.randn(64, generator=generator)).clamp(0, 1)
        hits = torch.binomial(torch.full((64,), 40.0), world, generator=generator).double()
        counts = PooledResult(torch.stack((hits, torch.full_like(hits, 40)), 1), ratio)
        found = counts.interval(resamples=300, seed=i)
        assert found.low <= found.value <= found.high
        covered += found.low <= 0.7 <= found.high
    assert 180 <= covered <= 199


def test_what_was_never_seen_has_no_value(drawn: Drawn) -> None:
    nothing = pooled(drawn.video, drawn, 95, (1, 2, 1000, 2000))["lag 2"].interval()
    assert all(value != value for value in (nothing.value, nothing.low, nothing.high))


@pytest.mark.parametrize("lags", [(8,), (8, 4)])
def test_lags_that_do_not_rise_are_named(lags: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"lags=\[8"):
        RoomRecall(ROOMS, lags, 96, 8)


def test_one_world_has_no_interval() -> None:
    alone = PooledResult(torch.tensor([[1.0, 4.0], [0.0, 0.0]]).double(), ratio).interval()
    assert (alone.value, alone.units) == (0.25, 1)
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    assert _shown(alone) == "0.25"
    two = PooledResult(torch.tensor([[1.0, 4.0], [3.0, 4.0]]).double(), ratio).interval()
    assert 0.25 <= two.low < two.high <= 0.75
