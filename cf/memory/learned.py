"""Older frames as the network's own trained compressor leaves them."""

from dataclasses import dataclass

from cf.memory.pooling import pooled
from cf.memory.pyramid import Level, Pyramid
from cf.types import Block, LayerKV


@dataclass(frozen=True)
class Learned(Pyramid):
    """A quarter of the tokens for frames that leave the window, chosen by the network itself.

    The parameters belong to the network (`model.compressor_rank=32`), which hands its compressor on
    with every block; a memory stays a value that can be compared, swept and shared, and the
    compressor trains, is averaged, checkpointed and exported with the student. Gradient reaches it
    through what later blocks read: roll out with `differentiable_past`. A network that has no
    compressor is read as one whose compressor is new, which is mean pooling.
    """

    level_frames: int = 3

    def shrink(self, layer: int, tokens: LayerKV, level: Level, block: Block) -> LayerKV:
        """Ask the network."""
        if block.compress is None:
            return pooled(tokens, level.grid)
        return block.compress(layer, tokens, level.grid)
