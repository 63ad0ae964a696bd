"""A place as a map that the engine reads: UDMF text in a file of one map with room to spare."""

import struct
from collections.abc import Sequence

from cf.data.world.doom.catalogue import THINGS
from cf.data.world.doom.place import DOOR, DOOR_HEIGHT, Place, Room

MAP = "MAP01"
SLOT = 1 << 17
"""Bytes of the map's text, spaces at its end included, so that another fits into its place."""
START = 12
"""Where the text begins in the file."""
_FRAME = "SUPPORT3"  # the inner sides of a doorway
_SKILLS = "".join(f"skill{i}=true;" for i in range(1, 6))


def wad(text: bytes) -> bytes:
    """A file with one map.

    Raises:
        ValueError: if the map's text is longer than its slot.
    """
    lumps = ((MAP, 0), ("TEXTMAP", SLOT), ("ENDMAP", 0))
    at, rows = START, b""
    for name, size in lumps:
        rows += struct.pack("<ii8s", at, size, name.encode())
        at += size
    return struct.pack("<4sii", b"PWAD", len(lumps), at) + slot(text) + rows


def slot(text: bytes) -> bytes:
    """The text with spaces to the length of its slot."""
    if len(text) > SLOT:
        raise ValueError(f"a place of {len(text)} bytes is too large; ask for fewer rooms")
    return text.ljust(SLOT)


def udmf(place: Place) -> bytes:
    """The map's text: the same bytes for the same place."""
    build = _Builder()
    for i, room in enumerate(place.rooms):
        build.room(place, i, room)
    for a, b in place.doors:
        build.doorway(place, a, b)
    return build.text(place)


class _Builder:
    """Lines, their sides and sectors, numbered as they come."""

    def __init__(self) -> None:
        self.vertices: dict[tuple[int, int], int] = {}
        self.parts: list[str] = []
        self.sides = self.sectors = 0
        self.openings: dict[tuple[int, int, int], tuple[int, str]] = {}

    def room(self, place: Place, number: int, room: Room) -> None:
        """A room's sector and its solid walls; openings wait for their doorway."""
        sector = self._sector(room.height, room.floor, room.ceiling, room.light)
        gaps = {
            _side_of(room, place.threshold(number, neighbour)): (
                place.threshold(number, neighbour),
                (min(number, neighbour), max(number, neighbour)),
            )
            for neighbour in place.neighbours(number)
        }
        for side, (start, end) in enumerate(_walls(room)):
            texture = room.walls[side]
            if side not in gaps:
                self._line(start, end, (sector, f'texturemiddle="{texture}";'))
                continue
            middle, door = gaps[side]
            first, last = _opening(start, end, middle)
            self._line(start, first, (sector, f'texturemiddle="{texture}";'))
            self._line(last, end, (sector, f'texturemiddle="{texture}";'))
            self.openings[(*door, number)] = (sector, texture)

    def doorway(self, place: Place, a: int, b: int) -> None:
        """The sector between two rooms, which its lines share with theirs."""
        room_a, room_b = place.rooms[a], place.rooms[b]
        light = (room_a.light + room_b.light) // 2
        sector = self._sector(DOOR_HEIGHT, room_a.floor, room_a.ceiling, light)
        middle = place.threshold(a, b)
        edges = []
        for number, room in ((a, room_a), (b, room_b)):
            start, end = _walls(room)[_side_of(room, middle)]
            first, last = _opening(start, end, middle)
            theirs, texture = self.openings[(a, b, number)]
            front = (theirs, f'texturetop="{texture}";')
            self._line(first, last, front, (sector, ""))
            edges.append((first, last))
        (first, last), (begin, stop) = edges
        frame = (sector, f'texturemiddle="{_FRAME}";')
        self._line(first, stop, frame)
        self._line(begin, last, frame)

    def text(self, place: Place) -> bytes:
        """All of it, with the things and where the player starts."""
        vertices = [f"vertex{{x={x};y={y};}}" for x, y in self.vertices]
        x, y = place.rooms[0].centre
        things = [(x, y, 1)]
        things += [(i.x, i.y, THINGS[i.thing].type) for room in place.rooms for i in room.items]
        rows = [
            f"thing{{x={x};y={y};angle=90;type={kind};{_SKILLS}single=true;}}"
            for x, y, kind in things
        ]
        return "\n".join(['namespace="zdoom";', *vertices, *self.parts, *rows, ""]).encode()

    def _sector(self, height: int, floor: str, ceiling: str, light: int) -> int:
        self.parts.append(
            f'sector{{heightfloor=0;heightceiling={height};texturefloor="{floor}";'
            f'textureceiling="{ceiling}";lightlevel={light};}}'
        )
        self.sectors += 1
        return self.sectors - 1

    def _line(self, start: tuple[int, int], end: tuple[int, int], *sides: tuple[int, str]) -> None:
        """A line whose right side, and left one if there is one, show (sector, textures)."""
        v1, v2 = (self.vertices.setdefault(at, len(self.vertices)) for at in (start, end))
        names = []
        for where, (sector, textures) in zip(("front", "back"), sides, strict=False):
            self.parts.append(f"sidedef{{sector={sector};{textures}}}")
            names.append(f"side{where}={self.sides};")
            self.sides += 1
        kind = "twosided=true;" if len(sides) == 2 else "blocking=true;"
        self.parts.append(f"linedef{{v1={v1};v2={v2};{''.join(names)}{kind}}}")


def _walls(room: Room) -> Sequence[tuple[tuple[int, int], tuple[int, int]]]:
    """Top, right, bottom and left wall, clockwise, so that the room lies to their right."""
    corners = (
        (room.left, room.top),
        (room.right, room.top),
        (room.right, room.bottom),
        (room.left, room.bottom),
    )
    return [(corners[i], corners[(i + 1) % 4]) for i in range(4)]


def _side_of(room: Room, middle: tuple[int, int]) -> int:
    """The wall behind which a doorway lies."""
    x, y = middle
    return [y > room.top, x > room.right, y < room.bottom, x < room.left].index(True)


def _opening(
    start: tuple[int, int], end: tuple[int, int], middle: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a wall is interrupted, in its own direction."""
    along = 0 if start[1] == end[1] else 1
    ends = []
    for sign in (-1, 1):
        way = sign if end[along] > start[along] else -sign
        point = list(start)
        point[along] = middle[along] + way * DOOR // 2
        ends.append((point[0], point[1]))
    return ends[0], ends[1]
