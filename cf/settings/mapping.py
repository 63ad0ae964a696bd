"""What the settings of `cf.memory_map` may be."""

from dataclasses import dataclass
from typing import Annotated

from cf.settings.hints import Within
from cf.settings.kinds import Count, OutputPath


@dataclass(frozen=True)
class StorySettings:
    """The fabricated video of `cf.memory_map`."""

    frames: Annotated[int, Within(1, 100_000)]
    block_frames: Count
    grid: tuple[Count, Count]
    scene_frames: Count


@dataclass(frozen=True)
class MemoryMap:
    """`cf.memory_map`."""

    memories: list[str] | None
    num_steps: Count
    story: StorySettings
    docs: OutputPath | None
