"""Weights in and out: our one-file export, and the formats in which others publish Wan models."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from cf.files import replacing
from cf.models.names import bare_name, is_diffusers, to_diffusers_name, to_wan_name
from cf.models.weight_files import CheckpointError as CheckpointError
from cf.models.weight_files import (
    State,
    is_safetensors,
    one_file,
    read_safetensors,
    read_state,
    some,
)

_CONFIG_KEY = "cf"
_CONTAINERS = ("generator_ema", "generator", "model", "state_dict")
_LORA_CONTAINERS = ("generator_lora",)


def save_export(
    path: str | Path, module_state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> None:
    """Write weights and their configuration as one safetensors file.

    The file appears complete or not at all; a file of that name is replaced.

    Args:
        path: the file; missing folders are made.
        module_state: a module's state dict, no two entries of which share memory.
        config: what rebuilds the module; anything that JSON can hold.
    """
    metadata = {_CONFIG_KEY: json.dumps(dict(config)), "format": "pt"}
    state = {name: weight.detach().cpu().contiguous() for name, weight in module_state.items()}
    with replacing(path) as temporary:
        save_file(state, temporary, metadata)


def read_export(path: str | Path) -> tuple[dict[str, Any], State]:
    """Configuration and weights of a file that `save_export` wrote.

    Args:
        path: the file, or a folder that holds no other safetensors file.

    Raises:
        CheckpointError: if it is missing, damaged, or not an export.
    """
    file = one_file(Path(path))
    if not is_safetensors(file):
        raise CheckpointError(
            f"{file} is not a safetensors file; exports are: give the file that a run exported, or "
            "load a published .pt file as weights of a model that you configure"
        )
    metadata, state = read_safetensors(file)
    if _CONFIG_KEY not in metadata:
        raise CheckpointError(
            f"{file} was not exported here: it carries no configuration; load it as weights of a "
            "model that you configure"
        )
    try:
        config = json.loads(metadata[_CONFIG_KEY])
    except json.JSONDecodeError:
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} carries a damaged configuration; export it again")
    return config, state


def load_weights(
    path: str | Path,
    container: str | None = None,
    lora: str | Path | None = None,
    lora_alpha: float | None = None,
) -> State:
    """Weights under Wan's own names, from any format in which such models are published.

    Takes our export, plain safetensors, a folder of shards with their index, diffusers'
    `WanTransformer3DModel`, and `.pt` files, whose code, if there is any, is refused and never run.

    Args:
        path: a file, or a folder with one model.
        container: which of the networks in a `.pt` file; None takes the first there is of
            generator_ema, generator, model and state_dict.
        lora: a file of PEFT's low-rank updates, merged in float32: W + B A alpha / rank.
        lora_alpha: their alpha; None: each update's rank, as in LongLive.

    Raises:
        CheckpointError: if a file is missing, damaged, refused, or not of such a format.
    """
    state = _to_wan(read_state(Path(path), container, _CONTAINERS), path)
    if any(".lora_" in name for name in state):
        raise CheckpointError(
            f"{path} holds low-rank updates (LoRA) rather than weights; give it as lora, beside "
            "the weights that it updates"
        )
    if lora is not None:
        updates = _to_wan(read_state(Path(lora), None, _LORA_CONTAINERS), lora)
        _merge_lora(state, updates, lora_alpha, lora)
    return state


def to_diffusers(state: Mapping[str, Tensor]) -> State:
    """Wan's names to those of diffusers' `WanTransformer3DModel`; the tensors are shared.

    Raises:
        CheckpointError: if a weight has no place there.
    """
    for name in state:
        if name.startswith("control_embedding."):
            raise CheckpointError(
                f"{name} has no counterpart in diffusers; export a model without control_dim"
            )
    return {to_diffusers_name(name): weight for name, weight in state.items()}


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load every weight, or nothing.

    Args:
        module: a `VideoTransformer` or any module.
        state: weights under the module's names; converted to its parameters' type.
        source: where they come from, for the message.

    Raises:
        CheckpointError: if weights are missing, left over or of another shape; compares the sizes.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misfits = [
        f"{name} ({_shape(state[name])}, not {_shape(own[name])})"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if not (missing or unexpected or misfits):
        module.load_state_dict(dict(state))
        return
    findings = (
        ("lacks", missing),
        ("holds, unasked for,", unexpected),
        ("has other shapes of", misfits),
    )
    found = "; it ".join(f"{verb} {some(names)}" for verb, names in findings if names)
    theirs, ours = _size(state), _size(own)
    if theirs == ours:
        remedy = "configure the model as the one that was saved"
    else:
        remedy = f"it is a model of {theirs}, this one is of {ours}: choose the model that fits"
    raise CheckpointError(f"{source} does not fit this model: it {found}; {remedy}")


def _to_wan(state: State, source: str | Path) -> State:
    named = {bare_name(name): weight for name, weight in state.items()}
    if is_diffusers(named):
        named = {to_wan_name(name): weight for name, weight in named.items()}
    if len(named) != len(state):
        raise CheckpointError(
            f"{source} holds some weights twice, under different prefixes; save one of each"
        )
    return named


def _merge_lora(state: State, updates: State, alpha: float | None, source: str | Path) -> None:
    parts: dict[str, State] = {}
    for name, weight in updates.items():
        match = re.fullmatch(r"(.+)\.lora_([AB])(?:\.\w+)?\.weight", name)
        if match is None or f"{match[1]}.weight" not in state:
            raise CheckpointError(
                f"{source} holds {name}, which updates nothing in these weights; give PEFT's "
                "lora_A and lora_B of this model"
            )
        parts.setdefault(f"{match[1]}.weight", {})[match[2]] = weight.float()
    for name, part in parts.items():
        weight = state[name]
        fits = part.keys() == {"A", "B"} and part["A"].shape[0] == part["B"].shape[1]
        if not fits or (part["B"].shape[0], part["A"].shape[1]) != weight.shape:
            raise CheckpointError(
                f"{source} updates {name} by factors that do not make its shape {_shape(weight)}; "
                "give the file that belongs to these weights"
            )
        scale = 1.0 if alpha is None else alpha / part["A"].shape[0]
        merged = weight.float() + scale * (part["B"] @ part["A"])
        state[name] = merged.to(weight.dtype)


def _size(state: Mapping[str, Tensor]) -> str:
    layers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    size = [f"{len(layers)} layers"]
    for label, name, axis in (
        ("dim", "patch_embedding.weight", 0),
        ("ffn_dim", "blocks.0.ffn.0.weight", 0),
        ("input channels", "patch_embedding.weight", 1),
        ("text_dim", "text_embedding.0.weight", 1),
        ("control_dim", "control_embedding.weight", 1),
    ):
        if name in state and state[name].ndim > axis:
            size.append(f"{label} {state[name].shape[axis]}")
    return ", ".join(size)


def _shape(weight: Tensor) -> str:
    return " x ".join(map(str, weight.shape)) or "a number"
