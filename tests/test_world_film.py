"""A film is planned whole and painted in parts, which are those of the whole."""

from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch

from cf.bench.tasks.worlds import Worlds
from cf.data.world.base import World
from cf.data.world.known import known
from cf.data.world.module import WorldData
from cf.data.world.needle import Needle
from cf.data.world.rooms import Rooms
from cf.data.world.walk import Walk

FRAMES = 40
NUMBERS = (3, 4)
WORLDS = {
    "rooms": Rooms(),
    "rooms of another size": Rooms(size=(20, 36), view_cells=3, room_cells=5, stay_blocks=2),
    "needle": Needle(past_frames=24, shown_frames=6, away_frames=3),
    "walk": Walk(cut=0.3, turn=0.3),
    "walk of odd sides": Walk(size=(19, 27), num_places=2, place_sprites=3),
    "walk without sprites": Walk(size=(16, 24), place_sprites=0),
}
PER_VIDEO = {"kind", "colour", "home", "scene", "prompt"}


def told(thing: Any, start: int = 0, stop: int = FRAMES) -> dict[str, Any]:
    """All that is said of some frames, by name."""
    found = {}
    for field in fields(thing):
        value = getattr(thing, field.name)
        if is_dataclass(value):
            found |= told(value, start, stop)
        elif field.name in PER_VIDEO or value is None:
            found[field.name] = value
        else:
            found[field.name] = value[:, start:stop]
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize("cuts", [(0, 1, 2, 40), (0, 7, 24, 31, 40), (0, 39, 40), (5, 13)])
@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_part_is_that_part_of_the_whole(world: World, cuts: tuple[int, ...]) -> None:
    whole, film = world.draw(0, NUMBERS, FRAMES), world.film(0, NUMBERS, FRAMES + 5)
    # Backwards: a part does not depend on what was painted before.
    for start, stop in reversed(list(pairwise(cuts))):
        part = film.part(start, stop)
        mine, wanted = told(part, 0, stop - start), told(whole, start, stop)
        assert mine.keys() == wanted.keys()
        for name, value in mine.items():
            assert same(value, wanted[name]), name
    assert film.frames == FRAMES + 5
    assert torch.equal(film.control[:, :FRAMES], whole.control)
    assert torch.equal(film.origin[:, :FRAMES], whole.origin)
    assert film.prompt == whole.prompt


@pytest.mark.parametrize("window", [(0, 0), (-1, 4), (38, 41)])
def test_frames_that_a_film_lacks_are_named(window: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"frames {window[0]} to {window[1]} must be"):
        Rooms().film(0, [0], FRAMES).part(*window)


@pytest.mark.parametrize("world", [Rooms, Walk])
def test_what_is_known_in_parts_is_what_is_known(world: type[World]) -> None:
    asked = Worlds(WorldData(world), worlds=1, given_seconds=1)
    film, given = asked.film(asked.items()[0], FRAMES), asked.given_frames(asked.items()[0], 8.0)
    drawn = film.part(0, FRAMES)
    rows = known(drawn, 0, given)
    for start, stop in ((0, 6), (6, 11), (11, 40)):
        part = asked.known(film, given, start, stop)
        assert torch.equal(part.reference, drawn.video[0, start:stop])
        assert same(part.truth, {name: row[start:stop] for name, row in rows.items()})


@pytest.mark.parametrize("world", [Rooms(), Walk()])
def test_a_film_holds_a_few_bytes_for_each_frame(world: World) -> None:
    def held(thing: Any) -> int:
        if hasattr(thing, "nbytes"):
            return int(thing.nbytes)
        if hasattr(thing, "_fields") or isinstance(thing, list | tuple):
            return sum(map(held, thing))
        return sum(held(value) for value in vars(thing).values()) if is_dataclass(thing) else 0

    def of(frames: int) -> int:
        film = world.film(0, [0], frames)
        return held((film.control, film.origin, film.paint.args))  # type: ignore[attr-defined]

    assert (of(2000) - of(1000)) / 1000 < 100  # a picture of 32 x 32 has 12,288
