"""Reduced random weights in the layouts in which students of Wan2.1 are published."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_text
import torch
from safetensors.torch import save_file
from tiny import model
from torch import Tensor

from cf.models.names import to_diffusers_name

SIZES: dict[str, Any] = {
    "dim": 48,
    "num_heads": 2,
    "num_layers": 2,
    "ffn_dim": 64,
    "freq_dim": 8,
    "text_dim": 16,
    "latent_shape": [16, 2, 4],
    "patch_size": [2, 2],
}
MODEL = tuple(f"model.{name}={value}".replace(" ", "") for name, value in SIZES.items())
REDUCED = (*MODEL, "size=[16,32]", "dtype=float32")
"""What is typed beside a preset for weights of this size."""
BASE = "Wan2.1-T2V-1.3B-Diffusers"


def network(seed: int = 0) -> dict[str, Tensor]:
    """Weights of the reduced architecture under Wan's own names."""
    return model(torch.float32, seed, control_dim=None, **SIZES).state_dict()


def base(root: Path) -> Path:
    """The folders of the base in diffusers' layout: codec, text encoder, tokenizer, transformer."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    place = tiny_text.published(root / BASE)
    vae = diffusers.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 2, 2], num_res_blocks=1)
    vae.save_pretrained(place / "vae")
    twin = diffusers.WanTransformer3DModel(
        num_attention_heads=SIZES["num_heads"],
        attention_head_dim=SIZES["dim"] // SIZES["num_heads"],
        text_dim=SIZES["text_dim"],
        freq_dim=SIZES["freq_dim"],
        ffn_dim=SIZES["ffn_dim"],
        num_layers=SIZES["num_layers"],
    )
    twin.load_state_dict({to_diffusers_name(k): v for k, v in network(9).items()})
    twin.save_pretrained(place / "transformer")
    return place


def saved(path: Path, **networks: dict[str, Tensor]) -> Path:
    """A `.pt` of several networks, each under the name of its container."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {k: {f"model.{n}": x for n, x in one.items()} for k, one in networks.items()}
    torch.save(named, path)
    return path


def students(root: Path) -> None:
    """Four students, each in a layout of its own."""
    saved(
        root / "Self-Forcing/checkpoints/self_forcing_dmd.pt",
        generator=network(0),
        generator_ema=network(1),
    )
    saved(root / "LongLive-1.3B/models/longlive_base.pt", generator=network(2))
    updates = {}
    for name, weight in network(2).items():
        if name.startswith("blocks.") and weight.ndim == 2:
            at = f"base_model.model.{name.removesuffix('.weight')}"
            updates[f"{at}.lora_A.weight"] = 0.1 * torch.randn(4, weight.shape[1])
            updates[f"{at}.lora_B.weight"] = 0.1 * torch.randn(weight.shape[0], 4)
    torch.save({"generator_lora": updates}, root / "LongLive-1.3B/models/lora.pt")
    saved(root / "Infinite-Forcing/ema_model.pt", generator_ema=network(3))
    saved(
        root / "RollingForcing/checkpoints/rolling_forcing_dmd.pt",
        generator=network(4),
        generator_ema=network(5),
        critic=network(6),
    )


def original(place: Path) -> None:
    """The base's transformer as its first repository has it, and the configuration beside it."""
    save_file(network(9), place / "diffusion_pytorch_model.safetensors")
    (place / "config.json").write_text('{"_class_name": "WanModel", "model_type": "t2v"}')


def image_to_video(place: Path) -> None:
    """A reduced Wan2.1-I2V as its authors publish it: shards of the transformer, and CLIP."""
    transformers = pytest.importorskip("transformers")
    place.mkdir(parents=True)
    more: dict[str, Any] = {"image_dim": 160, "reference_channels": 20}
    state = model(torch.float32, 9, control_dim=None, **SIZES, **more).state_dict()
    shards = [dict(list(state.items())[i::2]) for i in range(2)]
    names = [f"diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, place / name)
    where = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {}, "weight_map": where}
    (place / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (place / "config.json").write_text('{"_class_name": "WanModel", "model_type": "i2v"}')
    torch.manual_seed(4)
    sizes = {"hidden_size": 160, "intermediate_size": 32, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14, "hidden_act": "gelu"}
    tower = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes)).eval()
    torch.save(
        original_clip(tower.state_dict()),
        place / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    )


def original_clip(tower: dict[str, Tensor]) -> dict[str, Tensor]:
    """A tower's weights under the names of Wan's authors, and some of the text's beside them."""
    made = {"visual.head": torch.zeros(160, 8), "textual.token_embedding.weight": torch.zeros(3, 4)}
    plain = {n.removeprefix("vision_model."): x for n, x in tower.items()}
    made["visual.cls_embedding"] = plain["embeddings.class_embedding"].view(1, 1, -1)
    made["visual.pos_embedding"] = plain["embeddings.position_embedding.weight"][None]
    made["visual.patch_embedding.weight"] = plain["embeddings.patch_embedding.weight"]
    for kind in ("weight", "bias"):
        made[f"visual.pre_norm.{kind}"] = plain[f"pre_layrnorm.{kind}"]
        made[f"visual.post_norm.{kind}"] = plain[f"post_layernorm.{kind}"]
        for i in range(3):
            of = {
                n: plain[f"encoder.layers.{i}.{n}.{kind}"]
                for n in ("layer_norm1", "layer_norm2", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
            }
            for name, x in zip(
                ("norm1", "norm2", "attn.proj", "mlp.0", "mlp.2"), of.values(), strict=True
            ):
                made[f"visual.transformer.{i}.{name}.{kind}"] = x
            made[f"visual.transformer.{i}.attn.to_qkv.{kind}"] = torch.cat(
                [plain[f"encoder.layers.{i}.self_attn.{one}_proj.{kind}"] for one in "qkv"]
            )
    return made
