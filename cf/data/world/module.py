"""A world as training data: every clip is drawn when it is needed, and none is seen twice."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from cf.bounds import check_above
from cf.data.stream import EndlessData
from cf.data.world.base import World

_VALIDATION, _RESERVED = 2**32 - 1, 2**32 - 16
"""Seed of the validation clips; from the second on, seeds are none of training's."""


class WorldData(EndlessData):
    """Clips of a drawn world; validation draws the same clips every time, whatever the seed.

    Attributes:
        world: as configured, but for its size.
        size: height and width in pixels.
        clip_frames: frames of a clip.
        fps: frames per second, by which frames are told as seconds.
    """

    def __init__(
        self,
        world: Callable[..., World],
        size: Sequence[int] = (32, 32),
        clip_frames: int = 24,
        fps: float = 8.0,
        batch_size: int = 8,
        num_workers: int = 0,
        val_clips: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers)
        if not 0 <= seed < _RESERVED:
            raise ValueError(f"seed must lie in 0..{_RESERVED - 1} for a drawn world, got {seed}")
        check_above(0, clip_frames=clip_frames, fps=fps)
        check_above(0, batch_size=batch_size, val_clips=val_clips)
        if not callable(world):
            raise ValueError("world is made with this size; write _partial_: true under _target_")
        self.world, self.size = world(size=tuple(size)), (size[0], size[1])
        if not isinstance(self.world, World):
            raise ValueError(
                f"world must make a World, got {type(self.world).__name__}; derive your class from "
                f"cf.data.world.base.World"
            )
        self.clip_frames, self.fps, self.seed = clip_frames, fps, seed
        self.batch_size, self.val_clips = batch_size, val_clips

    def maker(self) -> Callable[[list[int]], Any]:
        """Draws the clips of training."""
        return partial(_batch, self.world, self.seed, self.clip_frames)

    def identity(self) -> object:
        """The world and how it is sampled."""
        return self.world, self.seed, self.clip_frames

    def val_dataloader(self) -> DataLoader[Any]:
        """The same clips every time."""
        draw = partial(_batch, self.world, _VALIDATION, self.clip_frames)
        numbers: Any = range(self.val_clips)
        return DataLoader(numbers, self.batch_size, collate_fn=draw)


def _batch(world: World, seed: int, frames: int, numbers: list[int]) -> dict[str, Any]:
    return world.draw(seed, numbers, frames).batch()
