"""Weights by name that are made one at a time: unquantised and updated as they are asked for."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from cf.models.quantised import Make
from cf.models.stored import State
from cf.models.updates import Updates, updated


class Weights(Mapping[str, Tensor]):
    """A state dict of which memory holds no more than the files and the weight that is asked for.

    Attributes:
        raw: as the file holds them; of the same shapes.
        made: how quantised ones become float32.
        updates: what is added, in float32; the result has the weight's own type.
    """

    def __init__(self, raw: State, made: Mapping[str, Make], updates: Updates) -> None:
        self.raw, self.made, self.updates = raw, made, updates

    def __getitem__(self, name: str) -> Tensor:
        weight = self.raw[name]
        if name in self.made:
            weight = self.made[name](weight)
        return updated(weight, self.updates[name]) if name in self.updates else weight

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)
