"""Codec and text encoder out of the authors' own folder, diffusers' folders, and single files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_text import published
from torch import Tensor

from cf.models.pretrained import TEXT, VAE, find_part
from cf.models.stored import CheckpointError
from cf.models.text import UMT5
from cf.models.text_names import to_original_text, to_transformers_text
from cf.models.vae import WanVAE
from cf.models.vae_names import to_diffusers_vae, to_original_vae, vae_config

State = dict[str, Tensor]
KINDS: dict[str, dict[str, Any]] = {
    "2.1": {"z_dim": 16},
    "2.2": {
        "z_dim": 48,
        "is_residual": True,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
        "decoder_base_dim": 8,
    },
}


def vae(kind: str, **sizes: Any) -> Any:
    """Diffusers' module of that kind, small and random."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    small: dict[str, Any] = {"base_dim": 4, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
    made = diffusers.AutoencoderKLWan(**{**small, **KINDS[kind], **sizes})
    for parameter in made.parameters():
        parameter.requires_grad_(False).add_(0.1 * torch.randn_like(parameter))
    return made


def original_vae(state: State) -> State:
    names = to_original_vae(state)
    return {names[name]: weight for name, weight in state.items()}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("diffusers"))


def original_text(folder: Path) -> State:
    state = load_file(folder / "text_encoder" / "model.safetensors")
    named = {to_original_text(name): weight for name, weight in state.items()}
    return {name: weight for name, weight in named.items() if name}


# The codec


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_original_vae_is_diffusers_own(tmp_path: Path, kind: str, suffix: str) -> None:
    """From the model's folder, beside a transformer's config.json, and from the file alone."""
    theirs = vae(kind)
    file = tmp_path / f"Wan{kind}_VAE.{suffix}"
    (torch.save if suffix == "pth" else save_file)(original_vae(theirs.state_dict()), file)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "WanModel", "dim": 1536}))
    if kind == "2.2":
        config = vae_config(original_vae(theirs.state_dict()), file)
        theirs.register_to_config(
            latents_mean=config["latents_mean"], latents_std=config["latents_std"]
        )
    expected = WanVAE(theirs)
    for place in (tmp_path, file):
        mine = WanVAE.from_folder(str(place))
        assert (mine.channels, mine.time_stride) == (KINDS[kind]["z_dim"], 4)
        assert mine.space_stride == {"2.1": 8, "2.2": 16}[kind]
        side = mine.space_stride
        video = torch.rand(1, 5, 3, side, 2 * side)
        latents = expected.encode(video)
        assert torch.equal(mine.encode(video), latents)
        assert torch.equal(mine.decode(latents), expected.decode(latents))
    decode = mine.decoder()
    streamed = torch.cat([decode(frame) for frame in latents.split(1, 1)], 1)
    assert torch.allclose(streamed, mine.decode(latents), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_the_vae_as_published(kind: str) -> None:
    """At full size: what the authors' files are known to hold, and there and back."""
    diffusers = pytest.importorskip("diffusers")
    full = {"2.1": {}, "2.2": {"base_dim": 160, "decoder_base_dim": 256}}[kind]
    settings = {"temperal_downsample": [False, True, True], **KINDS[kind], **full}
    with torch.device("meta"):
        state = diffusers.AutoencoderKLWan(**settings).state_dict()
    theirs = original_vae(state)
    assert to_diffusers_vae(theirs) == {new: old for old, new in to_original_vae(state).items()}
    known = {
        "2.1": {
            "encoder.downsamples.2.resample.1.weight": (96, 96, 3, 3),
            "encoder.downsamples.3.shortcut.weight": (192, 96, 1, 1, 1),
            "encoder.downsamples.5.time_conv.weight": (192, 192, 3, 1, 1),
            "encoder.downsamples.10.residual.6.weight": (384, 384, 3, 3, 3),
            "decoder.upsamples.3.time_conv.weight": (768, 384, 3, 1, 1),
            "decoder.upsamples.3.resample.1.weight": (192, 384, 3, 3),
            "decoder.upsamples.14.residual.3.gamma": (96, 1, 1, 1),
        },
        "2.2": {
            "encoder.conv1.weight": (160, 12, 3, 3, 3),
            "encoder.downsamples.0.downsamples.2.resample.1.weight": (160, 160, 3, 3),
            "encoder.downsamples.1.downsamples.2.time_conv.weight": (320, 320, 3, 1, 1),
            "encoder.downsamples.3.downsamples.1.residual.6.weight": (640, 640, 3, 3, 3),
            "decoder.conv1.weight": (1024, 48, 3, 3, 3),
            "decoder.upsamples.0.upsamples.3.time_conv.weight": (2048, 1024, 3, 1, 1),
            "decoder.upsamples.3.upsamples.2.residual.6.weight": (256, 256, 3, 3, 3),
        },
    }[kind] | {"conv1.bias": None, "decoder.middle.1.to_qkv.weight": None}
    known |= dict.fromkeys(("encoder.middle.2.residual.2.bias", "decoder.head.2.bias"))
    for name, shape in known.items():
        assert shape in (None, tuple(theirs[name].shape)), name
    config = vae_config(theirs, "x")
    with torch.device("meta"):
        again = diffusers.AutoencoderKLWan(**config).state_dict()
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in state.items()}


