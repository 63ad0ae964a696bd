"""In which order the samples of a finite collection come, each once before any comes again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int


@dataclass
class ShuffledOrder:
    """From the number of a sample of training to its place in the collection.

    Numbers are counted over all processes and workers, so that an epoch holds every place exactly
    once however many there are.

    Attributes:
        groups: places that lie together, a file of them each.
        mixed: files whose samples are shuffled together, so that few are needed at a time;
            0: all.
    """

    groups: Sequence[Int[np.ndarray, " n"]]
    seed: int = 0
    mixed: int = 0
    _epoch: tuple[int, Int[np.ndarray, " n"]] = field(
        default=(-1, np.zeros(0, np.int64)), init=False, repr=False
    )

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def place(self, number: int, attempt: int = 0) -> int:
        """Where sample `number` lies; a further attempt gives another place, chosen by chance."""
        epoch, at = divmod(number, len(self))
        if self._epoch[0] != epoch:
            self._epoch = epoch, self._shuffled(epoch)
        if attempt:
            rng = np.random.default_rng([self.seed, number, attempt])
            at = int(rng.integers(len(self)))
        return int(self._epoch[1][at])

    def _shuffled(self, epoch: int) -> Int[np.ndarray, " n"]:
        rng = np.random.default_rng([self.seed, epoch])
        if not 0 < self.mixed < len(self.groups):
            return np.concatenate(self.groups)[rng.permutation(len(self))]
        files = rng.permutation(len(self.groups))
        mixed = []
        for first in range(0, len(files), self.mixed):
            together = np.concatenate([self.groups[i] for i in files[first : first + self.mixed]])
            mixed.append(rng.permutation(together))
        return np.concatenate(mixed)


def held_out(names: Sequence[str], fraction: float) -> tuple[set[str], set[str]]:
    """Of some names those for training and those for validation, by a hash of each.

    At least one of several is for validation; a single one serves both; a fraction of 0 keeps all
    for training. New names leave old ones in place.
    """
    if fraction == 0:
        return set(names), set()
    if len(names) == 1:
        return set(names), set(names)
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    count = min(len(ranked) - 1, max(1, round(len(ranked) * fraction)))
    return set(ranked[count:]), set(ranked[:count])
