"""The engine as a witness: what any pose of a video's place shows, as it is or furnished anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from cf.data.world.doom.engine import pictures, views
from cf.data.world.doom.place import Place
from cf.data.world.doom.walking import TURN, Pose
from cf.data.world.doom.world import Doom

Kept = str
"""What a place keeps that is furnished anew: "things", "surfaces" (light included) or "" ."""
REGIONS = ("walls", "floors", "ceilings")
_CHART = ("GRAY1", "FLOOR1_6", "CEIL4_1")
"""Textures of grey walls, red floors and blue ceilings, which tell where each is in view."""


@dataclass(frozen=True)
class DoomPainter:
    """Pictures of the places of `Doom`, for measures that compare with the truth.

    Attributes:
        grid, things: as the world has them whose videos are measured.
    """

    grid: Sequence[int] = (2, 2)
    things: int = 3

    def painted(
        self,
        seed: int,
        number: int,
        pose: Int[Tensor, "n 3"],
        size: tuple[int, int],
        other: int = 0,
        kept: Kept = "",
    ) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"]]:
        """What the camera sees, in [0, 1], and which pixels show a thing.

        Args:
            seed: of the world.
            number: of the video.
            pose: (x, y, heading) of each picture's camera.
            size: height and width in pixels.
            other: 0 for the place itself, otherwise which of those of the same geometry.
            kept: what that one has in common with the place: "things", "surfaces" or "".
        """
        place = self._place(seed, number, other, kept)
        return _seen(place, tuple(_poses(pose)), (size[0], size[1]))

    def pictures(
        self,
        seed: int,
        number: int,
        pose: Int[Tensor, "n 3"],
        size: tuple[int, int],
        other: int = 0,
        kept: Kept = "",
    ) -> Float[Tensor, "n 3 h w"]:
        """Those of `painted` alone, in less time."""
        place = self._place(seed, number, other, kept)
        return _pictured(place, tuple(_poses(pose)), (size[0], size[1]))

    def regions(
        self, seed: int, number: int, pose: Int[Tensor, "n 3"], size: tuple[int, int]
    ) -> Int[Tensor, "n h w"]:
        """Which of `REGIONS` lies behind each pixel, things taken away."""
        wall, floor, ceiling = _CHART
        place = self._place(seed, number, 0, "")
        plain = [
            replace(room, walls=(wall,) * 4, floor=floor, ceiling=ceiling, light=255, items=())
            for room in place.rooms
        ]
        image = pictures(replace(place, rooms=tuple(plain)), _poses(pose), size).astype(int)
        red, green, blue = np.moveaxis(image, 3, 0)
        regions = np.where(red > 2 * blue, 1, np.where(blue > red + green // 2, 2, 0))
        return torch.from_numpy(regions)

    def turned(self, pose: Int[Tensor, "n 3"], degrees: float) -> Int[Tensor, "n 3"]:
        """The same cameras, turned to the left."""
        by = torch.tensor([0, 0, round(degrees / 360 * TURN)])
        poses = pose.long() + by
        poses[:, 2] %= TURN
        return poses

    def provenance(self) -> dict[str, Any]:
        """All that the pictures depend on besides the engine."""
        return {"world": "doom", "grid": list(self.grid), "things": self.things}

    def _place(self, seed: int, number: int, other: int, kept: Kept) -> Place:
        return _furnished(tuple(self.grid), self.things, seed, number, other, kept)


@lru_cache(16)
def _furnished(
    grid: tuple[int, ...], things: int, seed: int, number: int, other: int, kept: Kept
) -> Place:
    world = Doom(grid=grid, things=things)
    place, variant = world.place(seed, number), world.place(seed, number, other)
    if not other or not kept:
        return variant
    surfaces, items = (place, variant) if kept == "surfaces" else (variant, place)
    rooms = zip(surfaces.rooms, items.rooms, strict=True)
    return replace(
        variant, rooms=tuple(replace(surface, items=contents.items) for surface, contents in rooms)
    )


@lru_cache(1)
def _seen(
    place: Place, poses: tuple[Pose, ...], size: tuple[int, int]
) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"]]:
    """What several measures ask for, one after the other."""
    frames = views(place, poses, size)
    return _scaled(frames.pixels), torch.from_numpy(frames.thing > 0)


@lru_cache(1)
def _pictured(
    place: Place, poses: tuple[Pose, ...], size: tuple[int, int]
) -> Float[Tensor, "n 3 h w"]:
    """What several measures ask for, one after the other."""
    return _scaled(pictures(place, poses, size))


def _scaled(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _poses(pose: Int[Tensor, "n 3"]) -> list[Pose]:
    return [Pose(*row) for row in pose.tolist()]
