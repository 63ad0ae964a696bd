"""A memory told by blocks that say where they are from: what it shows of the past, and where."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.memory.base import Memory, Query
from cf.memory.checks import checked_memory
from cf.seeding import seeded
from cf.types import Block, Conditioning, Context, LayerKV

Phase = Literal["denoise", "commit"]


class Shown(NamedTuple):
    """What one pass over a block is shown of the past, in the first layer.

    Attributes:
        passes: those that see the same: ("denoise", step) or ("commit", number of steps).
        block: true indices of the block's frames, as [from, to).
        start: RoPE time at which the block begins.
        sources: how much of each source frame is in each token; 1 for a token that is its own.
        times: where each token stands in RoPE time.
        weights: how often each token counts: 0 if it is hidden, exp(bias) if there is one.
    """

    passes: tuple[tuple[Phase, int], ...]
    block: tuple[int, int]
    start: float
    sources: Float[Tensor, "n frames"]
    times: Float[Tensor, " n"]
    weights: Float[Tensor, " n"]


@dataclass(frozen=True)
class Story:
    """Fabricated blocks of a video that cuts between three scenes and comes back to each.

    The value of a token is one-hot in the frame that it is from, so that whatever a memory blends
    shows as a blend. Keys and queries point where the scene does; the camera stands elsewhere in
    every scene and pans slowly; the control signal is its pose (x, y, z, pitch, yaw) and the scene,
    one-hot. So memories that go by novelty, queries, views or control all have something to find.

    Attributes:
        frames: of the whole video.
        scene_frames: between two cuts.
    """

    frames: int = 96
    block_frames: int = 3
    grid: tuple[int, int] = (8, 8)
    scene_frames: int = 12
    scenes: int = 3

    def __post_init__(self) -> None:
        if self.block_frames < 1 or self.frames % self.block_frames or self.scene_frames < 1:
            raise ValueError(
                f"frames={self.frames} must be whole blocks of block_frames={self.block_frames} "
                f"and scene_frames={self.scene_frames} at least 1"
            )

    def __iter__(self) -> Iterator[tuple[Block, Conditioning]]:
        """Every block with its conditioning."""
        for start in range(0, self.frames, self.block_frames):
            yield self._block(start)

    def _block(self, start: int) -> tuple[Block, Conditioning]:
        rows, columns = self.grid
        tokens, at = rows * columns, torch.arange(start, start + self.block_frames)
        scene = at // self.scene_frames % self.scenes
        pan = (at % self.scene_frames) / self.scene_frames
        origin = torch.stack((0 * pan, columns * (1.25 * scene + pan)), -1)
        place = torch.meshgrid(
            torch.arange(self.block_frames),
            torch.arange(rows),
            torch.arange(columns),
            indexing="ij",
        )
        ids = torch.stack(place, -1).float().flatten(0, 2)
        ids[:, 1:] += origin.repeat_interleave(tokens, 0)
        value = torch.eye(self.frames)[at].repeat_interleave(tokens, 0)
        key = self._keys(scene, start).repeat_interleave(tokens, 0)
        key = key + 0.1 * torch.randn(key.shape, generator=seeded(1, start))
        layer = LayerKV(key[None, :, None], value[None, :, None], ids[None])
        control = torch.zeros(self.block_frames, 5 + self.scenes)
        control[:, 0], control[:, 4] = origin[:, 1], 120.0 * scene
        control[torch.arange(self.block_frames), 5 + scene] = 1
        cond = Conditioning(None, control[None], origin[None])
        return Block((layer,), self.block_frames, self.grid, (layer.k,), control[None]), cond

    def _keys(self, scene: Tensor, start: int) -> Float[Tensor, "f d"]:
        """A direction for each scene, and a little of its own for each block."""
        directions = torch.randn(self.scenes, self.frames, generator=seeded(0))
        jitter = torch.randn(self.frames, generator=seeded(2, start))
        return directions[scene] + 0.05 * jitter


@torch.no_grad()
def trace(memory: Memory, story: Story, num_steps: int = 4) -> list[list[Shown]]:
    """For each block, every distinct read of it, in the order of the passes.

    Raises:
        ValueError: if it is no memory, or does not take blocks of this length.
    """
    checked_memory(memory).check_block(story.block_frames)
    context, blocks = Context(), []
    for block, cond in story:
        passes: list[tuple[Phase, int]] = [("denoise", step) for step in range(num_steps)]
        passes.append(("commit", num_steps))
        reads: dict[Hashable, tuple[list[tuple[Phase, int]], Shown]] = {}
        for phase, step in passes:
            query = Query(block.frames, cond, phase, step)
            key = (memory.read_key(query), id(context))
            if key not in reads:
                reads[key] = ([], _shown(memory, context, query, block, story.frames))
            reads[key][0].append((phase, step))
            if phase == "denoise":
                context = memory.noisy(context, block)
        blocks.append([shown._replace(passes=tuple(same)) for same, shown in reads.values()])
        context = memory.update(context, block)
    return blocks


def _shown(memory: Memory, context: Context, query: Query, block: Block, frames: int) -> Shown:
    past = memory.read(context, query)
    if past.live is not None and context.layers:
        layers: Sequence[LayerKV] = [past.live(0, block.layers[0], block.queries[0])]
    else:
        layers = past.layers
    span = (context.start, context.start + query.frames)
    if not layers:
        nothing = torch.zeros(0)
        return Shown((), span, past.start, torch.zeros(0, frames), nothing, nothing)
    layer = layers[0]
    weights = torch.ones_like(layer.ids[0, :, 0])
    if past.bias is not None:
        weights = past.bias[0].exp()
    if layer.valid is not None:
        weights = weights * layer.valid[0]
    return Shown((), span, past.start, layer.v[0, :, 0], layer.ids[0, :, 0], weights)
