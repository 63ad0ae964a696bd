"""The transformer blocks of published image and text encoders, under their authors' names."""

from collections import OrderedDict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

HEAD_WIDTH = 64
"""Channels of a head, the same in all of DINO, DINOv2 and CLIP."""


def depth_of(names: Iterable[str], prefix: str) -> int:
    """How many blocks there are under a prefix.

    >>> depth_of(["blocks.0.norm1.bias", "blocks.1.norm1.bias", "norm.bias"], "blocks.")
    2
    """
    return len({x.removeprefix(prefix).split(".")[0] for x in names if x.startswith(prefix)})


def attend(
    qkv: Float[Tensor, "b n three_d"], heads: int, causal: bool = False
) -> Float[Tensor, "b n d"]:
    """Softmax attention of heads whose queries, keys and values lie side by side."""
    batch, length, _ = qkv.shape
    q, k, v = qkv.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    mixed = scaled_dot_product_attention(q, k, v, is_causal=causal)
    return mixed.transpose(1, 2).reshape(batch, length, -1)


class Attention(nn.Module):
    """Self-attention as DINO names it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Each token looks at all."""
        mixed: Tensor = self.proj(attend(self.qkv(x), self.heads))
        return mixed


class Mlp(nn.Module):
    """Two layers as DINO names them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """With the exact GELU between."""
        changed: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return changed


class Scale(nn.Module):
    """DINOv2's learned factor of each channel of a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Channels times their factors."""
        return x * self.gamma


class Block(nn.Module):
    """A pre-norm block of DINO, or with `scaled` of DINOv2."""

    def __init__(self, width: int, scaled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.ls1 = Scale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.ls2 = Scale(width) if scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the two layers."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        scaled: Tensor = self.ls2(self.mlp(self.norm2(x)))
        return x + scaled


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), with which CLIP was trained."""

    def forward(self, x: Tensor) -> Tensor:
        """Of each number."""
        return x * torch.sigmoid(1.702 * x)


class PackedAttention(nn.Module):
    """Self-attention under the names of torch's `MultiheadAttention`, as CLIP has them."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.causal = causal
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Each token looks at all, or if causal at itself and those before it."""
        qkv = linear(x, self.in_proj_weight, self.in_proj_bias)
        mixed: Tensor = self.out_proj(attend(qkv, self.heads, self.causal))
        return mixed


class ClipBlock(nn.Module):
    """A pre-norm block of CLIP."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.attn = PackedAttention(width, causal)
        self.ln_1 = nn.LayerNorm(width)
        layers = {
            "c_fc": nn.Linear(width, 4 * width),
            "gelu": QuickGELU(),
            "c_proj": nn.Linear(4 * width, width),
        }
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the two layers."""
        x = x + self.attn(self.ln_1(x))
        changed: Tensor = self.mlp(self.ln_2(x))
        return x + changed


class ClipTransformer(nn.Module):
    """CLIP's stack of blocks."""

    def __init__(self, width: int, depth: int, causal: bool) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ClipBlock(width, causal) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """Block after block."""
        deep: Tensor = self.resblocks(x)
        return deep
