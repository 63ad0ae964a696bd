"""Who paints what a pose shows, and how its pictures and a generator's are brought to one size."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.metrics import lags
from cf.metrics.measurement import Seen

AWAY = ("seed", "number", "pose", "away")
"""What must be known of each frame (`cf.data.world.known`)."""
LAGS = (1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
"""Edges in seconds of the bins of lag: about 2, 4, 8, 16, 32, 64 seconds."""
NOVEL = -2
"""The `away` of a view that no frame had shown."""


@runtime_checkable
class Painter(Protocol):
    """An engine that paints a video's place from any pose, as it is or furnished anew."""

    def painted(
        self,
        seed: int,
        number: int,
        pose: Int[Tensor, "n 3"],
        size: tuple[int, int],
        other: int = 0,
        kept: str = "",
    ) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"]]:
        """Pictures of the `other`th furnishing, and their pixels that show a thing.

        0 is the place itself; `kept` is what another furnishing has in common with it: "things",
        "surfaces" or nothing.
        """

    def pictures(
        self,
        seed: int,
        number: int,
        pose: Int[Tensor, "n 3"],
        size: tuple[int, int],
        other: int = 0,
        kept: str = "",
    ) -> Float[Tensor, "n 3 h w"]:
        """Those of `painted` alone."""

    def regions(
        self, seed: int, number: int, pose: Int[Tensor, "n 3"], size: tuple[int, int]
    ) -> Int[Tensor, "n h w"]:
        """0 where a wall lies behind the pixel, 1 for floors and 2 for ceilings."""

    def turned(self, pose: Int[Tensor, "n 3"], degrees: float) -> Int[Tensor, "n 3"]:
        """The same cameras, turned to the left."""

    def provenance(self) -> dict[str, Any]:
        """All that the pictures depend on."""


def common_size(frames: Tensor, side: int) -> tuple[int, int]:
    """In which a generator's frames and the engine's are compared: no larger than either.

    The frames' own, unless their shorter side exceeds `side`; then that is the shorter side.
    """
    height, width = frames.shape[-2:]
    scale = min(1.0, side / min(height, width))
    return round(height * scale), round(width * scale)


def shrunk(frames: Float[Tensor, "t 3 h w"], size: tuple[int, int]) -> Float[Tensor, "t 3 H W"]:
    """By area, in main memory, where the engine's pictures are."""
    if tuple(frames.shape[-2:]) == size:
        return frames.cpu()
    return torch.nn.functional.adaptive_avg_pool2d(frames, size).cpu()


def pictures_at_poses(
    world: Painter, seen: Seen, asked: Bool[Tensor, " t"], side: int
) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 h w"]]:
    """A generator's frames that are asked for and the engine's pictures there, in one size.

    Args:
        world: paints the place.
        seen: frames, with the truth of each.
        asked: which frames.
        side: longest shorter side in pixels.
    """
    size = common_size(seen.frames, side)
    true = world.pictures(*place_of(seen), seen.truth["pose"][asked], size)
    return shrunk(seen.frames[asked], size), true


def place_of(seen: Seen) -> tuple[int, int]:
    """Seed and number of the video's place, from the truth of its frames."""
    return int(seen.truth["seed"][0]), int(seen.truth["number"][0])


def revisit_bins(away: Tensor, fps: float, edges: Sequence[float]) -> Int[Tensor, " n"]:
    """Which bin of lag each revisit lies in; -1 for what is none, or lies in no bin."""
    return lags.lag_bins(away.double() / fps, edges).where(away > 0, -1)
