"""Small models, memories and inputs for the tests of the core; plain functions."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from cf.memory.base import Memory, Query
from cf.models.base import Backbone
from cf.models.names import to_diffusers_name
from cf.models.transformer import VideoTransformer
from cf.types import Block, Conditioning, Context, Latents, LayerKV, Prediction, Times

MEMORIES = sorted((Path(__file__).parents[1] / "configs" / "memory").glob("*.yaml"))
SHAPE = (2, 4, 4)
"""Channels, height, width of a latent frame: a grid of 2 x 2 tokens."""
SIZES: dict[str, Any] = {
    "dim": 24,
    "num_heads": 2,
    "num_layers": 2,
    "ffn_dim": 32,
    "latent_shape": SHAPE,
    "text_dim": 5,
    "text_len": 4,
    "control_dim": 3,
    "freq_dim": 8,
}


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normal numbers in float64 that no version of torch changes."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape) * scale)


def model(dtype: torch.dtype = torch.float64, seed: int = 0, **sizes: Any) -> VideoTransformer:
    """A transformer in which every weight matters; none is zero, keys and queries are peaked."""
    network = VideoTransformer(**{**SIZES, **sizes}).to(dtype)
    parameters = sorted(network.named_parameters())
    with torch.no_grad():
        for i, (name, parameter) in enumerate(parameters):
            noise = draw(*parameter.shape, seed=1000 * seed + i)
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            if "modulation" in name:
                noise = 0.5 * noise
            elif "norm" in name and name.endswith("weight"):
                noise = 1.5 + 0.3 * noise
            elif parameter.ndim == 1:
                noise = 0.1 * noise
            else:
                noise = noise / fan_in**0.5
            parameter.copy_(noise)
    return network


@cache
def memory(name: str) -> Memory:
    """The memory that `configs/memory/<name>.yaml` describes."""
    (file,) = (file for file in MEMORIES if file.stem == name)
    made = instantiate(OmegaConf.load(file), _convert_="all")
    assert isinstance(made, Memory)
    return made


def latents(batch: int, frames: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Latents:
    return draw(batch, frames, *SHAPE, seed=seed).to(dtype)


def conditioning(
    batch: int,
    frames: int | None = None,
    *,
    origin: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Conditioning:
    """Text, and for `frames` frames control and, if asked, origin; the samples differ."""
    text = draw(batch, 3, 5, seed=seed + 50)
    if frames is None:
        return Conditioning(text.to(dtype))
    control = draw(batch, frames, 3, seed=seed + 51).to(dtype)
    shift = draw(batch, frames, 2, seed=seed + 52, scale=3).to(dtype) if origin else None
    return Conditioning(text.to(dtype), control, shift)


def one(cond: Conditioning, sample: int) -> Conditioning:
    """The conditioning of one sample."""
    return Conditioning(
        *(None if x is None else x[sample : sample + 1] for x in vars(cond).values())
    )


def blockwise(
    network: Backbone,
    policy: Memory,
    x: Latents,
    t: Times,
    cond: Conditioning,
    lengths: list[int],
    noisy: tuple[Latents, Times] | None = None,
) -> tuple[list[Prediction], list[Prediction], Context]:
    """Pass `x` block after block through the memory, and `noisy` blocks over the same pasts."""
    context, clean_out, noisy_out = Context(), [], []
    for frames in lengths:
        start = context.start
        part = cond.frames(start, start + frames)
        block = slice(start, start + frames)
        past = network.prepare(policy.read(context, Query(frames, part)), part)
        if noisy is not None:
            noisy_out.append(network(noisy[0][:, block], noisy[1][:, block], part, past))
        clean_out.append(network(x[:, block], t[:, block], part, past))
        context = policy.update(context, clean_out[-1].block)
    return clean_out, noisy_out, context


def block(
    frames: int = 3,
    *,
    batch: int = 1,
    layers: int = 1,
    grid: tuple[int, int] = (2, 2),
    keys: Tensor | None = None,
    seed: int = 0,
) -> Block:
    """A fabricated block; every key of sample b is `keys[b]`, if given."""
    rows, columns = grid
    place = torch.meshgrid(
        torch.arange(frames), torch.arange(rows), torch.arange(columns), indexing="ij"
    )
    ids = torch.stack(place, -1).float().reshape(1, -1, 3).expand(batch, -1, -1)
    made, queries = [], []
    for layer in range(layers):
        k, v, q = draw(3, batch, ids.shape[1], 1, 4, seed=seed * 10 + layer)
        if keys is not None:
            k = keys[:, None, None, :].double().expand_as(k).clone()
        made.append(LayerKV(k, v, ids))
        queries.append(q)
    return Block(tuple(made), frames, grid, tuple(queries))


def to_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Wan's names to those of diffusers' `WanTransformer3DModel`; the tensors are shared."""
    return {to_diffusers_name(name): weight for name, weight in state.items()}
