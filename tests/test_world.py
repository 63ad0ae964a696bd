"""The drawn rooms: reproducible, exactly readable, and scored as they should be."""

from functools import partial
from typing import Any

import pytest
import torch

from cf.data.world.base import Drawn
from cf.data.world.module import WorldData
from cf.data.world.rooms import Rooms

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


def test_world_data_are_endless_numbered_and_resumed() -> None:
    data = WorldData(partial(Rooms), clip_frames=6, batch_size=2, seed=3)
    stream = iter(data.train_dataloader())
    first, second = next(stream), next(stream)
    expected = ROOMS.draw(3, [2, 3], 6)
    assert torch.equal(second["video"], expected.video)
    assert set(first) == {"video", "control", "origin", "prompt"}
    again = WorldData(partial(Rooms), clip_frames=6, batch_size=2, seed=3)
    again.load_state_dict({**data.state_dict(), "batches": 1, "samples": 2})
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
    with pytest.raises(ValueError, match="clip_frames=0 must be above 0"):
        WorldData(partial(Rooms), clip_frames=0)
    with pytest.raises(ValueError, match="seed must lie in"):
        WorldData(partial(Rooms), seed=2**32 - 1)


def test_validation_draws_no_clip_of_training() -> None:
    data = WorldData(partial(Rooms), clip_frames=3, batch_size=16)
    validation = next(iter(data.val_dataloader()))["video"]
    trained = Rooms().draw(0, range(64), 3).video
    assert not (validation[:, None] == trained[None]).flatten(2).all(-1).any()
