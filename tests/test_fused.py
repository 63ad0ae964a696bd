"""Projections that trainers fuse into one matrix: split to the right values, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import draw, model, to_diffusers
from torch import Tensor

from cf.models.checkpoints import CheckpointError, load_weights

State = dict[str, Tensor]
RANK = 4
QKV = {
    "blocks.0.self_attn.qkv": [f"blocks.0.self_attn.{x}" for x in "qkv"],
    "blocks.0.cross_attn.kv": [f"blocks.0.cross_attn.{x}" for x in "kv"],
}
DIFFUSERS = {"self_attn.qkv": "attn1.to_qkv", "cross_attn.kv": "attn2.to_kv"}


@pytest.fixture(scope="module")
def state() -> State:
    return dict(model(torch.float32, num_layers=1, control_dim=None).state_dict())


@pytest.fixture(scope="module")
def base(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(state, file)
    return file


def check(loaded: Any, expected: State) -> None:
    assert loaded.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.allclose(loaded[name], weight, rtol=1e-6, atol=1e-6), name


def to_diffusers_module(module: str) -> str:
    for wan, theirs in DIFFUSERS.items():
        module = module.replace(wan, theirs)
    return module


SPELLINGS: dict[str, Callable[[str], tuple[str, str, str]]] = {
    "peft": lambda m: (f"base_model.model.{m}", "lora_A.weight", "lora_B.weight"),
    "adapter": lambda m: (f"base_model.model.{m}", "lora_A.mine.weight", "lora_B.mine.weight"),
    "diffusers": lambda m: (
        f"transformer.{to_diffusers_module(m)}",
        *("lora_A.weight", "lora_B.weight"),
    ),
    "kohya": lambda m: (
        f"lora_unet_{m.replace('.', '_')}",
        *("lora_down.weight", "lora_up.weight"),
    ),
    "kohya on diffusers": lambda m: (
        f"lora_unet_{to_diffusers_module(m).replace('.', '_')}",
        *("lora_down.weight", "lora_up.weight"),
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_factors_of_fused_projections_are_split(
    name: str, tmp_path: Path, base: Path, state: State
) -> None:
    """The rows of B A are those of q, k and v below each other, at alpha over A's rank."""
    lora, expected = {}, dict(state)
    for seed, (fused, owns) in enumerate(QKV.items()):
        dim = len(state[f"{owns[0]}.weight"])
        down = draw(RANK, dim, seed=seed).float()
        up = draw(len(owns) * dim, RANK, seed=9 + seed).float()
        bias = draw(len(owns) * dim, seed=19 + seed).float()
        module, a, b = SPELLINGS[name](fused)
        lora |= {f"{module}.{a}": down, f"{module}.{b}": up, f"{module}.alpha": torch.tensor(2.0)}
        lora[f"{module}.diff_b"] = bias
        whole = up.double() @ down.double() * 2 / RANK
        for i, own in enumerate(owns):
            rows = slice(i * dim, (i + 1) * dim)
            expected[f"{own}.weight"] = (state[f"{own}.weight"] + whole[rows]).float()
            expected[f"{own}.bias"] = state[f"{own}.bias"] + bias[rows]
    save_file(lora, tmp_path / "lora.safetensors")
    check(load_weights(base, lora=tmp_path / "lora.safetensors"), expected)


def test_factors_of_each_projection_by_number(tmp_path: Path, base: Path, state: State) -> None:
    """Kohya's `split_qkv`: each projection has factors of its own, and all one alpha."""
    lora, expected = {"lora_unet_blocks_0_self_attn_qkv.alpha": torch.tensor(8.0)}, dict(state)
    for i, own in enumerate(QKV["blocks.0.self_attn.qkv"]):
        dim = len(state[f"{own}.weight"])
        down, up = draw(RANK, dim, seed=i).float(), draw(dim, RANK, seed=9 + i).float()
        lora[f"lora_unet_blocks_0_self_attn_qkv.lora_down.{i}.weight"] = down
        lora[f"lora_unet_blocks_0_self_attn_qkv.lora_up.{i}.weight"] = up
        expected[f"{own}.weight"] = state[f"{own}.weight"] + 2 * up @ down
    save_file(lora, tmp_path / "lora.safetensors")
    check(load_weights(base, lora=tmp_path / "lora.safetensors"), expected)


