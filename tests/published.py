"""Reduced random weights in the layouts in which students of Wan2.1 are published."""

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