def test_names_of_the_vae_are_those_that_diffusers_converts() -> None:
    utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    state = vae("2.1").state_dict()
    converted = utils.convert_wan_vae_to_diffusers(original_vae(state))
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], state[name]) for name in state)


def test_another_vae_is_refused(tmp_path: Path) -> None:
    state = original_vae(vae("2.1").state_dict())
    torch.save({**state, "conv2.weight": torch.ones(8, 8, 1, 1, 1)}, tmp_path / "Wan2.1_VAE.pth")
    with pytest.raises(CheckpointError, match=r"a VAE of 8 channels, .*16 or 48"):
        WanVAE.from_folder(str(tmp_path))
    del state["decoder.head.0.gamma"]
    torch.save(state, tmp_path / "Wan2.1_VAE.pth")
    with pytest.raises(CheckpointError, match=r"lacks 1 .* such as decoder.norm_out.gamma"):
        WanVAE.from_folder(str(tmp_path))
    (tmp_path / "Wan2.2_VAE.pth").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"several of these: Wan2.1_VAE.pth, Wan2.2_VAE.pth"):
        WanVAE.from_folder(str(tmp_path))
    with pytest.raises(CheckpointError, match="a web page"):
        WanVAE.from_folder(str(tmp_path / "Wan2.2_VAE.pth"))


@pytest.mark.parametrize("part", [VAE, TEXT])
def test_a_transformers_config_is_not_taken_for_another_parts(tmp_path: Path, part: Any) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "WanTransformer3DModel"}')
    with pytest.raises(FileNotFoundError, match=rf"is of WanTransformer3DModel.*{part.example}"):
        find_part(str(tmp_path), part)


@pytest.mark.parametrize("layout", ["fp16", "bin", "shards"])
def test_variants_and_pickles_of_a_codecs_folder_are_read(tmp_path: Path, layout: str) -> None:
    theirs = vae("2.1")
    place = tmp_path / "vae"
    sizes = {"max_shard_size": "40KB"} if layout == "shards" else {}
    theirs.save_pretrained(
        place,
        safe_serialization=layout != "bin",
        variant="fp16" if layout == "fp16" else None,
        **sizes,
    )
    assert not (place / "diffusion_pytorch_model.safetensors").exists()
    latents = torch.randn(1, 2, 16, 2, 2)
    loaded = WanVAE.from_folder(str(tmp_path))
    assert torch.equal(loaded.decode(latents), WanVAE(theirs).decode(latents))


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "first_stage_model."])
def test_any_prefix_of_a_part_falls_away(tmp_path: Path, text: Path, prefix: str) -> None:
    theirs = vae("2.1")
    state = {prefix + name: x for name, x in original_vae(theirs.state_dict()).items()}
    torch.save({"state_dict": state}, tmp_path / "Wan2.1_VAE.pth")
    video = torch.rand(1, 5, 3, 8, 16)
    loaded = WanVAE.from_folder(str(tmp_path))
    assert torch.equal(loaded.encode(video), WanVAE(theirs).encode(video))
    torch.save({prefix + name: x for name, x in original_text(text).items()}, tmp_path / "t5.pth")
    mine = UMT5.from_folder(str(tmp_path / "t5.pth"), 8, "float32", tokenizer=str(text))
    expected = UMT5.from_folder(str(text), 8, "float32")
    assert torch.equal(mine.encode(["a cat"]), expected.encode(["a cat"]))


def test_parts_are_found_in_a_file_of_all_of_them(tmp_path: Path, text: Path) -> None:
    """As checkpoints of ComfyUI are; `shared.weight` stands alone in its own part."""
    theirs = vae("2.1")
    words = load_file(text / "text_encoder" / "model.safetensors")
    state = {f"vae.{name}": x for name, x in original_vae(theirs.state_dict()).items()}
    state |= {f"text_encoders.umt5xxl.transformer.{name}": x for name, x in words.items()}
    state |= {"model.diffusion_model.patch_embedding.weight": torch.ones(2, 16, 1, 2, 2)}
    file = tmp_path / "all.safetensors"
    save_file({name: x.clone() for name, x in state.items()}, file)
    video = torch.rand(1, 5, 3, 8, 16)
    expected = WanVAE(theirs).encode(video)
    assert torch.equal(WanVAE.from_folder(str(file)).encode(video), expected)
    mine = UMT5.from_folder(str(file), 8, "float32", tokenizer=str(text))
    whole = UMT5.from_folder(str(text), 8, "float32")
    assert torch.equal(mine.encode(["a cat"]), whole.encode(["a cat"]))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e30])
