"""Quantised weights: multiplied by their scales, or refused by the name of their format."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cf.models.rope_tables import is_table
from cf.models.stored import CheckpointError, State, Stored, shown_key, shown_shape, some
from cf.models.weight_files import read_json

Make = Callable[[Tensor], Tensor]
Tile = tuple[int, int]

_EIGHT_BIT_FLOATS = {
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
}
_EIGHT_BITS = {*_EIGHT_BIT_FLOATS, torch.int8}
_READ = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_SCALES = (
    ".weight_scale_inv",
    ".weight_scale",
    ".scale_weight",
    ".weight._scale",
    ".weight.scale",
    ".weight_scales",
    ".scales",
    ".scale",
)
_OF_ACTIVATIONS = (
    *(".scale_input", ".input_scale", ".input_scale_inv", ".input_scales"),
    *(".scale_output", ".output_scale", ".act_scale"),
)
_FORMATS = (
    (".quant_state.bitsandbytes__", "bitsandbytes 4-bit (NF4 or FP4)"),
    (".weight.absmax", "bitsandbytes 4-bit (NF4 or FP4)"),
    (".quant_map", "bitsandbytes 4-bit (NF4 or FP4)"),
    (".SCB", "bitsandbytes 8-bit"),
    (".weight_format", "bitsandbytes 8-bit"),
    (".weight._data", "optimum-quanto"),
    ("._weight_qdata", "torchao"),
    (".tensor_impl", "torchao"),
    (".qzeros", "GPTQ or AWQ"),
    (".qweight", "GPTQ, AWQ or SVDQuant (Nunchaku)"),
    (".wscales", "SVDQuant (Nunchaku)"),
    (".weight_scale_2", "NVFP4"),
    (".weight_zero_point", "8-bit integers with a zero point"),
    (".weight_packed", "compressed-tensors, several weights in a number"),
)
_HARMLESS = {"format", "full_precision_matrix_mult", "group_size", "block_size", "orig_dtype"}
"""What ComfyUI says of a layer that changes no number; a rotation (`convrot`) does."""
_LONGEST = 1000
_REMEDY = "give the model's weights in bfloat16 or float32, or in 8-bit floats with their scales"


def unquantised(stored: Stored, state: State) -> tuple[State, dict[str, Make]]:
    """The weights alone, and for each quantised one how it becomes float32.

    Args:
        stored: the file, for messages and for what lies beside it.
        state: its tensors under bare names.

    Raises:
        CheckpointError: if weights are in a format that is not read, or lack their scales.
    """
    _refuse_formats(state, stored)
    weights: State = {}
    makers: dict[str, Make] = {}
    scales = {
        name: scale
        for name, weight in state.items()
        if weight.dtype in _EIGHT_BITS and (scale := _scale_name(name, state))
    }
    tile = _said_tile(stored) or _tile([(state[n], state[scale]) for n, scale in scales.items()])
    for name, weight in state.items():
        if name in scales:
            make = _scaling(weight, state[scales[name]], tile)
            if make is None:
                raise _unknown_scales(stored.file, name, weight, state[scales[name]])
            makers[name] = make
        elif weight.dtype in _EIGHT_BIT_FLOATS:
            makers[name] = Tensor.float
    bare = [n for n, x in state.items() if x.dtype in _EIGHT_BIT_FLOATS and n not in scales]
    if scales and (lost := [n for n in bare if n.endswith(".weight") and state[n].ndim == 2]):
        raise CheckpointError(
            f"{stored.file} holds {some(lost)} in 8 bits without a scale, while "
            f"{some(list(scales))} have theirs; copy the file again, or {_REMEDY}"
        )
    _refuse_unknown_scales(state, bare, stored.file)
    used = set(scales.values())
    for name, weight in state.items():
        ignored = name.endswith((*_OF_ACTIVATIONS, ".comfy_quant")) or name == "scaled_fp8"
        if name not in used and not ignored:
            weights[name] = weight
    _refuse_rest(weights, makers, stored.file)
    return weights, makers


def _refuse_unknown_scales(state: Mapping[str, Tensor], bare: Sequence[str], file: Path) -> None:
    beside = {name.removesuffix("weight"): name for name in bare if name.endswith(".weight")}
    for name in state:
        module = name[: name.rfind(".") + 1]
        if (
            module in beside
            and "scale" in name[len(module) :]
            and not name.endswith(_OF_ACTIVATIONS)
        ):
            raise CheckpointError(
                f"{file} holds {shown_key(name)} beside 8-bit {shown_key(beside[module])}, "
                f"and what it is multiplied by is not known; {_REMEDY}"
            )


def _unknown_scales(file: Path, name: str, weight: Tensor, scale: Tensor) -> CheckpointError:
    return CheckpointError(
        f"{file} holds {shown_key(name)} of {shown_shape(weight)} with {scale.dtype} scales of "
        f"{shown_shape(scale)}, "
        "which are neither one, nor one per row, nor one per tile of a size that is known; say the "
        "size in a config.json beside it, as in "
        '{"quantization_config": {"weight_block_size": [128, 128]}}'
    )


def _refuse_formats(state: Mapping[str, Tensor], stored: Stored) -> None:
    for mark, name in _FORMATS:
        if marked := [key for key in state if mark in key]:
            raise CheckpointError(
                f"{stored.file} is quantised by {name}, which is not read here (it holds "
                f"{some(marked)}); {_REMEDY}"
            )
    for name, said in _said_formats(state, stored.said):
        if not _is_scaled(said):
            raise CheckpointError(
                f"{stored.file} says that {shown_key(name)} is quantised as {shown_key(said)}, "
                f"which is not read here; {_REMEDY}"
            )


def _said_formats(state: Mapping[str, Tensor], header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ComfyUI says of each layer, in a tensor beside its weight or in the file's header."""
    formats = [
        (name, bytes(text.flatten()[:_LONGEST].byte().tolist()).decode(errors="replace"))
        for name, text in state.items()
        if name.endswith(".comfy_quant")
    ]
    said = _json(header.get("_quantization_metadata"))
    layers = said.get("layers") if isinstance(said, dict) else None
    for layer, settings in layers.items() if isinstance(layers, dict) else ():
        if f"{layer}.weight".endswith(tuple(state)):  # others are of other parts of the file
            formats.append((layer, json.dumps(settings)[:_LONGEST]))
    return formats


