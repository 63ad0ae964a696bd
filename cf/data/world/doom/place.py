"""A place before it is built: rooms on a grid, doorways between them, surfaces and things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from cf.data.world.doom.catalogue import CEILINGS, FLOORS, THINGS, WALLS

WALL, DOOR, DOOR_HEIGHT = 32, 96, 88
"""Thickness of the wall between two rooms, width and height of a doorway, in map units."""
_SIDES = (256, 320, 384)
_HEIGHTS = (112, 128, 144)
_CORNER = 44
"""Units from a thing's middle to the walls of its corner."""
_ACCENT = 0.5


@dataclass(frozen=True)
class PlacedThing:
    """A thing that stands in a room: which of `THINGS`, and where, in map units."""

    thing: int
    x: int
    y: int


@dataclass(frozen=True)
class Room:
    """A rectangle with its surfaces.

    Attributes:
        left, bottom, right, top: its walls, in map units.
        height: of the ceiling, in map units.
        walls: textures of the top, right, bottom and left wall.
        light: 0 to 255.
    """

    left: int
    bottom: int
    right: int
    top: int
    height: int
    walls: tuple[str, str, str, str]
    floor: str
    ceiling: str
    light: int
    items: tuple[PlacedThing, ...]

    @property
    def centre(self) -> tuple[int, int]:
        """(x, y) in map units."""
        return (self.left + self.right) // 2, (self.bottom + self.top) // 2

    def words(self) -> str:
        """What it looks like.

        >>> Place.draw(np.random.default_rng(3), (1, 2)).rooms[0].words()
        'a pale pebble and grey crate room with a striped yellow floor, a rocket launcher'
        """
        main, *accent = dict.fromkeys(self.walls)
        wall = WALLS[main] + "".join(f" and {WALLS[texture]}" for texture in accent)
        base = f"{wall} room with {_with_article(FLOORS[self.floor])} floor"
        kinds = Counter(THINGS[item.thing].words for item in self.items)
        things = [_counted(words, count) for words, count in kinds.items()]
        listed = " and ".join(filter(None, (", ".join(things[:-1]), *things[-1:])))
        return _with_article(base) + (f", {listed}" if listed else "")


@dataclass(frozen=True)
class Place:
    """Rooms in rows from the bottom up, and which of them a doorway joins.

    Attributes:
        columns: rooms in a row.
        doors: pairs of rooms, the lower number first; always enough to walk from any to any.
    """

    columns: int
    rooms: tuple[Room, ...]
    doors: tuple[tuple[int, int], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, grid: Sequence[int], things: int = 3) -> Place:
        """A place of `grid` (rows, columns) rooms, each with up to `things` things in corners."""
        rows, columns = grid
        widths, depths = (rng.choice(_SIDES, n).tolist() for n in (columns, rows))
        doors = _doors(rng, rows, columns)
        heights = rng.choice(_HEIGHTS, rows * columns).tolist()
        rooms = [
            Room(
                left=sum(widths[:column]) + WALL * column,
                bottom=sum(depths[:row]) + WALL * row,
                right=sum(widths[: column + 1]) + WALL * column,
                top=sum(depths[: row + 1]) + WALL * row,
                height=heights[row * columns + column],
                walls=("", "", "", ""),
                floor="",
                ceiling="",
                light=0,
                items=(),
            )
            for row, column in product(range(rows), range(columns))
        ]
        return cls(columns, tuple(rooms), doors).furnished(rng, things)

    def furnished(self, rng: np.random.Generator, things: int = 3) -> Place:
        """The same geometry with other surfaces and things, of the same distribution."""
        return replace(self, rooms=tuple(_furnished(room, rng, things) for room in self.rooms))

    def neighbours(self, room: int) -> list[int]:
        """Rooms behind its doorways."""
        return [a + b - room for a, b in self.doors if room in (a, b)]

    def threshold(self, a: int, b: int) -> tuple[int, int]:
        """The middle of the doorway between two rooms, (x, y) in map units."""
        room_a, room_b = (self.rooms[i] for i in sorted((a, b)))
        if room_b.left > room_a.right:
            return (room_a.right + room_b.left) // 2, room_a.centre[1]
        return room_a.centre[0], (room_a.top + room_b.bottom) // 2

    def room_at(self, x: float, y: float) -> int:
        """The room in which a camera is; in the middle of a doorway, the lower number."""
        for i, room in enumerate(self.rooms):
            reach = WALL / 2
            inside = room.left - reach <= x <= room.right + reach
            if inside and room.bottom - reach <= y <= room.top + reach:
                return i
        raise AssertionError(f"({x}, {y}) is in no room")


def _with_article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _counted(words: str, count: int) -> str:
    """One or several of a thing: a tree, two trees."""
    if count == 1:
        return _with_article(words)
    head, of, rest = words.partition(" of ")
    plural = f"{head}es" if head.endswith("x") else f"{head}s"
    return f"{('two', 'three', 'four')[count - 2]} {plural}{of}{rest}"


def _doors(rng: np.random.Generator, rows: int, columns: int) -> tuple[tuple[int, int], ...]:
    """Enough doorways to reach every room, and some of the others."""
    pairs = [(i, i + 1) for i in range(rows * columns) if (i + 1) % columns]
    pairs += [(i, i + columns) for i in range((rows - 1) * columns)]
    group = list(range(rows * columns))
    doors = []
    for i in rng.permutation(len(pairs)).tolist():
        a, b = pairs[i]
        extra = rng.uniform() < 0.5
        if group[a] != group[b] or extra:
            doors.append((a, b))
            group = [group[a] if label == group[b] else label for label in group]
    return tuple(sorted(doors))


def _furnished(room: Room, rng: np.random.Generator, things: int) -> Room:
    main, accent = rng.choice(sorted(WALLS), 2, replace=False).tolist()
    walls = [main] * 4
    if rng.uniform() < _ACCENT:
        walls[int(rng.integers(4))] = accent
    xs, ys = ((room.left, room.right), (room.bottom, room.top))
    corners = list(product((xs[0] + _CORNER, xs[1] - _CORNER), (ys[0] + _CORNER, ys[1] - _CORNER)))
    count = int(rng.integers(things + 1))
    places = rng.permutation(4)[: min(count, 4)].tolist()
    kinds = rng.integers(len(THINGS), size=len(places)).tolist()
    return replace(
        room,
        walls=tuple(walls),
        floor=str(rng.choice(sorted(FLOORS))),
        ceiling=str(rng.choice(sorted(CEILINGS))),
        light=int(rng.integers(176, 256)),
        items=tuple(
            PlacedThing(kind, *corners[at]) for kind, at in sorted(zip(kinds, places, strict=True))
        ),
    )
