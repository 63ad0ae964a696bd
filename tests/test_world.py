"""The drawn rooms: reproducible, exactly readable, and scored as they should be."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from cf.data.world.base import Drawn
from cf.data.world.module import WorldData
from cf.data.world.recall import Tally, joined, tally
from cf.data.world.rooms import Rooms
from cf.data.world.statistics import STATISTICS, Estimate, estimate, recall, recall_at
from cf.types import Video

LAGS = (1, 8, 16, 32, 64)
ROOMS = Rooms()


def tensors(drawn: Drawn) -> list[torch.Tensor]:
    """The ground truth, of which rooms have no motion."""
    return [value for value in vars(drawn.truth).values() if value is not None]


def equal(one: Drawn, other: Drawn) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    same = torch.equal(one.video, other.video) and all(torch.equal(a, b) for a, b in pairs)
    return same and one.prompt == other.prompt


@pytest.mark.parametrize("stay", [None, 2])
def test_a_video_depends_on_seed_and_number_alone(stay: int | None) -> None:
    world = Rooms(stay_blocks=stay)
    both, second = world.draw(3, [5, 6], 24), world.draw(3, [6], 24)
    assert torch.equal(both.video[1:], second.video)
    assert equal(both, world.draw(3, [5, 6], 24))
    longer = world.draw(3, [6], 60)
    assert torch.equal(longer.video[:, :24], second.video)
    assert torch.equal(longer.truth.identity[:, :24], second.truth.identity)
    assert not torch.equal(world.draw(4, [6], 24).video, second.video)


@pytest.mark.parametrize(
    "world",
    [ROOMS, Rooms(size=(64, 96), view_cells=6, room_cells=9, num_places=4), Rooms(size=(128, 64))],
    ids=["small", "wide", "tall"],
)
def test_every_identity_can_be_read_back(world: Rooms) -> None:
    drawn = world.draw(0, range(4), 24)
    assert drawn.video.shape == (4, 24, 3, *world.size)
    assert drawn.video.min() >= 0
    assert drawn.video.max() <= 1
    made, error = world.read(drawn.video, drawn.scene)
    assert torch.equal(made, drawn.truth.identity)
    assert error.max() < 1e-10
    noisy = drawn.video + 0.1 * torch.randn(
        drawn.video.shape, generator=torch.Generator().manual_seed(0)
    )
    assert (world.read(noisy, drawn.scene)[0] == drawn.truth.identity).float().mean() > 0.99


def test_cuts_come_at_the_edges_of_blocks_and_the_camera_moves_by_cells() -> None:
    truth = ROOMS.draw(1, range(32), 48).truth
    moved = truth.place[:, 1:] != truth.place[:, :-1]
    edges = torch.arange(1, 48) % 3 == 0
    assert not moved[:, ~edges].any()
    assert 0.4 < moved[:, edges].float().mean() < 0.6
    assert torch.equal(moved, (truth.fresh == 0)[:, 1:])
    steps = (truth.camera[:, 1:] - truth.camera[:, :-1])[~moved] / ROOMS.cell[1]
    assert set(steps.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert 0.7 < (steps != 0).float().mean() < 0.8
    last = (ROOMS.room_cells - ROOMS.view_cells) * ROOMS.cell[1]
    assert truth.camera.min() == 0
    assert truth.camera.max() == last


def test_a_single_shot_stays_and_a_cycle_takes_turns() -> None:
    assert Rooms(cut=0.0).draw(0, range(8), 24).truth.place.diff(dim=1).abs().sum() == 0
    place = Rooms(stay_blocks=2).draw(0, [0], 36).truth.place[0]
    assert torch.equal(place.diff()[5::6] % 3, torch.ones(5, dtype=torch.long))
    assert len(place[::6].unique()) == 3


def test_a_place_looks_the_same_whenever_it_is_seen() -> None:
    drawn = ROOMS.draw(2, [7], 96)
    seen: dict[tuple[int, ...], torch.Tensor] = {}
    for frame in range(96):
        first = int(drawn.truth.camera[0, frame]) // 8
        for i in range(ROOMS.view_cells):
            key = (int(drawn.truth.place[0, frame]), first + i)
            picture = drawn.video[0, frame, :, :, 8 * i : 8 * i + 8]
            assert torch.equal(seen.setdefault(key, picture), picture)
    assert len(seen) > 16


def test_control_origin_and_masks_tell_the_truth() -> None:
    drawn = ROOMS.draw(0, range(4), 24)
    assert torch.equal(drawn.control.argmax(-1), drawn.truth.place)
    assert torch.equal(drawn.origin[..., 1] * 8, drawn.truth.camera)
    assert drawn.truth.instance.shape == (4, 24, 32, 32)
    empty = drawn.truth.identity[:, :, 0] == 0
    for column in range(4):
        thing = (drawn.truth.instance[:, :, :16] == column + 1).flatten(2).any(-1)
        assert torch.equal(thing, ~empty[:, :, column])
    assert "room" in drawn.prompt[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (33, 32)}, "size="),
        ({"view_cells": 9}, "view_cells=9"),
        ({"cut": 1.5}, "cut=1.5"),
        ({"stay_blocks": 0}, "stay_blocks=0"),
    ],
)
def test_bad_rooms_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rooms(**settings)


def scores(video: Video, drawn: Drawn, given: int = 36, world: Rooms = ROOMS) -> dict[str, float]:
    counts = tally(world, drawn, video.clone(), given, LAGS)
    total = counts.weighted(torch.ones(1, len(video), dtype=torch.double))
    return {name: float(one(total)) for name, one in STATISTICS.items()}


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
    assert scores(drawn.video + rising * noise, drawn)["drift"] > 5
    assert abs(scores(drawn.video + 0.1 * noise, drawn)["drift"]) < 1


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
    counts = tally(ROOMS, drawn, video, given, LAGS)
    assert counts.hits.sum(0).tolist() == hits
    assert counts.seen.sum(0).tolist() == seen
    assert float(counts.own_hits.sum()) == own_hits[0]
    assert float(counts.own_seen.sum()) == own_seen[0]
    assert 0 < sum(hits) < sum(seen)


def test_worlds_can_be_scored_in_any_batches(drawn: Drawn) -> None:
    whole = tally(ROOMS, drawn, drawn.video.flip(-1), 36, LAGS)
    parts = []
    for half in (slice(0, 5), slice(5, None)):
        one = replace(
            drawn,
            scene={"sky": drawn.scene["sky"][half]},
            truth=type(drawn.truth)(*(x[half] for x in tensors(drawn))),
        )
        parts.append(tally(ROOMS, one, drawn.video[half].flip(-1), 36, LAGS))
    for name, value in vars(joined(parts)).items():
        assert torch.allclose(value, getattr(whole, name))


def test_an_interval_covers_the_true_share() -> None:
    """Of 200 samples of 64 worlds whose recall is 0.7, about 95 % of intervals hold it."""
    generator = torch.Generator().manual_seed(0)
    empty = torch.zeros(64, dtype=torch.double)
    covered = 0
    for i in range(200):
        world = (0.7 + 0.15 * torch.randn(64, generator=generator)).clamp(0, 1)
        hits = torch.binomial(torch.full((64,), 40.0), world, generator=generator).double()
        counts = Tally(hits[:, None], empty[:, None] + 40, *[empty] * 10, empty[:, None, None])
        found = estimate(counts, recall, resamples=300, seed=i)
        assert found.low <= found.value <= found.high
        covered += found.low <= 0.7 <= found.high
    assert 180 <= covered <= 199


def test_what_was_never_seen_has_no_value(drawn: Drawn) -> None:
    counts = tally(ROOMS, drawn, drawn.video, 95, (1, 2, 1000, 2000))
    nothing = estimate(counts, recall_at(2))
    assert all(value != value for value in nothing)
    assert isinstance(nothing, Estimate)
    with pytest.raises(ValueError, match="given=96"):
        tally(ROOMS, drawn, drawn.video, 96, LAGS)


def test_world_data_are_endless_numbered_and_resumed() -> None:
    data = WorldData(partial(Rooms), clip_frames=6, batch_size=2, seed=3)
    stream = iter(data.train_dataloader())
    first, second = next(stream), next(stream)
    expected = ROOMS.draw(3, [2, 3], 6)
    assert torch.equal(second["video"], expected.video)
    assert set(first) == {"video", "control", "origin", "prompt"}
    again = WorldData(partial(Rooms), clip_frames=6, batch_size=2, seed=3)
    again.load_state_dict({**data.state_dict(), "batches": 1})
    assert torch.equal(next(iter(again.train_dataloader()))["video"], second["video"])
    validation = [batch["video"] for batch in again.val_dataloader()]
    other = WorldData(partial(Rooms), clip_frames=6, batch_size=2, seed=4)
    assert torch.equal(validation[0], next(iter(other.val_dataloader()))["video"])
    assert sum(len(video) for video in validation) == 16


def test_world_data_differ_between_workers_in_nothing() -> None:
    made = []
    for workers in (0, 2):
        data = WorldData(partial(Rooms), clip_frames=3, batch_size=2, num_workers=workers)
        stream = iter(data.train_dataloader())
        made.append(torch.stack([next(stream)["video"] for _ in range(3)]))
    assert torch.equal(*made)


def test_bad_world_data_are_named() -> None:
    with pytest.raises(ValueError, match="clip_frames, fps"):
        WorldData(partial(Rooms), clip_frames=0)
    with pytest.raises(ValueError, match="seed must lie in"):
        WorldData(partial(Rooms), seed=2**32 - 1)


def test_validation_draws_no_clip_of_training() -> None:
    data = WorldData(partial(Rooms), clip_frames=3, batch_size=16)
    validation = next(iter(data.val_dataloader()))["video"]
    trained = Rooms().draw(0, range(64), 3).video
    assert not (validation[:, None] == trained[None]).flatten(2).all(-1).any()
