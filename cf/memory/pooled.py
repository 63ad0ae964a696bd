"""Older frames at growing compression, by mean pooling: nothing to train."""

from dataclasses import dataclass

from cf.memory.pooling import counts, pooled
from cf.memory.pyramid import Level, Pyramid
from cf.types import Block, LayerKV


@dataclass(frozen=True)
class Pooled(Pyramid):
    """A quarter of the tokens for frames that leave the window, then a sixteenth, and so on.

    The idea of FramePack (https://arxiv.org/abs/2504.12626) on keys and values instead of inputs:
    keys are stored before RoPE, so that their mean at the mean position is a key like any other.

    Attributes:
        pooled_levels: how many sizes there are below whole frames.
    """

    pooled_levels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooled_levels < 0:
            raise ValueError(f"pooled_levels must not be negative, got {self.pooled_levels}")

    @property
    def levels(self) -> int:
        """As set."""
        return self.pooled_levels

    def shrink(self, layer: int, tokens: LayerKV, level: Level, block: Block) -> LayerKV:
        """Means in which every original token counts the same."""
        weight = counts(block.grid, level.size, tokens.k.device)[level.size]
        return pooled(tokens, level.grid, weight)
