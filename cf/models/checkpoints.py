"""Weights in and out: our one-file export, and the formats in which others publish Wan models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cf.files.atomic import replacing
from cf.models.headers import order_metadata
from cf.models.kinds import channels
from cf.models.merged import Weights
from cf.models.pickles import CONTAINERS
from cf.models.published import one_network, published_weights
from cf.models.releases import update_of
from cf.models.rope_tables import rope_of, tables_among
from cf.models.stored import CheckpointError as CheckpointError
from cf.models.stored import State, shown_shape, some
from cf.models.updates import Lora, joined_updates, lora_files, read_updates
from cf.models.weight_files import (
    is_safetensors,
    one_file,
    read_safetensors,
    read_stored,
    refuse_foreign,
)

_CONFIG_KEY = "cf"
LORA_CONTAINERS = ("generator_lora", "lora", "state_dict", "model", "module")
"""Of networks in a pickle, those that hold updates, best first."""


def save_export(
    path: str | Path, module_state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> None:
    """Write weights and their configuration as one safetensors file.

    The file appears complete or not at all; a file of that name is replaced. Equal weights and
    configurations make equal bytes.

    Args:
        path: the file; missing folders are made.
        module_state: a module's state dict, no two entries of which share memory.
        config: what rebuilds the module; anything that JSON can hold.
    """
    metadata = export_metadata(config)
    state = {name: weight.detach().cpu().contiguous() for name, weight in module_state.items()}
    with replacing(path) as temporary:
        save_file(state, temporary, metadata)
        order_metadata(temporary)


def export_metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """What the header of an export says."""
    return {_CONFIG_KEY: json.dumps(dict(config)), "format": "pt"}


def exported_config(said: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that a header carries; empty if there is none."""
    try:
        config = json.loads(said.get(_CONFIG_KEY) or "{}")
    except (ValueError, RecursionError, TypeError):  # of numbers too long, brackets too deep
        return {}
    return config if isinstance(config, dict) else {}


def read_export(path: str | Path) -> tuple[dict[str, Any], State]:
    """Configuration and weights of a file that `save_export` wrote.

    Args:
        path: the file, or a folder that holds no other safetensors file.

    Raises:
        CheckpointError: if it is missing, damaged, or not an export.
    """
    file = one_file(Path(path))
    if not is_safetensors(file):
        refuse_foreign(file)
        export = file.absolute().parent.parent / "network.safetensors"
        if file.suffix == ".ckpt" and export.is_file():
            raise CheckpointError(
                f"{file} is a checkpoint from which a training goes on, not the network that it "
                f"makes; give {export}"
            )
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
    except (ValueError, RecursionError):  # of numbers too long and brackets too deep as well
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} carries a damaged configuration; export it again")
    return config, state


def load_weights(
    path: str | Path,
    container: str | None = None,
    lora: Lora = None,
    lora_alpha: float | None = None,
) -> Weights:
    """Weights under Wan's own names, from any format in which such models are published.

    Takes our export, plain safetensors, shards with their index, a folder with one of these,
    diffusers' `WanTransformer3DModel`, 8-bit weights with their scales, models saved under PEFT,
    and `.pt` files, whose code, if there is any, is refused and never run.

    Args:
        path: a file, or a folder with one model.
        container: which of the networks in a file; None takes the first there is of
            generator_ema, generator, model and state_dict.
        lora: files of updates that are merged in float32, see `lora_files`: each adds
            strength * (B A alpha / rank), its biases and its norms.
        lora_alpha: alpha of those that are not given their own; None: as their files say, or else
            each update's rank, as in LongLive.

    Raises:
        CheckpointError: if a file is missing, damaged, refused, or not of such a format.
    """
    if lora is None and (update := update_of(path)):
        raise CheckpointError(
            f"{path} is half of a model: it was released with the LoRA {Path(update).name}; give "
            f"weights.lora={update}, or weights.lora=[] for what it makes without"
        )
    stored = read_stored(Path(path), container, CONTAINERS)
    files = lora_files(lora, lora_alpha)
    if _CONFIG_KEY not in stored.said:
        raw, makers, updates = published_weights(stored, path, container, lora_alpha)
    elif container is None:
        raw, makers, updates = stored.state, {}, {}
    else:
        raise one_network(path, container)
    read = [updates]
    for file in files:
        stored_update = read_stored(Path(file.path), None, LORA_CONTAINERS)
        read.append(read_updates(stored_update, raw, file.strength, file.alpha))
    return Weights(raw, makers, joined_updates(read))


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | None = None,
) -> None:
    """Load every weight, or nothing.

    Args:
        module: a `VideoTransformer` or any module; parameters of the meta device get memory now.
        state: weights under the module's names; converted to its parameters' type.
        source: where they come from, for the message.
        device: where parameters of the meta device shall lie; None: on the CPU.

    Raises:
        CheckpointError: if weights are missing, left over or of another shape; compares the sizes.
    """
    refuse_misfit(module, state, source)
    targets = module.state_dict()
    raw = state.raw if isinstance(state, Weights) else state
    refuse_not_finite(raw, source)
    fresh: State = {}
    with torch.no_grad():
        for name, target in targets.items():
            if target.is_meta:
                target = fresh[name] = torch.empty_like(target, device=device or "cpu")
            target.copy_(weight := state[name])
            refuse_not_finite({name: weight}, source)
    if fresh:
        module.load_state_dict(fresh, strict=False, assign=True)