def test_a_part_that_is_not_finite_is_refused(tmp_path: Path, text: Path, number: float) -> None:
    state = original_vae(vae("2.1").state_dict())
    state["conv2.bias"] = torch.full_like(state["conv2.bias"], number)
    torch.save(state, tmp_path / "Wan2.1_VAE.pth")
    words = original_text(text)
    words["norm.weight"] = torch.full_like(words["norm.weight"], number)
    torch.save(words, tmp_path / "t5.pth")
    told = "holds NaN or infinite numbers in" if number != 1e30 else "that float16 cannot hold"
    with pytest.raises(CheckpointError, match=told):
        WanVAE.from_folder(str(tmp_path), dtype="float16")
    with pytest.raises(CheckpointError, match=told):
        UMT5.from_folder(str(tmp_path / "t5.pth"), 8, "float16", tokenizer=str(text))


# The text encoder


@pytest.mark.parametrize("kind", ["folder", "file", "gguf"])
def test_the_original_text_encoder_is_transformers_own(
    tmp_path: Path, text: Path, kind: str
) -> None:
    state = original_text(text)
    assert {"token_embedding.weight", "norm.weight", "blocks.1.ffn.gate.0.weight"} <= state.keys()
    assert "blocks.0.pos_embedding.embedding.weight" in state
    (tmp_path / "google").mkdir()
    words = tmp_path / "google" / "umt5-xxl"
    words.symlink_to(text / "tokenizer")
    file = tmp_path / "models_t5_umt5-xxl-enc-bf16.pth"
    if kind == "gguf":
        file = tmp_path / "umt5-xxl-encoder-F32.gguf"
        write_llama(file, state)
    else:
        torch.save(state, file)
    (tmp_path / "config.json").write_text('{"_class_name": "WanModel"}')
    given = {"folder": str(tmp_path if kind == "folder" else file)}
    mine = UMT5.from_folder(**given, text_len=8, dtype="float32")
    expected = UMT5.from_folder(str(text), text_len=8, dtype="float32")
    prompts = ["a red cat runs", ""]
    assert torch.equal(mine.encode(prompts), expected.encode(prompts))
    words.unlink()
    with pytest.raises(FileNotFoundError, match=r"no tokenizer found.*google/umt5-xxl"):
        UMT5.from_folder(str(tmp_path))
    told = UMT5.from_folder(str(file), 8, "float32", tokenizer=str(text))
    assert torch.equal(told.encode(prompts), mine.encode(prompts))


def write_llama(file: Path, state: State) -> None:
    """As llama.cpp names an umT5 encoder."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(file, "t5encoder")
    table = {
        "token_embedding": "token_embd",
        "pos_embedding.embedding": "attn_rel_b",
        "ffn.gate.0": "ffn_gate",
        "ffn.fc1": "ffn_up",
        "ffn.fc2": "ffn_down",
        "norm1": "attn_norm",
        "norm2": "ffn_norm",
        "attn.": "attn_",
        "blocks.": "enc.blk.",
    }
    for name, weight in state.items():
        named = "enc.output_norm.weight" if name == "norm.weight" else name
        for ours, theirs in table.items():
            named = named.replace(ours, theirs)
        writer.add_tensor(named, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_names_of_the_text_encoder_come_back(text: Path) -> None:
    state = load_file(text / "text_encoder" / "model.safetensors")
    for name in state:
        if original := to_original_text(name):
            assert to_transformers_text(original) == name


def test_a_text_encoder_of_another_model_is_refused(tmp_path: Path, text: Path) -> None:
    file = tmp_path / "models_t5_umt5-xxl-enc-bf16.pth"
    torch.save({"blocks.0.norm1.weight": torch.ones(2)}, file)
    with pytest.raises(CheckpointError, match=r"is no umT5 encoder: it lacks shared.weight; give"):
        UMT5.from_folder(str(file), tokenizer=str(text))
    torch.save({**original_text(text), "head.weight": torch.ones(2)}, file)
    with pytest.raises(CheckpointError, match=r"holds head.weight, for which .* no place"):
        UMT5.from_folder(str(file), tokenizer=str(text))
