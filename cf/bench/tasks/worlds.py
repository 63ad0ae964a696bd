"""Videos of a drawn world: the camera's way is given, and so is the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cf.bench.tasks.base import Known, Sample, Task, VideoSpec
from cf.data.world.base import Film, check_truth
from cf.data.world.known import known
from cf.data.world.module import WorldData


@dataclass(frozen=True)
class Worlds(Task):
    """Numbered videos of a world, each continued from its first seconds under its own control.

    Attributes:
        data: the world, its size and frame rate.
        worlds: how many of its videos.
        seed: from which their numbers are drawn; not one of training's.
        seeds: noise of the contestants; each world is made once for each.
        given_seconds: of real video at the beginning.
    """

    data: WorldData
    worlds: int = 16
    seed: int = 1_000_000
    seeds: tuple[int, ...] | list[int] = (0,)
    given_seconds: float = 3.0

    def __post_init__(self) -> None:
        if self.worlds < 1 or not self.seeds:
            raise ValueError(
                f"worlds={self.worlds} must be at least 1 and seeds={list(self.seeds)} not empty"
            )
        if not 0 <= self.given_seconds < math.inf:
            raise ValueError(f"given_seconds={self.given_seconds} must be seconds from 0 on")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} names one twice; give each once")

    def items(self) -> list[Sample]:
        """Worlds in order, seeds within."""
        return [
            Sample(f"world{world:04d}-{seed}", f"world{world:04d}", seed, ((0.0, ""),), world)
            for world in range(self.worlds)
            for seed in self.seeds
        ]

    def terms(self) -> VideoSpec:
        """Frame rate and size of the world."""
        height, width = self.data.size
        return VideoSpec(float(self.data.fps), (height, width))

    @property
    def control_width(self) -> int:
        """Width of the world's control signal."""
        return self.data.world.control_width

    def given_frames(self, item: Sample, fps: float) -> int:
        """How many real frames begin a video; at least one."""
        return max(round(self.given_seconds * fps), 1)

    def film(self, item: Sample, frames: int) -> Film:
        """One video."""
        assert item.world is not None
        return self.data.world.film(self.seed, [item.world], frames)

    def known(self, film: Film | None, given: int, start: int, stop: int) -> Known:
        """The true frames, and what they show (`cf.data.world.known`)."""
        assert film is not None
        drawn = film.part(start, stop)
        check_truth(drawn.truth, drawn.video)
        shown = min(max(given - start, 0), stop - start)
        return Known(drawn.video[0], known(drawn, 0, shown, min(given, start)))