def refuse_misfit(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Compare names and shapes; no weight is read.

    Args:
        module: on any device, the meta device as well.
        state: weights under the module's names.
        source: where they come from, for the message.

    Raises:
        CheckpointError: if weights are missing, left over or of another shape; compares the sizes.
    """
    expected = module.state_dict()
    raw = state.raw if isinstance(state, Weights) else state
    missing = [name for name in expected if name not in raw]
    unexpected = [name for name in raw if name not in expected]
    if rope := rope_of(module):
        tables = tables_among(state, unexpected, rope, source)
        unexpected = [name for name in unexpected if name not in tables]
    misfits = [
        f"{name} ({shown_shape(raw[name])}, not {shown_shape(expected[name])})"
        for name in expected
        if name in raw and raw[name].shape != expected[name].shape
    ]
    findings = (
        ("lacks", missing),
        ("holds, unasked for,", unexpected),
        ("has other shapes of", misfits),
    )
    problems = "; it ".join(f"{verb} {some(names)}" for verb, names in findings if names)
    if not problems:
        return
    theirs, ours = _size(raw), _size(expected)
    if theirs == ours:
        remedy = "configure the model as the one that was saved"
    else:
        remedy = f"it is a model of {theirs}, this one is of {ours}: choose the model that fits"
        if "img_emb.proj.1.weight" in raw or "reference channels" in theirs:
            remedy += _image_settings(raw)
    raise CheckpointError(f"{source} does not fit this model: it {problems}; {remedy}")


def refuse_not_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that hold NaN or infinity.

    Raises:
        CheckpointError: names the tensors.
    """
    broken = [name for name, weight in state.items() if weight.numel() and not _finite(weight)]
    if broken:
        raise CheckpointError(
            f"{source} holds NaN or infinite numbers in {some(broken)}: its training diverged, or "
            "the file is damaged; give an earlier checkpoint, or copy it again"
        )


def _finite(weight: Tensor) -> bool:
    if weight.is_meta:  # made when it is asked for, and looked at then
        return True
    if weight.is_complex():
        weight = torch.view_as_real(weight)
    if weight.element_size() == 1:
        weight = weight.float()
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(weight))


def _size(state: Mapping[str, Tensor]) -> str:
    layers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    size = [f"{len(layers)} layers"]
    for label, name, axis in (
        ("dim", "patch_embedding.weight", 0),
        ("ffn_dim", "blocks.0.ffn.0.weight", 0),
        ("input channels", "patch_embedding.weight", 1),
        ("text_dim", "text_embedding.0.weight", 1),
        ("control_dim", "control_embedding.weight", 1),
        ("image_dim", "img_emb.proj.1.weight", 1),
    ):
        if name in state and state[name].ndim > axis:
            size.append(f"{label} {state[name].shape[axis]}")
    if more := _reference(state):
        size.append(f"reference channels {more}")
    return ", ".join(size)


def _reference(state: Mapping[str, Tensor]) -> int:
    """Channels that an image-to-video model takes beside the latents that it makes."""
    if "patch_embedding.weight" not in state:
        return 0
    takes, makes = channels(state)
    return takes - makes


def _image_settings(state: Mapping[str, Tensor]) -> str:
    branch = state.get("img_emb.proj.1.weight")
    width = "null" if branch is None else branch.shape[1]
    return f", with image_dim={width} and reference_channels={_reference(state)}"
