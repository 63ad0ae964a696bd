"""What the tests of memories share: fabricated blocks, folds, and what a context shows."""

from dataclasses import replace

import torch
from tiny import block, conditioning
from torch import Tensor

from cf.memory.base import Memory, Query
from cf.types import Block, Context, LayerKV, Past


def read(policy: Memory, context: Context, frames: int = 3) -> Past:
    return policy.read(context, Query(frames, conditioning(1)))


def fold(policy: Memory, blocks: list[Block]) -> Context:
    context = Context()
    for each in blocks:
        context = policy.update(context, each)
    return context


def turned(*degrees: float) -> Tensor:
    """One key per sample, at these angles."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack((angle.cos(), angle.sin(), 0 * angle, 0 * angle), -1)


def mixed(count: int, batch: int = 3, frames: int = 3) -> list[Block]:
    """Blocks of two layers in which the first sample stands still and the last always changes."""
    blocks = []
    for i in range(count):
        made = block(frames, batch=batch, layers=2, seed=i)
        layers = []
        for number, layer in enumerate(made.layers):
            still, slow = turned(0.0), turned(40.0 * (i // 2) + 15 * number)
            keys = (still.expand_as(layer.k[0]), slow.expand_as(layer.k[1]), *layer.k[2:])
            layers.append(layer._replace(k=torch.stack(keys)))
        blocks.append(replace(made, layers=tuple(layers)))
    return blocks


def sample(each: Block, index: int) -> Block:
    layers = tuple(LayerKV(*(x[index : index + 1] for x in layer[:3])) for layer in each.layers)
    return replace(each, layers=layers, queries=tuple(q[index : index + 1] for q in each.queries))


def counted(layer: LayerKV, index: int) -> list[Tensor]:
    """Keys, values and positions of one sample, without empty slots."""
    valid = slice(None) if layer.valid is None else layer.valid[index]
    return [x[index][valid] for x in layer[:3]]


def frames_of(policy: Memory, context: Context, index: int = 0, layer: int = 0) -> list[float]:
    """What times a sample reads in one layer, in order; for a grid of a single token."""
    return counted(read(policy, context).layers[layer], index)[2][:, 0].tolist()


def assert_equal(one: Context, other: Context) -> None:
    assert (one.start, one.frames, one.grid) == (other.start, other.frames, other.grid)
    assert len(one.layers) == len(other.layers)
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)
    assert all(torch.equal(a, b) for a, b in zip(one.state, other.state, strict=True))
