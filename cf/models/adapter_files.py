"""A role's factors as files: the folder that PEFT writes, and any LoRA to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from cf.files.atomic import replacing
from cf.models.checkpoints import LORA_CONTAINERS
from cf.models.low_rank import RoleLinear, is_factor
from cf.models.start import is_same
from cf.models.stored import CheckpointError, some
from cf.models.updates import read_updates
from cf.models.weight_files import read_stored

if TYPE_CHECKING:
    from cf.models.adapters import AdaptedBackbone

_OWN, _PEFT = "factors.", "base_model.model."


def save_adapter(folder: Path, network: AdaptedBackbone, factors: Mapping[str, Tensor]) -> None:
    """Write what PEFT calls an adapter, by its names; `weights.lora=FOLDER` merges it.

    Each file appears complete or not at all; what was there is replaced.

    Args:
        folder: made if it is missing.
        network: the role.
        factors: its state dict.
    """
    settings = network.settings
    config = {
        "peft_type": "LORA",
        "r": settings.r,
        "lora_alpha": settings.r if settings.lora_alpha is None else settings.lora_alpha,
        "target_modules": list(settings.target_modules),
        "lora_dropout": 0.0,
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
        "task_type": None,
        "base_model_name_or_path": None,
    }
    state = {
        _PEFT + name.removeprefix(_OWN): factor.detach().cpu().contiguous()
        for name, factor in factors.items()
    }
    with replacing(folder / "adapter_model.safetensors") as temporary:
        save_file(state, temporary, {"format": "pt"})
    with replacing(folder / "adapter_config.json") as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def begin_with(network: AdaptedBackbone, path: str, sha256: str | None) -> None:
    """Give a role the factors of a LoRA.

    Args:
        network: the role.
        path: the LoRA's folder or file.
        sha256: what `fingerprint` said of it when the run began; None: it begins now.

    Raises:
        CheckpointError: it is missing, damaged, another than it was, or changes other layers, or by
            another rank.
    """
    where = f"adapters.{network.role.partition('_')[0]}"
    if sha256 is not None and not is_same(path, sha256):
        raise CheckpointError(
            f"{path} ({where}.path) is another LoRA than when this run began; put that back, or "
            "start a new run"
        )
    weights = {k: v for k, v in network.network.state_dict().items() if not is_factor(k)}
    updates = read_updates(read_stored(Path(path), None, LORA_CONTAINERS), weights, 1.0, None)
    names = {f"{layer}.weight" for layer in network.layers}
    if differing := sorted(updates.keys() ^ names):
        raise CheckpointError(
            f"{path} changes other layers than {where}.target_modules says: {some(differing)}; "
            "name the layers that it changes"
        )
    for name, (update,) in updates.items():
        if update.down is None or update.up is None or not _plain(update):
            raise CheckpointError(
                f"{path} does more to {name} than B A, which cannot go on training; merge it: "
                "start.*.lora"
            )
        if len(update.down) != network.settings.r:
            raise CheckpointError(
                f"{path} has rank {len(update.down)}; give {where}.r={len(update.down)}"
            )
        layer, role = network.network.get_submodule(name.removesuffix(".weight")), network.role
        assert isinstance(layer, RoleLinear)
        a, b = layer.lora_A[role].weight, layer.lora_B[role].weight
        assert isinstance(a, Tensor)
        assert isinstance(b, Tensor)
        a.copy_(update.down.flatten(1))
        b.copy_(update.up.flatten(1).to(b) * (update.scale / network.settings.scale))


def _plain(update: object) -> bool:
    others = ("magnitude", "up_bias", "add", "value")
    return all(getattr(update, name) is None for name in others)
