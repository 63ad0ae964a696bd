"""An exponential moving average of a network's weights."""

import copy

import torch
from torch import nn

from cf.models.sharding import let_go, local


class WeightAverage(nn.Module):
    """A frozen copy of a network that follows it slowly; it travels in the module's checkpoint.

    Attributes:
        decay: weight of the old average, approached as (1 + n) / (10 + n) over the first updates.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards `network`."""
        self.updates += 1
        n = self.updates.double()
        decay = torch.minimum(n.new_tensor(self.decay), (1 + n) / (10 + n))
        let_go(self.network)  # what a sample has gathered is no shard, and would be stale
        ema, theirs = ([local(p) for p in net.parameters()] for net in (self.network, network))
        kinds = {(x.dtype, x.device) for x in ema}
        weights = {kind: (1 - decay).to(*kind[::-1]) for kind in kinds}
        torch._foreach_lerp_(
            *(ema, [x.to(like) for x, like in zip(theirs, ema, strict=True)]),
            [weights[x.dtype, x.device] for x in ema],
        )
