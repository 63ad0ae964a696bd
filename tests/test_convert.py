"""Export to the authors', diffusers' and our own names: there and back is the identity."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_wan_layouts import original_text, original_vae, vae
from tiny import model
from tiny_text import published
from torch import Tensor

import cf.models.convert
from cf.models.checkpoints import load_weights, read_export, save_export
from cf.models.convert import convert
from cf.models.layouts import cf_model, sizes_of
from cf.models.text import UMT5
from cf.models.vae import WanVAE
from cf.settings.build import build
from cf.weights import main

State = dict[str, Tensor]
SIZES = {"control_dim": None, "latent_shape": (16, 4, 4), "text_dim": 8}
IMAGE = {**SIZES, "image_dim": 6, "reference_channels": 20}


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def saved(tmp_path: Path, dtype: torch.dtype = torch.bfloat16, **sizes: Any) -> tuple[State, str]:
    state = dict(model(torch.float32, **{**SIZES, **sizes}).to(dtype).state_dict())
    save_file(state, tmp_path / "first.safetensors")
    return state, str(tmp_path / "first.safetensors")


@pytest.mark.parametrize("sizes", [SIZES, IMAGE], ids=["t2v", "i2v"])
@pytest.mark.parametrize("way", [("diffusers", "original"), ("cf", "diffusers", "cf", "original")])
def test_a_transformer_comes_back_bit_for_bit(
    tmp_path: Path, sizes: dict[str, Any], way: tuple[str, ...]
) -> None:
    state, file = saved(tmp_path, **sizes)
    at = file
    for i, to in enumerate(way):
        at = str(tmp_path / str(i))
        convert(
            file if i == 0 else str(tmp_path / str(i - 1)), at, to, num_heads=2 if i == 0 else None
        )
    assert same(load_file(Path(at) / "diffusion_pytorch_model.safetensors"), state)
    config = json.loads((Path(at) / "config.json").read_text())
    kind = "i2v" if "image_dim" in sizes else "t2v"
    assert config["model_type"] == kind
    assert (config["num_heads"], config["num_layers"]) == (2, 2)


def test_diffusers_and_we_build_what_was_written(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    state, file = saved(tmp_path, torch.float32, **IMAGE)
    convert(file, str(tmp_path / "theirs"), "diffusers", num_heads=2)
    twin = diffusers.WanTransformer3DModel.from_config(
        diffusers.WanTransformer3DModel.load_config(tmp_path / "theirs")
    )
    written = load_file(tmp_path / "theirs" / "diffusion_pytorch_model.safetensors")
    assert {k: v.shape for k, v in twin.state_dict().items()} == {
        k: v.shape for k, v in written.items()
    }
    convert(str(tmp_path / "theirs"), str(tmp_path / "ours.safetensors"), "cf")
    config, held = read_export(tmp_path / "ours.safetensors")
    assert same(held, state)
    network = build(config["model"], "model")
    network.load_state_dict(held)


def test_updates_are_merged_and_numbers_are_cast_where_asked(tmp_path: Path) -> None:
    state, file = saved(tmp_path, torch.float32)
    name = "blocks.0.self_attn.q"
    down, up = torch.randn(2, 24), torch.randn(24, 2)
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "l")
    given = [file, f"out={tmp_path / 'm.safetensors'}", "to=original", f"lora={tmp_path / 'l'}"]
    main(["convert", *given, "num_heads=2", "dtype=bfloat16"])
    merged = load_file(tmp_path / "m.safetensors")
    expected = load_weights(file, lora=str(tmp_path / "l"))[f"{name}.weight"]
    assert not torch.equal(expected, state[f"{name}.weight"])
    assert torch.equal(merged[f"{name}.weight"], expected.bfloat16())
    assert not (tmp_path / "config.json").exists()


def test_large_models_are_written_in_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cf.models.convert, "_SHARD", 20_000)
    state, file = saved(tmp_path)
    made = convert(file, str(tmp_path / "x"), "diffusers", num_heads=2)
    assert len([path for path in made if path.suffix == ".safetensors"]) > 2
    assert same(load_weights(tmp_path / "x"), state)


@pytest.mark.parametrize("kind", ["2.1", "2.2"])
def test_a_codec_comes_back_bit_for_bit(tmp_path: Path, kind: str) -> None:
    state = original_vae(vae(kind).state_dict())
    torch.save(state, tmp_path / f"Wan{kind}_VAE.pth")
    convert(str(tmp_path / f"Wan{kind}_VAE.pth"), str(tmp_path / "vae"), "diffusers")
    (again,) = convert(str(tmp_path / "vae"), str(tmp_path / "back"), "original")
    assert again.name == f"Wan{kind}_VAE.pth"
    assert same(torch.load(again, weights_only=True), state)
    latents = torch.randn(1, 1, len(state["conv2.weight"]), 1, 1)
    theirs = WanVAE.from_folder(str(tmp_path / "vae"))
    assert torch.equal(theirs.decode(latents), WanVAE.from_folder(str(again)).decode(latents))


def test_a_text_encoder_comes_back_bit_for_bit(tmp_path: Path) -> None:
    place = published(tmp_path)
    state = original_text(place)
    (file,) = convert(str(place / "text_encoder"), str(tmp_path / "o"), "original")
    assert same(torch.load(file, weights_only=True), state)
    convert(str(file), str(tmp_path / "t" / "text_encoder"), "diffusers")
    (tmp_path / "t" / "tokenizer").symlink_to(place / "tokenizer")
    one, other = (UMT5.from_folder(str(x), 8, "float32") for x in (place, tmp_path / "t"))
    assert torch.equal(one.encode(["a red cat"]), other.encode(["a red cat"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["to=onnx"], "to must be one of original, diffusers, cf, got 'onnx'"),
        (["to=diffusers"], "how many heads its 24 channels make; give num_heads="),
        (["to=diffusers", "num_heads=7"], "24 channels do not make num_heads=7"),
        (["to=diffusers", "num_heads=x"], "num_heads must be a whole number"),
        (["to=diffusers", "dtype=int8"], "dtype must be auto or one of"),
        (["to=diffusers", "head=2"], "convert takes no 'head'"),
        ([], "give to="),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    tmp_path: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = saved(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["convert", file, f"out={tmp_path / 'new'}", *given])
    assert message in str(ended.value.code) + capsys.readouterr().err
    assert not (tmp_path / "new").exists()


F = "blocks.0.ffn.2.bias"


@pytest.mark.parametrize("to", ["diffusers", "original", "cf"])
@pytest.mark.parametrize(
    ("changed", "dtype", "message"),
    [
        (lambda s: {k: x for k, x in s.items() if k != F}, None, f"it lacks {F}"),
        (lambda s: {**s, F: s[F][:-1]}, None, f"other shapes of {F}"),
        (
            lambda s: {**s, "blocks.0.gate.weight": s[F] + 1},
            None,
            "unasked for, blocks.0.gate.weight",
        ),
        (
            lambda s: {k.replace("blocks.", "blocks.1"): x for k, x in s.items()},
            None,
            "lacks blocks.0.ffn.0.weight",
        ),
        (lambda s: {**s, F: s[F] / 0}, None, f"holds NaN or infinite numbers in {F}"),
        (lambda s: {**s, F: s[F] * 1e9}, "float16", f"in {F} that float16 cannot hold"),
    ],
)
def test_what_is_no_whole_network_is_not_written_as_one(
    tmp_path: Path, to: str, changed: Any, dtype: str | None, message: str
) -> None:
    """Other programs draw at random what a file lacks, and leave out what they do not know."""
    state, _ = saved(tmp_path, torch.float32)
    save_file(changed({name: x.clone() for name, x in state.items()}), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=message):
        convert(str(tmp_path / "x.safetensors"), str(tmp_path / "n"), to, dtype=dtype, num_heads=2)
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("to", ["diffusers", "original"])
@pytest.mark.parametrize("part", ["codec", "text"])
@pytest.mark.parametrize("change", ["lost", "more", "shape"])
def test_what_is_no_whole_part_is_not_written_as_one(
    tmp_path: Path, to: str, part: str, change: str
) -> None:
    if part == "codec":
        state = original_vae(vae("2.1").state_dict())
        name, more = "decoder.middle.0.residual.2.bias", "decoder.more.weight"
    else:
        state = original_text(published(tmp_path))
        name, more = "blocks.1.ffn.fc2.weight", "blocks.1.more.weight"
    changed = {
        "lost": {key: x for key, x in state.items() if key != name},
        "more": {**state, more: state[name] + 1},
        "shape": {**state, name: state[name][:-1]},
    }[change]
    torch.save(changed, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth (lacks 1 of|holds .*more|has other shapes)"):
        convert(str(tmp_path / "x.pth"), str(tmp_path / "n"), to)
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    "own",
    [
        {"prediction": "x0"},
        {"rope_axes": [4, 4, 4]},
        {"rope_base": 500.0},
        {"eps": 1e-5},
        {"text_len": 77},
    ],
)
def test_an_export_keeps_what_no_shape_tells(tmp_path: Path, own: dict[str, Any]) -> None:
    """A layout that cannot say it is refused: the weights would be those of another network."""
    network = model(torch.float32, **SIZES, **own)
    first, second = tmp_path / "a" / "network.safetensors", tmp_path / "b"
    config = {"model": {**cf_model(sizes_of(network.state_dict(), 2, "")), **own}, "fps": 8}
    save_export(first, network.state_dict(), config)
    convert(str(first), str(second), "cf", dtype="bfloat16")
    assert read_export(second)[0] == config
    if own == {"rope_axes": [4, 4, 4]}:  # as Wan's are at this width
        convert(str(first), str(tmp_path / "c"), "diffusers")
        return
    for to in ("diffusers", "original"):
        with pytest.raises(ValueError, match=f"{next(iter(own))}=.*cannot say; give to=cf"):
            convert(str(first), str(tmp_path / "c"), to)
        assert not (tmp_path / "c").exists()


def test_nothing_is_written_over_and_nothing_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = saved(tmp_path)
    with pytest.raises(ValueError, match=r"out=.*first.safetensors exists"):
        convert(file, file, "original", num_heads=2)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cf.models.convert, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        convert(file, str(tmp_path / "new"), "diffusers", num_heads=2)
    assert not (tmp_path / "new").exists()
    control, _ = saved(tmp_path, control_dim=3)
    assert "control_embedding.weight" in control
    with pytest.raises(ValueError, match=r"control_embedding.*has no place; give to=cf"):
        convert(file, str(tmp_path / "new"), "diffusers", num_heads=2)
