"""Projections that lie in one matrix (`to_qkv`, `kv`), as trainers and diffusers fuse them: split.

Queries, keys and values lie below each other, in this order, as diffusers' `fuse_projections` and
every trainer that fuses puts them.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from cf.models.stored import CheckpointError, State, shown_key, shown_shape

Make = Callable[[Tensor], Tensor]

_PARTS = {
    "qkv": ("q", "k", "v"),
    "kv": ("k", "v"),
    "kv_img": ("k_img", "v_img"),
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_kv": ("to_k", "to_v"),
    "to_added_kv": ("add_k_proj", "add_v_proj"),
}
_FUSED = re.compile(
    rf"(.*(?:self_attn|cross_attn|attn1|attn2)[._])({'|'.join(_PARTS)})((?:\.weight|\.bias)?)"
)


def unfused_names(name: str) -> tuple[str, ...]:
    """What the parts of a fused projection are called; empty: it is none.

    >>> unfused_names("blocks.0.attn2.to_kv.bias")
    ('blocks.0.attn2.to_k.bias', 'blocks.0.attn2.to_v.bias')
    >>> unfused_names("lora_unet_blocks_0_cross_attn_k")
    ()
    """
    match = _FUSED.fullmatch(name)
    return tuple(f"{match[1]}{part}{match[3]}" for part in _PARTS[match[2]]) if match else ()


def unfused(weights: State, made: dict[str, Make], source: object) -> tuple[State, dict[str, Make]]:
    """Weights of which each projection has its own.

    Args:
        weights: under bare names.
        made: how some of them become float32.
        source: the file, for messages.

    Raises:
        CheckpointError: if one cannot be split, or is there by itself as well, with other numbers.
    """
    if not (fused := [name for name in weights if unfused_names(name)]):
        return weights, made
    split = {name: x for name, x in weights.items() if name not in fused}
    how = {name: make for name, make in made.items() if name not in fused}
    for name in fused:
        names, weight = unfused_names(name), weights[name]
        for i, (key, rows) in enumerate(
            zip(names, _rows(weight, names, name, source), strict=True)
        ):
            if key in split and not (
                {key, name}.isdisjoint(made) and torch.equal(split[key], rows)
            ):
                raise CheckpointError(
                    f"{source} holds {shown_key(key)} by itself and, with other numbers, within "
                    f"{shown_key(name)}; save the one that is meant (in diffusers: "
                    "unfuse_qkv_projections)"
                )
            split[key] = rows
            if name in made:
                how[key] = partial(_made, weight=weight, make=made[name], at=i, count=len(names))
    return split, how


def _made(_: Tensor, weight: Tensor, make: Make, at: int, count: int) -> Tensor:
    """Rows of a quantised weight, whose scales are those of the whole."""
    return make(weight).chunk(count)[at]


def split_update(
    name: str, module: str, part: str, adapter: str | None, tensor: Tensor, source: object
) -> Iterator[tuple[str, Tensor]]:
    """A part of an update for each of the projections that its module may be fused of.

    B (A x) has the rows of q, k and v below each other as well: each takes its rows of B, all of A.

    Args:
        name: of the tensor, for messages.
        module: `part_of` says it of the tensor.
        part: likewise.
        adapter: likewise.
        tensor: its value.
        source: the file, for messages.

    Yields:
        The module, or each that it is fused of, and its tensor.

    Raises:
        CheckpointError: if the rows cannot be told apart.
    """
    names = unfused_names(module)
    if not names:
        yield module, tensor
    elif is_piece(module, adapter):  # kohya's, whose every projection has its own factors
        assert adapter is not None
        yield names[int(adapter)], tensor
    elif part in ("down", "alpha"):
        yield from ((projection, tensor) for projection in names)
    elif part == "magnitude" and tensor.ndim == 2 and len(tensor) == 1:
        raise CheckpointError(
            f"{source} holds {shown_key(name)}, norms of columns that queries, keys and values "
            "share, which cannot be told apart; merge it by the tool that made it"
        )
    else:
        yield from zip(names, _rows(tensor, names, name, source), strict=True)


def is_piece(module: str, adapter: str | None) -> bool:
    """Whether what looks like an adapter's name is the number of a projection (`lora_down.0`)."""
    return adapter is not None and adapter in map(str, range(len(unfused_names(module))))


def any_fused(names: Iterable[str]) -> bool:
    """Whether a model has such projections of its own, so that they are not to be split."""
    return any(map(unfused_names, names))


def _rows(fused: Tensor, names: tuple[str, ...], name: str, source: object) -> tuple[Tensor, ...]:
    if not fused.ndim or not len(fused) or len(fused) % len(names):
        raise CheckpointError(
            f"{source} holds {shown_key(name)} of {shown_shape(fused)}, whose rows do not make "
            f"{len(names)} equal parts; give the file that belongs to these weights"
        )
    return fused.chunk(len(names))
