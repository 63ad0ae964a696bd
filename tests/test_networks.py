"""Networks of published weights: equal to independent implementations."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny_weights
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cf.metrics.extractors.files import read_state
from cf.metrics.extractors.names import clip_names, dino_names
from cf.metrics.extractors.towers import Clip, ImageTower
from cf.metrics.extractors.vision_transformer import VisionTransformer

transformers = pytest.importorskip("transformers")


def near(one: Tensor, other: Tensor, by: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=by, atol=by)


def separate(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Joined queries, keys and values taken apart; `names` says where each goes."""
    made = {}
    for joined, pattern in names.items():
        for kind in ("weight", "bias"):
            name = next(x for x in (f"{joined}.{kind}", f"{joined}_{kind}") if x in state)
            for letter, part in zip("qkv", state[name].chunk(3), strict=True):
                made[f"{pattern.format(letter)}.{kind}"] = part
    return made


def hugging_vit(state: dict[str, Tensor], stack: str, scaled: bool) -> dict[str, Tensor]:
    """Transformers' names of a ViT, written out here on purpose and not taken from the package."""
    top = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    norms = ("norm1", "norm2") if scaled else ("layernorm_before", "layernorm_after")
    made = {theirs: state[ours] for ours, theirs in top.items() if ours in state}
    for number in range(2):
        ours, theirs = f"blocks.{number}", f"{stack}.{number}"
        made |= separate(state, {f"{ours}.attn.qkv": theirs + ".attention.{}_proj"})
        for kind in ("weight", "bias"):
            for old, new in zip(("norm1", "norm2"), norms, strict=True):
                made[f"{theirs}.{new}.{kind}"] = state[f"{ours}.{old}.{kind}"]
            made[f"{theirs}.attention.o_proj.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
            for layer in ("mlp.fc1", "mlp.fc2"):
                made[f"{theirs}.{layer}.{kind}"] = state[f"{ours}.{layer}.{kind}"]
        if scaled:
            for one in "12":
                made[f"{theirs}.layer_scale{one}.lambda1"] = state[f"{ours}.ls{one}.gamma"]
    return made


def their_vit(state: dict[str, Tensor]) -> Any:
    config = transformers.ViTConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        image_size=64,
        patch_size=16,
        layer_norm_eps=1e-6,
    )
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(hugging_vit(state, "layers", scaled=False))
    return model


def their_dinov2(state: dict[str, Tensor]) -> Any:
    config = transformers.Dinov2Config(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
    )
    model = transformers.Dinov2Model(config).eval()
    model.load_state_dict(hugging_vit(state, "encoder.layer", scaled=True))
    return model


