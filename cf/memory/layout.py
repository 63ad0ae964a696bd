"""A context that lies as [sink | slow | fast]: its parts, and where they stand in time."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor

from cf.memory.base import at_times, join, pick
from cf.types import Block, Context, LayerKV


class BlockPlan(NamedTuple):
    """What a block does to every layer alike; frames of the sink, then of the fast memory."""

    old_sink: int
    new_sink: int
    slow_tokens: int
    candidate: slice
    leave: int
    considered: bool


class Parts(NamedTuple):
    """A layer taken apart: fast memory with the new frames, and the candidate among these."""

    sink: LayerKV
    slow: LayerKV
    fast: LayerKV
    candidate: LayerKV


def take_apart(past: LayerKV, new: LayerKV, block: Block, plan: BlockPlan) -> Parts:
    """A layer and the new frames, as the plan has them."""
    tokens = block.tokens_per_frame
    sink, new_sink = plan.old_sink * tokens, plan.new_sink * tokens
    slow = pick(past, slice(sink, sink + plan.slow_tokens))
    fast_from = sink + plan.slow_tokens
    fast = join([pick(past, slice(fast_from, None)), pick(new, slice(new_sink, None))])
    candidate = slice(*(i * tokens for i in plan.candidate.indices(fast.k.shape[1] // tokens)[:2]))
    kept_sink = join([pick(past, slice(sink)), pick(new, slice(new_sink))])
    return Parts(kept_sink, slow, fast, pick(fast, candidate))


def times_of(context: Context, sizes: tuple[int, int, int], stored: int) -> Float[Tensor, "1 n"]:
    """Times of a context whose slow memory is full; a stored frame takes its share of time.

    `sizes` are frames of the sink, tokens of the slow and frames of the fast memory; `stored` the
    tokens of a frame in the slow memory.
    """
    sink, slow, fast = sizes
    tokens, device = context.tokens_per_frame, context.layers[0].k.device
    sink_at, slow_at, fast_at = (
        (torch.arange(length, device=device) // per_frame) * (per_frame / tokens)
        for length, per_frame in ((sink * tokens, tokens), (slow, stored), (fast * tokens, tokens))
    )
    return torch.cat((sink_at, slow_at + sink, fast_at + sink + slow / tokens))[None]


def close_up(layer: LayerKV, times: Tensor, sink: int, fast_from: int, tokens: int) -> LayerKV:
    """Place a layer, each sample's sink moved up to what its slow memory really holds."""
    if layer.valid is not None:
        empty = (~layer.valid[:, sink:fast_from]).sum(1, keepdim=True) / tokens
        times = times + F.pad(empty.expand(-1, sink), (0, times.shape[1] - sink))
    return at_times(layer, times)
