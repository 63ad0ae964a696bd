"""From the names that authors gave their published weights to those of Hugging Face's layout."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

State = dict[str, Tensor]
Table = Sequence[tuple[str, str]]
"""Patterns and what takes their place, one after the other."""

_DINO: Table = (
    (r"^(cls_token|mask_token)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.", r"encoder.layer.\1."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.qkv\.", ".attention.attention.qkv."),
)
_DINO_1: Table = (
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_DINO_2: Table = ((r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),)
_CLIP: Table = (
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^text_projection$", "text_projection.weight"),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),  # spelt so in all published files
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.attn\.in_proj_", ".self_attn.qkv."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def dino_names(state: Mapping[str, Tensor]) -> State:
    """DINO's or DINOv2's weights as Hugging Face lays them out; a pooler, untrained, is dropped."""
    if "cls_token" in state:
        table = (*_DINO, *(_DINO_2 if "mask_token" in state else _DINO_1))
        return _renamed(state, table, ("query", "key", "value"))
    bare = {re.sub(r"^(vit|dinov2)\.", "", name): x for name, x in state.items()}
    return {name: x for name, x in bare.items() if not name.startswith(("pooler.", "classifier."))}


def clip_names(state: Mapping[str, Tensor]) -> State:
    """CLIP's weights as Hugging Face lays them out."""
    if "visual.conv1.weight" not in state:
        return {name: x for name, x in state.items() if not name.endswith("position_ids")}
    weights = {name: x for name, x in state.items() if name not in _NO_WEIGHTS}
    renamed = _renamed(weights, _CLIP, ("q_proj", "k_proj", "v_proj"))
    return {name: x.T if name.endswith("_projection.weight") else x for name, x in renamed.items()}


def depth(state: Mapping[str, Tensor], blocks: str) -> int:
    """How many blocks there are, whose names begin with `blocks` and their number.

    >>> import torch
    >>> depth({"layer.0.a": torch.zeros(1), "layer.1.a": torch.zeros(1)}, "layer.")
    2
    """
    return len({x.removeprefix(blocks).split(".")[0] for x in state if x.startswith(blocks)})


def _renamed(state: Mapping[str, Tensor], table: Table, parts: tuple[str, str, str]) -> State:
    """By a table; queries, keys and values that lie in one tensor come apart as `parts`."""
    renamed: State = {}
    for name, x in state.items():
        for pattern, new in table:
            name = re.sub(pattern, new, name)
        if ".qkv." in name:
            renamed |= {
                name.replace(".qkv.", f".{part}."): piece
                for part, piece in zip(parts, x.chunk(3), strict=True)
            }
        else:
            renamed[name] = x
    return renamed
