"""A camera that a person steers goes through the same functions as the planned one."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from cf.data.world.base import Film
from cf.data.world.camera_control import Action, Rays
from cf.data.world.doom.path import Return, Tour, Visits
from cf.data.world.doom.steering import free
from cf.data.world.doom.world import Doom
from cf.data.world.needle import Needle
from cf.data.world.rooms import Rooms
from cf.data.world.steered import KEYS, SteeredWorld

FRAMES = 36
WORLDS: dict[str, SteeredWorld] = {
    "rooms": Rooms(),
    "rooms in turn": Rooms(stay_blocks=2),
    "needle": Needle(past_frames=24, shown_frames=6, away_frames=3),
    "doom, visits": Doom(control=Rays()),
    "doom, return": Doom(path=Return((1, 2)), control=Action()),
}


def same(one: Film, other: Film) -> bool:
    told = all(torch.equal(getattr(one, x), getattr(other, x)) for x in ("control", "origin"))
    scene = all(torch.equal(one.scene[name], other.scene[name]) for name in other.scene)
    return told and scene and one.prompt == other.prompt and one.scene.keys() == other.scene.keys()


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_way_that_is_played_has_the_control_of_the_planned_one(world: SteeredWorld) -> None:
    planned, stage = world.film(5, [3], FRAMES), world.stage(5, 3)
    way = stage.planned(FRAMES)
    assert same(stage.film(way), planned)
    # As it is played: frame by frame, each with all that came before.
    for stop in (1, 12, FRAMES - 1):
        played = stage.film(way[:stop])
        assert torch.equal(played.control, planned.control[:, :stop])
        assert torch.equal(played.origin, planned.origin[:, :stop])


@pytest.mark.parametrize("world", [Rooms(), Needle(past_frames=24)], ids=["rooms", "needle"])
def test_a_way_that_is_played_is_painted_as_the_planned_one(world: SteeredWorld) -> None:
    drawn, stage = world.draw(5, [3], FRAMES), world.stage(5, 3)
    again = stage.film(stage.planned(FRAMES)).part(0, FRAMES)
    assert torch.equal(again.video, drawn.video)
    assert torch.equal(again.truth.identity, drawn.truth.identity)


@pytest.mark.skipif(find_spec("vizdoom") is None, reason="needs ViZDoom")
def test_the_engine_paints_a_played_way_as_the_planned_one() -> None:
    world = Doom()
    drawn, stage = world.draw(5, [3], 6), world.stage(5, 3)
    again = stage.film(stage.planned(6)).part(0, 6)
    assert torch.equal(again.video, drawn.video)
    assert again.path is not None
    assert drawn.path is not None
    assert torch.equal(again.path, drawn.path)


def test_keys_of_rooms_move_by_a_cell_and_cut_at_the_edge_of_a_block_alone() -> None:
    world = Rooms()
    stage, at = world.stage(0, 0), (1, 2, 5)
    assert stage.moved(at, {"right"}, edge=True) == (1, 3, 6)
    assert stage.moved(at, {"left", "right"}, edge=False) == (1, 2, 6)
    assert stage.moved((1, 0, 5), {"left"}, edge=False) == (1, 0, 6)
    assert stage.moved((1, 4, 5), {"right"}, edge=False) == (1, 4, 6)
    assert stage.moved(at, {"ahead"}, edge=False) == (1, 2, 6)
    assert stage.moved(at, {"ahead"}, edge=True) == (2, 2, 0)
    assert stage.moved(at, {"back"}, edge=True) == (0, 2, 0)
    assert stage.moved(at, {"ahead", "back"}, edge=True) == (1, 2, 6)
    alone = Rooms(num_places=1).stage(0, 0)
    assert alone.moved((0, 2, 5), {"ahead"}, edge=True) == (0, 2, 6)


@pytest.mark.parametrize("number", range(3))
def test_a_camera_that_is_walked_stays_in_the_place_and_off_its_things(number: int) -> None:
    world = Doom(grid=(2, 3))
    place, stage = world.place(0, number), world.stage(0, number)
    at, rng, rooms = stage.planned(1)[0], np.random.default_rng(number), set()
    keys: set[str] = set()
    for frame in range(1500):
        if frame % 6 == 0:
            keys = {key for key in KEYS if rng.uniform() < (0.8 if key == "ahead" else 0.25)}
        before, at = at, stage.moved(at, keys, edge=frame % 3 == 0)
        assert free(place, *at[:2])
        assert max(abs(a - b) for a, b in zip(at[:2], before[:2], strict=True)) <= 20
        rooms.add(place.room_at(*at[:2]))
    assert len(rooms) > 1


@pytest.mark.parametrize("path", [Visits(), Return(), Tour()], ids=["visits", "return", "tour"])
def test_a_person_may_stand_wherever_a_plan_does(path: object) -> None:
    world = Doom(path=path)  # type: ignore[arg-type]
    for number in range(3):
        place = world.place(0, number)
        assert all(free(place, x, y) for x, y, *_ in world.stage(0, number).planned(400))


def test_a_camera_turns_and_walks_as_its_keys_say() -> None:
    world = Doom(path=Tour(speed=160, turn_degrees=90), fps=8)
    stage = world.stage(0, 0)
    x, y = world.place(0, 0).rooms[0].centre
    assert stage.moved((x, y, 0, 0), {"left"}, edge=False) == (x, y, 32, 1)
    assert stage.moved((x, y, 0, 0), {"right"}, edge=False) == (x, y, 992, 1)
    assert stage.moved((x, y, 0, 0), {"ahead"}, edge=False) == (x + 20, y, 0, 1)
    assert stage.moved((x, y, 256, 0), {"back"}, edge=False) == (x, y - 20, 256, 1)
    assert stage.moved((x, y, 0, 7), {"left", "right"}, edge=False) == (x, y, 0, 8)
