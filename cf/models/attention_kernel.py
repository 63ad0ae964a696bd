"""Which of PyTorch's kernels attention takes, so that records can say it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend

from cf.models.attention import SelfAttention


def attention_kernel(network: nn.Module) -> str:
    """The kernel of unmasked self-attention as PyTorch chooses it for a network where it lies.

    The choice is PyTorch's own (`torch.backends.cuda.enable_flash_sdp` and its kin change it), and
    hangs on device, type and width of a head, so that it is the same for the whole of a rollout.

    Returns:
        flash_attention, efficient_attention, cudnn_attention or math; empty for a network without
        attention.
    """
    for module in network.modules():
        if isinstance(module, SelfAttention):
            weight = module.q.weight
            shape = 1, module.num_heads, 16, weight.shape[0] // module.num_heads
            x = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
            return SDPBackend(torch._fused_sdp_choice(x, x, x)).name.lower()
    return ""