def _is_scaled(said: str) -> bool:
    """Whether a layer's weight is its numbers times its scales, and nothing else (a rotation)."""
    settings = _json(said)
    if not isinstance(settings, dict):
        return False
    form = str(settings.get("format"))
    more = {name for name, value in settings.items() if value} - _HARMLESS
    return not more and (form.startswith("float8") or form == "int8_tensorwise")


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return None


def _refuse_rest(weights: State, makers: Mapping[str, Make], file: Path) -> None:
    unread = [n for n, weight in weights.items() if weight.dtype not in _READ and n not in makers]
    unscaled = [n for n in unread if not (is_table(n) and weights[n].is_complex())]
    if unscaled:
        kind = str(weights[unscaled[0]].dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{file} holds {some(unscaled)} as {kind} without a scale, so that the weights cannot "
            f"be known; {_REMEDY}"
        )
    alone = [n for n in weights if n.endswith((".weight_scale", ".scale_weight", "_scale_inv"))]
    if alone:
        raise CheckpointError(
            f"{file} holds scales without quantised weights, {some(alone)}; {_REMEDY}"
        )


def _scale_name(weight: str, state: Mapping[str, Tensor]) -> str | None:
    if not weight.endswith(".weight"):
        return None
    module = weight.removesuffix(".weight")
    return next((module + end for end in _SCALES if module + end in state), None)


def _scaling(weight: Tensor, scale: Tensor, tile: Tile | None) -> Make | None:
    """How a weight is multiplied: by one scale, one per row or column, or one per tile."""
    shape = tuple(scale.shape)
    if not scale.is_floating_point() or scale.numel() == 0 or weight.ndim == 0:
        return None
    if scale.numel() == 1:
        return partial(_times, scale=scale.reshape(()))
    if shape[0] == len(weight) == scale.numel():
        return partial(_times, scale=scale.reshape(-1, *[1] * (weight.ndim - 1)))
    if weight.ndim != 2 or scale.ndim != 2:
        return None
    if shape == (1, weight.shape[1]):
        return partial(_times, scale=scale)
    if tile is None or not all(
        -(-length // size) == count
        for length, size, count in zip(weight.shape, tile, shape, strict=True)
    ):
        return None
    return partial(_times_tiles, scale=scale, tile=tile)


def _times(weight: Tensor, scale: Tensor) -> Tensor:
    return weight.float() * scale.float()


def _times_tiles(weight: Tensor, scale: Tensor, tile: Tile) -> Tensor:
    rows, columns = weight.shape
    wide = scale.float().repeat_interleave(tile[0], 0)[:rows]
    return weight.float() * wide.repeat_interleave(tile[1], 1)[:, :columns]


def _tile(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tile | None:
    """Rows and columns of the tiles of a file, where only one size gives all of its scales."""
    axes: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for weight, scale in pairs:
        if weight.ndim == scale.ndim == 2 and scale.numel() > max(1, *scale.shape):
            for axis in (0, 1):
                axes[axis].append((weight.shape[axis], scale.shape[axis]))
    square = _sizes([*axes[0], *axes[1]])
    if len(square) == 1:
        return square[0], square[0]
    rows, columns = _sizes(axes[0]), _sizes(axes[1])
    return (rows[0], columns[0]) if not square and len(rows) == len(columns) == 1 else None


def _sizes(counted: Sequence[tuple[int, int]]) -> list[int]:
    """Powers of two and equal parts, of which `count` cover `length` for every such pair."""
    sizes = {2**i for i in range(15)}
    sizes |= {n // count for n, count in counted if 0 < count <= n and n % count == 0}
    return sorted(t for t in sizes if all(-(-n // t) == count for n, count in counted))


def _said_tile(stored: Stored) -> Tile | None:
    config = read_json(stored.file.parent / "config.json")
    said: Any = config.get("quantization_config") if isinstance(config, dict) else None
    tile = said.get("weight_block_size") if isinstance(said, dict) else None
    if isinstance(tile, list) and len(tile) == 2 and all(type(n) is int and n > 0 for n in tile):
        return tile[0], tile[1]
    return None