def their_clip(state: dict[str, Tensor]) -> Any:
    tower = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    words = len(state["token_embedding.weight"])
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1}
    config = transformers.CLIPConfig(
        text_config={**tower, "vocab_size": words, **ends},
        vision_config={**tower, "image_size": 64, "patch_size": 32},
        projection_dim=64,
    )
    model = transformers.CLIPModel(config).eval()
    made = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    kinds = ("weight", "bias")
    for kind in kinds:
        made[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        made[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        made[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj"}
    parts |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for where, prefix in (("vision_model", "visual."), ("text_model", "")):
        for number in range(2):
            ours = f"{prefix}transformer.resblocks.{number}"
            theirs = f"{where}.encoder.layers.{number}"
            made |= separate(state, {f"{ours}.attn.in_proj": theirs + ".self_attn.{}_proj"})
            for new, old in parts.items():
                made |= {f"{theirs}.{new}.{kind}": state[f"{ours}.{old}.{kind}"] for kind in kinds}
    model.load_state_dict(made)
    return model


@torch.no_grad()
def test_dino_equals_an_independent_vit() -> None:
    state = tiny_weights.dino()
    pictures = torch.randn(3, 3, 64, 64)
    theirs = their_vit(state)(pixel_values=pictures).last_hidden_state[:, 0]
    near(VisionTransformer.of(state)(pictures), theirs)


@torch.no_grad()
def test_dinov2_equals_an_independent_one() -> None:
    state = tiny_weights.dino(patch=14, grid=5, second=True)
    pictures = torch.randn(3, 3, 70, 70)
    theirs = their_dinov2(state)(pixel_values=pictures).last_hidden_state[:, 0]
    near(VisionTransformer.of(state)(pictures), theirs)


@torch.no_grad()
def test_clip_equals_an_independent_one_in_both_towers() -> None:
    state = tiny_weights.clip()
    ours, theirs = Clip.of(state), their_clip(state)
    pictures = torch.randn(3, 3, 64, 64)
    vision = theirs.visual_projection(theirs.vision_model(pictures).pooler_output)
    near(ours.visual(pictures), vision)
    tokens = torch.zeros(2, 77, dtype=torch.long)
    tokens[0, :5] = torch.tensor([598, 3, 44, 7, 599])
    tokens[1, :77] = torch.cat((torch.tensor([598]), torch.arange(1, 76), torch.tensor([599])))
    text = theirs.text_projection(theirs.text_model(input_ids=tokens).pooler_output)
    near(ours.encode_text(tokens), text)


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_what_transformers_saves_is_read(kind: str, tmp_path: Path) -> None:
    """The layout of the files on Hugging Face, which differs from that in memory."""
    state = tiny_weights.clip() if kind == "clip" else tiny_weights.dino(14, 5, second=True)
    model = their_clip(state) if kind == "clip" else their_dinov2(state)
    model.save_pretrained(tmp_path)
    read = read_state(tmp_path / "model.safetensors")
    assert "visual.conv1.weight" not in read
    assert "cls_token" not in read
    named = clip_names(read) if kind == "clip" else dino_names(read)
    assert named.keys() == state.keys()
    assert all(torch.equal(named[name], state[name]) for name in state)


def test_the_old_layout_of_vit_is_read() -> None:
    """As facebook/dino-vitb16 was published; its pooler was never trained and is dropped."""
    state = tiny_weights.dino()
    inside = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
    }
    inside |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    old = {"pooler.dense.weight": torch.zeros(1), "pooler.dense.bias": torch.zeros(1)}
    new = hugging_vit(state, "layers", scaled=False)
    old |= {name: x for name, x in new.items() if not name.startswith("layers.")}
    for number in range(2):
        theirs = f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            parts = state[f"blocks.{number}.attn.qkv.{kind}"].chunk(3)
            for part, x in zip(("query", "key", "value"), parts, strict=True):
                old[f"{theirs}.attention.attention.{part}.{kind}"] = x
            for ours, name in inside.items():
                old[f"{theirs}.{name}.{kind}"] = state[f"blocks.{number}.{ours}.{kind}"]
    named = dino_names(old)
    assert named.keys() == state.keys()
    assert all(torch.equal(named[name], state[name]) for name in state)


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (7, 7), (3, 4)])
def test_positions_are_interpolated_as_released(rows: int, columns: int) -> None:
    """By a factor that is a tenth of a patch too large; to the exact size differs."""
    network = VisionTransformer.of(tiny_weights.dino())
    grid = network.pos_embed[0, 1:].T.reshape(1, 128, 4, 4)
    factor = ((rows + 0.1) / math.sqrt(16), (columns + 0.1) / math.sqrt(16))
    expected = interpolate(grid, scale_factor=factor, mode="bicubic").flatten(2)[0].T
    made = network.positions(rows, columns)
    assert torch.equal(made[0, 1:], expected)
    assert torch.equal(made[0, 0], network.pos_embed[0, 0])
    plain = interpolate(grid, size=(rows, columns), mode="bicubic").flatten(2)[0].T
    assert 1e-4 < (plain - expected).abs().max() < 0.3


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ({"width": 768, "depth": 12, "patch": 16, "grid": 14, "second": False}, 85_798_656),
        ({"width": 384, "depth": 12, "patch": 14, "grid": 37, "second": True}, 22_056_576),
        ({"width": 768, "depth": 12, "patch": 14, "grid": 37, "second": True}, 86_580_480),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(
    shape: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        network = VisionTransformer(**shape)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("image", "text", "parameters"),
    [
        ((768, 12, 32, 7, 512), (512, 12, 77, 49408), 151_277_313),
        ((1024, 24, 14, 16, 768), (768, 12, 77, 49408), 427_616_513),
    ],
)
def test_clip_has_the_number_of_parameters_that_its_authors_print(
    image: tuple[int, ...], text: tuple[int, ...], parameters: int
) -> None:
    with torch.device("meta"):
        network = Clip(ImageTower(*image), *text)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


def test_weights_of_another_network_are_refused() -> None:
    state = tiny_weights.dino()
    with pytest.raises(ValueError, match=r"(?s)not the weights of DINO.*blocks.1.norm1.bias"):
        VisionTransformer.of({k: v for k, v in state.items() if k != "blocks.1.norm1.bias"})
    with pytest.raises(ValueError, match=r"(?s)not the weights of DINO.*register_tokens"):
        VisionTransformer.of({**state, "register_tokens": torch.zeros(1, 4, 128)})
    with pytest.raises(ValueError, match="not the weights of DINO"):
        VisionTransformer.of(tiny_weights.clip())
    with pytest.raises(ValueError, match="not the weights of a CLIP"):
        Clip.of(state)
