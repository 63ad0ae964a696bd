"""CLIP's vision tower as Wan2.1-I2V's authors store it, under the names of `transformers`."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from cf.models.stored import CheckpointError

_VISUAL, _TOWER, _HEAD_WIDTH = "visual.", "vision_model.", 80
_TOP = {
    "patch_embedding": "embeddings.patch_embedding",
    "pre_norm": "pre_layrnorm",  # as transformers spells it
    "post_norm": "post_layernorm",
}
_IN_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}


def is_original_clip(names: Iterable[str]) -> bool:
    """Whether these are the authors' names of a CLIP with a vision tower."""
    return {"visual.patch_embedding.weight", "visual.pos_embedding"} <= {*names}


def to_transformers_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The vision tower's weights, under the names of `CLIPVisionModel`; the rest is left out.

    Queries, keys and values lie in one matrix there, in this order.
    """
    renamed: dict[str, Tensor] = {}
    for key in state:
        name = key.removeprefix(_VISUAL)
        if name == key or name.startswith("head"):
            continue
        if name == "cls_embedding":
            renamed["embeddings.class_embedding"] = state[key].flatten()
        elif name == "pos_embedding":
            renamed["embeddings.position_embedding.weight"] = state[key][0]
        elif match := re.fullmatch(r"transformer\.(\d+)\.(.+)\.(weight|bias)", name):
            at, part, kind = match.groups()
            layer = f"encoder.layers.{at}"
            if part == "attn.to_qkv":
                for letter, third in zip("qkv", state[key].chunk(3), strict=True):
                    renamed[f"{layer}.self_attn.{letter}_proj.{kind}"] = third
            else:
                renamed[f"{layer}.{_IN_BLOCK.get(part, part)}.{kind}"] = state[key]
        else:
            part, _, kind = name.rpartition(".")
            renamed[f"{_TOP.get(part, part)}.{kind}"] = state[key]
    return {_TOWER + name: weight for name, weight in renamed.items()}


def clip_config(tower: Mapping[str, Tensor], source: object) -> dict[str, Any]:
    """The settings of `CLIPVisionConfig` that make a tower of these weights.

    Raises:
        CheckpointError: weights that tell a size are missing.
    """
    try:
        patches = tower[f"{_TOWER}embeddings.patch_embedding.weight"]
        places = tower[f"{_TOWER}embeddings.position_embedding.weight"]
        inner = tower[f"{_TOWER}encoder.layers.0.mlp.fc1.weight"]
    except KeyError as error:
        raise CheckpointError(
            f"{source} is no CLIP of Wan2.1-I2V: it lacks {error.args[0]}; give "
            "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth, or the folder image_encoder "
            "in diffusers' layout"
        ) from None
    width, size = patches.shape[0], patches.shape[-1]
    layers = {name.split(".")[3] for name in tower if ".encoder.layers." in name}
    return {
        "hidden_size": width,
        "intermediate_size": inner.shape[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(width // _HEAD_WIDTH, 1),
        "image_size": round((len(places) - 1) ** 0.5) * size,
        "patch_size": size,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


class StretchToSquare:
    """Pictures as Wan's authors hand them to CLIP: stretched to a square, nothing cut off."""

    _MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's own pictures
    _STD = (0.26862954, 0.26130258, 0.27577711)

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures in [0, 1] as the tower takes them."""
        size = (self.side, self.side)
        image = torch.nn.functional.interpolate(pictures, size, mode="bicubic", align_corners=False)
        mean, std = (image.new_tensor(x).view(3, 1, 1) for x in (self._MEAN, self._STD))
        return (image - mean) / std
