"""ROOMS: hard cuts between a few rooms, every cell of which has an exact identity."""

import colorsys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from cf.bounds import check_least, check_share
from cf.data.world.base import Film, WorldTruth, generator, one_hot
from cf.data.world.steered import Stage, Standpoint, SteeredWorld, across, along
from cf.data.world.tiles import Tiles, attributes, covers, identity_names, tiles
from cf.types import Video

ROWS = 2
"""Of cells: things in the sky, houses on the ground."""


@dataclass(frozen=True)
class _RoomStage(Stage):
    """One video before it is painted; it stands at (room, column of the left edge, fresh).

    Attributes:
        sky: top and horizon, rgb.
        layout: identities by room, row and column.
        path: draws the planned way, always anew.
    """

    world: "Rooms"
    sky: Float[np.ndarray, "2 3"]
    layout: Int[np.ndarray, "rooms rows columns"]
    path: tuple[int, int]

    @override
    def planned(self, frames: int) -> list[Standpoint]:
        rows = self.world._path(generator(*self.path, 1), frames)
        return [(int(place), int(column), int(age)) for place, column, age in rows]

    @override
    def moved(self, at: Standpoint, keys: Collection[str], edge: bool) -> Standpoint:
        room, column, fresh = at
        places, last = self.world.num_places, self.world.room_cells - self.world.view_cells
        if edge and along(keys) and places > 1:
            return (room + along(keys)) % places, column, 0
        return room, min(max(column + across(keys), 0), last), fresh + 1

    @override
    def film(self, way: Sequence[Standpoint]) -> Film:
        return self.world.filmed([self], [way])