def test_norms_of_fused_projections(tmp_path: Path, base: Path, state: State) -> None:
    """DoRA's norms of rows are split; those of columns are shared by all, and refused."""
    owns = QKV["blocks.0.self_attn.qkv"]
    whole = torch.cat([state[f"{own}.weight"] for own in owns])
    down, up = draw(RANK, whole.shape[1]).float(), draw(len(whole), RANK, seed=1).float()
    norms = 1 + draw(len(whole), 1, seed=2).float().abs()
    changed = whole + up @ down
    changed *= norms / changed.norm(dim=1, keepdim=True)
    expected = dict(state)
    for own, rows in zip(owns, changed.chunk(3), strict=True):
        expected[f"{own}.weight"] = rows
    name, file = "diffusion_model.blocks.0.self_attn.qkv", tmp_path / "lora.safetensors"
    factors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    for spelt in ({f"{name}.dora_scale": norms}, {f"{name}.lora_magnitude_vector": norms[:, 0]}):
        save_file({**factors, **{k: v.contiguous() for k, v in spelt.items()}}, file)
        check(load_weights(base, lora=file), expected)
    save_file({**factors, f"{name}.dora_scale": torch.ones(1, whole.shape[1])}, file)
    with pytest.raises(CheckpointError, match=r"qkv\.dora_scale, norms of columns .*; merge it"):
        load_weights(base, lora=file)


@pytest.mark.parametrize("kind", ["wan", "diffusers", "8 bits"])
def test_fused_weights_are_split(kind: str, tmp_path: Path, state: State) -> None:
    expected, fused = dict(state), dict(state)
    for module, owns in QKV.items():
        for part in ("weight", "bias"):
            whole = torch.cat([fused.pop(f"{own}.{part}") for own in owns])
            if kind == "8 bits" and part == "weight":
                scale = 0.1 + draw(len(whole), 1, seed=3).float().abs()
                fused[f"{module}.scale_weight"] = scale
                whole = (whole / scale).to(torch.float8_e4m3fn)
                for own, rows in zip(owns, (whole.float() * scale).chunk(len(owns)), strict=True):
                    expected[f"{own}.weight"] = rows
            fused[f"{module}.{part}"] = whole
    if kind == "diffusers":
        fused = {to_diffusers_module(name): x for name, x in to_diffusers(fused).items()}
        fused["blocks.0.attn1.to_k.bias"] = state["blocks.0.self_attn.k.bias"]  # as it was kept
    save_file(fused, tmp_path / "fused.safetensors")
    check(load_weights(tmp_path / "fused.safetensors"), expected)
    of = "self_attn.k.weight" if kind != "diffusers" else "attn1.to_k.weight"
    fused[f"blocks.0.{of}"] = state["blocks.0.self_attn.k.weight"] + 1
    save_file(fused, tmp_path / "fused.safetensors")
    with pytest.raises(CheckpointError, match=rf"{of} by itself and, with other numbers, within"):
        load_weights(tmp_path / "fused.safetensors")


def test_rows_that_make_no_equal_parts_are_refused(tmp_path: Path, base: Path) -> None:
    name = "diffusion_model.blocks.0.self_attn.qkv"
    lora = {f"{name}.lora_A.weight": torch.ones(4, 24), f"{name}.lora_B.weight": torch.ones(73, 4)}
    save_file(lora, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"qkv.lora_B.weight of 73 x 4, whose rows do not"):
        load_weights(base, lora=tmp_path / "lora.safetensors")
