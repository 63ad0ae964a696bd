"""From the Hugging Face layout of published weights to the names that their authors gave them."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]

_DINO = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.mask_token": "mask_token",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_DINO_BLOCK = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "norm1": "norm1",
    "norm2": "norm2",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_CLIP = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
    "logit_scale": "logit_scale",
}
_CLIP_BLOCK = {
    "layer_norm1": "ln_1",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_CLIP_BLOCKS = {
    "vision_model": "visual.transformer.resblocks",
    "text_model": "transformer.resblocks",
}
_DINO_QKV = ("query", "key", "value")
_CLIP_QKV = ("q_proj", "k_proj", "v_proj")


def dino_names(state: Mapping[str, Tensor]) -> State:
    """DINO's or DINOv2's own names; a state that has them already is left as it is.

    What the authors' files do not hold (a pooler) is dropped.
    """
    if "cls_token" in state:
        return dict(state)
    bare = {name.removeprefix("vit.").removeprefix("dinov2."): x for name, x in state.items()}
    bare = {name: x for name, x in bare.items() if not name.startswith(("pooler.", "classifier."))}
    block = re.compile(r"encoder\.layer\.(\d+)\.(.*)")
    packed, rest = _packed(bare, r"encoder\.layer\.(\d+)\.attention\.attention\.", _DINO_QKV)
    made = {f"blocks.{place[0]}.attn.qkv.{kind}": x for (*place, kind), x in packed.items()}
    for name, x in rest.items():
        inside = block.fullmatch(name)
        if inside:
            made[f"blocks.{inside[1]}.{_renamed(inside[2], _DINO_BLOCK)}"] = x
        else:
            made[_renamed(name, _DINO)] = x
    return made


def clip_names(state: Mapping[str, Tensor]) -> State:
    """OpenAI's names; a state that has them already is left as it is."""
    if "visual.conv1.weight" in state:
        return dict(state)
    bare = {name: x for name, x in state.items() if not name.endswith("position_ids")}
    block = re.compile(r"(\w+_model)\.encoder\.layers\.(\d+)\.(.*)")
    start = r"(\w+_model)\.encoder\.layers\.(\d+)\.self_attn\."
    packed, rest = _packed(bare, start, _CLIP_QKV)
    made = {
        f"{_CLIP_BLOCKS[tower]}.{number}.attn.in_proj_{kind}": x
        for (tower, number, kind), x in packed.items()
    }
    for name, x in rest.items():
        inside = block.fullmatch(name)
        if inside:
            made[f"{_CLIP_BLOCKS[inside[1]]}.{inside[2]}.{_renamed(inside[3], _CLIP_BLOCK)}"] = x
        else:
            made[_renamed(name, _CLIP)] = x.T if name.endswith("_projection.weight") else x
    return made


def _packed(
    state: Mapping[str, Tensor], start: str, parts: tuple[str, ...]
) -> tuple[dict[tuple[str, ...], Tensor], State]:
    """Queries, keys and values joined, by the groups of `start` and their kind; and the rest."""
    found: dict[tuple[str, ...], dict[str, Tensor]] = {}
    rest: State = {}
    pattern = re.compile(f"{start}({'|'.join(parts)})\\.(weight|bias)")
    for name, x in state.items():
        match = pattern.fullmatch(name)
        if match:
            *place, part, kind = match.groups()
            found.setdefault((*place, kind), {})[part] = x
        else:
            rest[name] = x
    packed = {place: torch.cat([all_[part] for part in parts]) for place, all_ in found.items()}
    return packed, rest


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name
