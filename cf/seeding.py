"""Random generators keyed by what they are for, so that nothing depends on what ran before."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def seeded(*key: int) -> torch.Generator:
    """A CPU generator that depends on the (non-negative) integers of `key` alone.

    >>> torch.equal(torch.randn(2, generator=seeded(0, 7)), torch.randn(2, generator=seeded(0, 7)))
    True
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


@dataclass(frozen=True)
class SeededNoise:
    """Gaussian noise that depends on seed, sample, block and step alone.

    So batches of any size, ranks and resumed streams agree; drawn on the CPU in float32.

    Attributes:
        samples: global index of each sample of the batch.
        shape: frames of a block, channels, height, width.
    """

    seed: int
    samples: tuple[int, ...]
    shape: tuple[int, int, int, int]

    def __call__(self, block: int, step: int) -> Tensor:
        """The noise of one block at one step."""
        drawn = torch.empty(len(self.samples), *self.shape)
        for row, sample in zip(drawn, self.samples, strict=True):
            torch.randn(self.shape, generator=seeded(self.seed, sample, block, step), out=row)
        return drawn


@dataclass(frozen=True)
class SampleRandom:
    """Random numbers that belong to a sample, whichever batch, rank or order it comes in.

    Drawn on the CPU in float32.

    Attributes:
        key: what they are for.
        samples: global index of each sample of the batch.
    """

    key: tuple[int, ...]
    samples: tuple[int, ...]

    def purpose(self, *key: int) -> "SampleRandom":
        """Other numbers for the same samples."""
        return SampleRandom((*self.key, *key), self.samples)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, one batch of `shape`."""
        return torch.stack([torch.randn(shape, generator=one) for one in self._generators()])

    def uniform(self, *shape: int) -> Tensor:
        """Numbers evenly in [0, 1), one batch of `shape`."""
        return torch.stack([torch.rand(shape, generator=one) for one in self._generators()])

    def _generators(self) -> list[torch.Generator]:
        return [seeded(*self.key, sample) for sample in self.samples]
