"""What a step of distillation does beside the maths of a plain loop, in numbers of operations."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import commands  # noqa: F401 -- with it, benchmarks can be imported
import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from training_step import Race, Turns, bare, compose

from cf.data.world.base import generator, generators
from cf.settings.build import build

_ROUND = 3  # batches: two of the critic, one of the student


class Counted(TorchDispatchMode):
    """Operations within it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


class Counts(Turns):
    """Operations of each of both, of every batch."""

    def __init__(self, race: Race, batches: Any) -> None:
        super().__init__(race, batches, len(batches))
        self.both, self.plain = Counted(), Counted()
        self.seen: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self._batches):
            self.seen.append((self.both.count, self.plain.count))
            with self.plain:
                self._race.plain_step(batch, number)
            yield batch


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore")  # Lightning's, of trainings on batches in a list
def test_a_round_takes_few_operations_more_than_a_plain_loop() -> None:
    """5 % of them; before frequencies, choices of frames and averages were found once, 16 %."""
    given = argparse.Namespace(
        given=4, critic_steps=_ROUND - 1, set=["training_rollout.given_at_once=true"]
    )
    settings = compose(given)
    size, maker = settings["data"]["batch_size"], build(settings["data"], "data").maker()
    batches = [maker([size * n + i for i in range(size)]) for n in range(_ROUND)]
    race = Race(settings, same=True)
    counts = Counts(race, [*batches, *batches, batches[0]])  # what is made once is made first
    with counts.both:
        bare(race.module, counts, 2)
    began, ended = counts.seen[_ROUND], (counts.both.count, counts.plain.count)
    both, plain = (b - a for a, b in zip(began, ended, strict=True))
    assert plain > 10_000
    assert both - plain < 1.08 * plain, f"{(both - plain) / plain:.3f}"


def test_a_generator_is_found_without_the_others() -> None:
    for seed, number in ((0, 0), (3, 70_000)):
        for which, one in enumerate(generators(seed, number, 3)):
            assert generator(seed, number, which).random() == one.random()
