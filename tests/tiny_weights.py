"""Tiny random weights in the formats that DINO, DINOv2 and CLIP are published in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cf.metrics.extractors.registry import ENTRIES

State = dict[str, Tensor]
WIDTH = 128


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Small normal numbers, around one for what scales."""
    random = torch.Generator().manual_seed(seed)
    ones = ("norm1.weight", "norm2.weight", "norm.weight", "gamma")
    ones += ("ln_1.weight", "ln_2.weight", "ln_pre.weight", "ln_post.weight", "ln_final.weight")
    return {
        name: torch.randn(shape, generator=random) * 0.1 + name.endswith(ones)
        for name, shape in shapes.items()
    }


def dino(patch: int = 16, grid: int = 4, depth: int = 2, second: bool = False) -> State:
    """DINO's names (or DINOv2's) and shapes, of width 128 with two heads."""
    d = WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, d),
        "pos_embed": (1, 1 + grid**2, d),
        "patch_embed.proj.weight": (d, 3, patch, patch),
        "patch_embed.proj.bias": (d,),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    if second:
        shapes["mask_token"] = (1, d)
    layers = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (4 * d, d)}
    layers |= {"mlp.fc2": (d, 4 * d)}
    for block in (f"blocks.{number}." for number in range(depth)):
        for name, shape in layers.items():
            shapes |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            shapes |= {f"{block}{name}.weight": (d,), f"{block}{name}.bias": (d,)}
        if second:
            shapes |= {f"{block}ls1.gamma": (d,), f"{block}ls2.gamma": (d,)}
    return drawn(shapes)


def clip(patch: int = 32, grid: int = 2, depth: int = 2, words: int = 600, out: int = 64) -> State:
    """OpenAI's names and shapes, both towers of width 128 with two heads."""
    d = WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, d),
        "text_projection": (d, out),
        "logit_scale": (),
        "token_embedding.weight": (words, d),
        "visual.class_embedding": (d,),
        "visual.positional_embedding": (1 + grid**2, d),
        "visual.proj": (d, out),
        "visual.conv1.weight": (d, 3, patch, patch),
    }
    for name in ("ln_final", "visual.ln_pre", "visual.ln_post"):
        shapes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    layers = {"attn.out_proj": (d, d), "mlp.c_fc": (4 * d, d), "mlp.c_proj": (d, 4 * d)}
    for tower in ("visual.transformer.resblocks.", "transformer.resblocks."):
        for block in (f"{tower}{number}." for number in range(depth)):
            shapes |= {f"{block}attn.in_proj_weight": (3 * d, d)}
            shapes |= {f"{block}attn.in_proj_bias": (3 * d,)}
            for name, shape in layers.items():
                shapes |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
            for name in ("ln_1", "ln_2"):
                shapes |= {f"{block}{name}.weight": (d,), f"{block}{name}.bias": (d,)}
    return drawn(shapes)


def registered(monkeypatch: pytest.MonkeyPatch, like: str, name: str, **changes: Any) -> None:
    """Add an entry to the registry for the time of a test."""
    changed = {"sha256": None, "hugging_face": None, "vbench": None, **changes}
    monkeypatch.setitem(ENTRIES, name, replace(ENTRIES[like], name=name, **changed))


def saved(state: State, path: Path) -> Path:
    """As a pickle of tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path
