"""Full and sliding memory: which frames are kept, and where they stand."""

from typing import Any

import pytest
import torch
from memories import fold, frames_of, read
from tiny import block

from cf.memory.full import Full
from cf.memory.sliding import Sliding


def test_full_memory_keeps_everything_where_it_was() -> None:
    context = fold(Full(), [block(2, grid=(1, 1), seed=i) for i in range(50)])
    assert frames_of(Full(), context) == list(range(100))
    assert read(Full(), context).start == 100


@pytest.mark.parametrize(
    ("positions", "expected", "start"),
    [("absolute", [0, 1, 14, 15, 16, 17], 18), ("relative", [0, 1, 2, 3, 4, 5], 6)],
)
def test_sliding_positions(positions: Any, expected: list[int], start: int) -> None:
    policy = Sliding(2, 7, positions)
    blocks = [block(3, grid=(1, 1), seed=i) for i in range(6)]
    context = fold(policy, blocks)
    assert context.frames == (0, 1, 14, 15, 16, 17)
    assert frames_of(policy, context) == expected
    assert read(policy, context).start == start
    keys = torch.cat([each.layers[0].k for each in blocks], 1)
    assert torch.equal(read(policy, context).layers[0].k, keys[:, list(context.frames)])


def test_rows_and_columns_stay() -> None:
    policy = Sliding(1, 4, "relative")
    ids = read(policy, fold(policy, [block(3, seed=i) for i in range(4)])).layers[0].ids
    grid = [[row, column] for row in (0, 1) for column in (0, 1)]
    assert ids[0, :, 1:].tolist() == grid * 2


def test_a_port_of_relative_positions_says_so() -> None:
    with pytest.raises(ValueError, match="got positions='absolute'"):
        Sliding(as_released=True)
