"""What the tests of memories share: fabricated blocks, folds, and what a context shows."""

import sys
from dataclasses import replace

import torch
from tiny import MEMORIES, block, conditioning, memory
from torch import Tensor

from cf.memory.base import Memory, Query
from cf.types import Block, Context, LayerKV, Past

PLACED = (
    *("infinity_rope", "sliding_relative", "slow_fast", "deep_sink", "ema_sink", "memrope"),
    *("participative", "anchor"),
)
"""Those that promise positions within the frames that they attend."""


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


def assert_bounded(
    policy: Memory, updates: int, frames: int, grid: tuple[int, int] = (2, 2)
) -> None:
    """In frames, the coming block included; what is attended, and what is stored."""
    tokens = grid[0] * grid[1]
    if policy.max_frames is None:
        with torch.inference_mode():
            context = fold(policy, [block(frames, grid=grid)] * 20)
        assert context.layers[0].k.shape[1] == 20 * frames * tokens
        return
    sizes, stored, places, context = [], [], [], Context()
    arrivals = [block(frames, seed=i, grid=grid) for i in range(7)]
    with torch.inference_mode():
        for i in range(updates):
            context = policy.update(context, arrivals[i % 7])
            if i > 200 and i % 11:
                continue  # what is attended goes up and down by turns at most
            past = read(policy, context, frames)
            sizes.append(past.layers[0].k.shape[1] / tokens + frames)
            stored.append(held_bytes(context))
            ids = past.layers[0].ids[..., 0]
            places += [past.start + frames, *ids.flatten().tolist()]
    assert max(sizes) <= policy.max_frames
    for grown in (sizes, stored):
        third, last = grown[len(grown) // 2 : len(grown) * 3 // 4], grown[len(grown) * 3 // 4 :]
        assert max(third) == max(last)
    assert context.start == frames * updates
    if policy in [memory(path.stem) for path in MEMORIES if path.stem in PLACED]:
        assert min(places) >= 0
        assert max(places) <= policy.max_frames


def held_bytes(context: Context) -> int:
    """What is kept alive: whole storages, of which a view may show a part only."""
    tensors = [x for layer in context.layers for x in layer if x is not None]
    storages = {x.data_ptr(): x.untyped_storage().nbytes() for x in (*tensors, *context.state)}
    return sum(storages.values())


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        assert_bounded(memory(name), 10_000, 3, grid=(1, 1))
        sys.stdout.write(f"{name}\n")
