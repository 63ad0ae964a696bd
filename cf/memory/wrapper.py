"""A memory around another one: passes everything on, for subclasses that change one thing."""

from collections.abc import Hashable
from dataclasses import dataclass

from cf.memory.base import Memory, Query
from cf.types import Block, Context, Past


@dataclass(frozen=True)
class Wrapper(Memory):
    """Remembers as `memory` does.

    Attributes:
        memory: any memory, wrapped ones included.
    """

    memory: Memory

    def __post_init__(self) -> None:
        for name in ("needs_queries", "sink_frames"):
            object.__setattr__(self, name, getattr(self.memory, name))

    @property
    def max_frames(self) -> int | None:
        """As the memory within."""
        return self.memory.max_frames

    @property
    def remembers_noisy(self) -> bool:
        """As the memory within."""
        return self.memory.remembers_noisy

    def update(self, context: Context, block: Block) -> Context:
        """As the memory within."""
        return self.memory.update(context, block)

    def read(self, context: Context, query: Query) -> Past:
        """As the memory within."""
        return self.memory.read(context, query)

    def noisy(self, context: Context, block: Block) -> Context:
        """As the memory within."""
        return self.memory.noisy(context, block)

    def flush(self, context: Context, recent_frames: int) -> Context:
        """As the memory within."""
        return self.memory.flush(context, recent_frames)

    def restart(self, context: Context, start: int) -> Context:
        """As the memory within."""
        return self.memory.restart(context, start)

    def read_key(self, query: Query) -> Hashable:
        """As the memory within."""
        return self.memory.read_key(query)

    def check_block(self, block_frames: int) -> None:
        """As the memory within."""
        self.memory.check_block(block_frames)