@dataclass(frozen=True)
class Rooms(SteeredWorld):
    """A video of a few rooms, each a strip of cells wider than the picture.

    The camera moves by whole cells inside a room and cuts to another room at the edge of a block
    only. All rooms share their columns, so that to recall a place its room must be matched.

    Attributes:
        size: height and width in pixels.
        view_cells: cells across the picture.
        room_cells: cells across a room.
        num_places: rooms of a video; the control signal is their one-hot number.
        block_frames: frames between which cuts may lie.
        cut: chance of a cut at the edge of a block; 0 for a single shot.
        stay_blocks: instead of chance: stay this many blocks in each room, rooms in turn.
        move: chance that the camera moves on by a cell from one frame to the next.
        token: height and width in pixels of a model's token, in which origins are given.
    """

    told: ClassVar = {
        "ahead": "the next room",
        "left": "to the left",
        "back": "the room before",
        "right": "to the right",
    }
    size: Sequence[int] = (32, 32)
    view_cells: int = 4
    room_cells: int = 8
    num_places: int = 3
    block_frames: int = 3
    cut: float = 0.5
    stay_blocks: int | None = None
    move: float = 0.75
    token: Sequence[int] = (16, 8)

    def __post_init__(self) -> None:
        for name, sides in (("size", self.size), ("token", self.token)):
            if len(sides) != 2 or min(sides) < 1:
                raise ValueError(f"{name}={list(sides)} must be two sides of at least 1 pixel")
        height, width = self.size
        if not 1 <= self.view_cells <= self.room_cells or self.num_places < 1:
            raise ValueError(
                f"view_cells={self.view_cells} must lie in 1..room_cells={self.room_cells} and "
                f"num_places={self.num_places} be at least 1"
            )
        if height % ROWS or width % self.view_cells:
            raise ValueError(
                f"size={list(self.size)} cannot be cut into {ROWS} x {self.view_cells} cells"
            )
        check_share(cut=self.cut, move=self.move)
        check_least(1, block_frames=self.block_frames, stay_blocks=self.stay_blocks)

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a cell in pixels."""
        return self.size[0] // ROWS, self.size[1] // self.view_cells

    def tiles(self) -> tuple[Tiles, Tiles]:
        """Pictures of all identities of each row of cells."""
        return tiles(*self.cell)

    def rows(self) -> dict[str, dict[str, list[int]]]:
        """Of each row of cells, what each identity is like; -1 where it is not like anything."""
        return attributes()

    @override
    def stage(self, seed: int, number: int) -> Stage:
        scenery = generator(seed, number, 0)
        hue, shade = scenery.uniform(), scenery.uniform(0.55, 0.95)
        top = colorsys.hsv_to_rgb(hue, 0.50, shade)
        horizon = colorsys.hsv_to_rgb((hue + scenery.uniform(-0.08, 0.08)) % 1, 0.18, 0.97)
        kinds = [len(row) for row in identity_names()]
        shape = (self.num_places, self.room_cells)
        above = scenery.integers(1, kinds[0], shape) * (scenery.uniform(size=shape) < 0.75)
        layout = np.stack((above, scenery.integers(0, kinds[1], shape)), 1)
        return _RoomStage(self, np.array((top, horizon)), layout, (seed, number))

    @override
    def filmed(self, stages: Sequence[Stage], ways: Sequence[Sequence[Standpoint]]) -> Film:
        room_stages = cast(Sequence[_RoomStage], stages)
        sky = torch.from_numpy(np.stack([stage.sky for stage in room_stages])).float()
        layout = torch.from_numpy(np.stack([stage.layout for stage in room_stages]))
        rows = np.array([list(way) for way in ways], np.int64).reshape(len(room_stages), -1, 3)
        place, column, fresh = torch.from_numpy(rows).unbind(-1)
        pixels = (column * self.cell[1]).float()
        return Film(
            one_hot(place, self.num_places),
            torch.stack((torch.zeros_like(pixels), pixels / self.token[1]), -1),
            [
                self._caption(stage.layout, way[0])
                for stage, way in zip(room_stages, ways, strict=True)
            ],
            {"sky": sky},
            partial(self._part, sky, layout, place, column, fresh),
        )

    def read(self, video: Video, scene: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What stands in each cell of any video, and how far the picture is from being just that.

        Returns:
            the nearest identity of each cell (b t rows columns), and the mean squared error
            between the cell and that identity's own picture.
        """
        height, width = self.cell
        cells = video.unflatten(-1, (-1, width)).unflatten(-3, (-1, height))
        cells = cells.permute(0, 3, 5, 1, 2, 4, 6).flatten(4)  # b rows columns t pixels
        nearest, error = [], []
        for row, bank in enumerate(self._banks(scene["sky"].to(video))):
            bank = bank.flatten(2)
            patches = cells[:, row].flatten(1, 2)
            distance = torch.cdist(patches, bank, compute_mode="donot_use_mm_for_euclid_dist")
            least = distance.square().min(-1)
            shape = (len(video), self.view_cells, video.shape[1])
            nearest.append(least.indices.view(shape).transpose(1, 2))
            error.append((least.values / bank.shape[-1]).view(shape).transpose(1, 2))
        return torch.stack(nearest, 2), torch.stack(error, 2)

    def _path(self, rng: np.random.Generator, frames: int) -> Int[np.ndarray, "frames 3"]:
        place, column, way, age = int(rng.integers(self.num_places)), 0, 1, 0
        last = self.room_cells - self.view_cells
        rows = np.empty((frames, 3), np.int64)
        for frame, drawn in enumerate(rng.uniform(size=(frames, 5)).tolist()):
            leave, where, start, turn, go = drawn
            block, inside = divmod(frame, self.block_frames)
            leaves = frame > 0 and not inside and self._leaves(block, leave)
            if leaves and self.num_places > 1:
                ahead = 1 if self.stay_blocks else 1 + int(where * (self.num_places - 1))
                place = (place + ahead) % self.num_places
            if leaves or not frame:
                column, way, age = int(start * (last + 1)), 1 if turn < 0.5 else -1, 0
            elif go < self.move and last:
                way = way if 0 <= column + way <= last else -way
                column += way
            rows[frame] = place, column, age
            age += 1
        return rows

    def _leaves(self, block: int, chance: float) -> bool:
        if self.stay_blocks is not None:
            return block % self.stay_blocks == 0
        return chance < self.cut

    def _part(
        self,
        sky: Float[Tensor, "b 2 3"],
        layout: Int[Tensor, "b places rows columns"],
        place: Int[Tensor, "b frames"],
        column: Int[Tensor, "b frames"],
        fresh: Int[Tensor, "b frames"],
        start: int,
        stop: int,
    ) -> tuple[Video, WorldTruth]:
        place, column, fresh = (x[:, start:stop] for x in (place, column, fresh))
        across = column[..., None] + torch.arange(self.view_cells)
        batch = torch.arange(len(place))[:, None, None]
        identity = layout[batch, place[..., None], :, across].transpose(2, 3)
        video, instance = self._paint(sky, identity)
        pixels = (column * self.cell[1]).float()
        return video, WorldTruth(place, pixels, fresh, identity, instance)

    def _paint(
        self, sky: Float[Tensor, "b 2 3"], identity: Int[Tensor, "b t rows columns"]
    ) -> tuple[Video, Int[Tensor, "b t h w"]]:
        batch = torch.arange(len(sky))[:, None, None]
        rows, masks = [], []
        for row, bank in enumerate(self._banks(sky)):
            strip = bank[batch, identity[:, :, row]]  # b t columns 3 h w
            rows.append(strip.permute(0, 1, 3, 4, 2, 5).flatten(-2))
            covered = covers(*self.cell)[row][identity[:, :, row]]
            owner = row * self.view_cells + torch.arange(1, self.view_cells + 1)
            masks.append((covered * owner[:, None, None]).transpose(2, 3).flatten(-2))
        return torch.cat(rows, -2), torch.cat(masks, -2)

    def _banks(self, sky: Float[Tensor, "b 2 3"]) -> list[Float[Tensor, "b identities 3 h w"]]:
        """Every identity of a row as it looks under each video's sky."""
        height = self.size[0]
        down = torch.linspace(0, 1, height, device=sky.device).to(sky)[None, None, :, None]
        gradient = sky[:, 0, :, None, None] * (1 - down) + sky[:, 1, :, None, None] * down
        banks = []
        for behind, (paint, alpha) in zip(gradient.chunk(ROWS, 2), self.tiles(), strict=True):
            paint, alpha = paint.to(sky), alpha.to(sky)
            banks.append(behind[:, None] * (1 - alpha) + paint * alpha)
        return banks

    def _caption(self, layout: Int[np.ndarray, "rooms rows columns"], at: Standpoint) -> str:
        sky, ground = identity_names()
        room, first, _ = at
        view = layout[room, :, first : first + self.view_cells]
        things = [ground[i] for i in view[1]] + [sky[i] for i in view[0] if i]
        return f"{self.num_places} rooms; the first shows a " + ", a ".join(things)
