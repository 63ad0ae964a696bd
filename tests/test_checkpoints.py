"""Weights in and out: every published format, every refusal."""

import json
import os
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import to_diffusers
from torch import Tensor

from cf.files.pickled import load_tensors
from cf.models import checkpoints
from cf.models.checkpoints import (
    CheckpointError,
    load_into,
    load_weights,
    read_export,
    save_export,
)
from cf.models.names import bare_name, to_diffusers_name, to_wan_name
from cf.models.transformer import VideoTransformer
from cf.types import Conditioning

State = dict[str, Tensor]
CONFIG: dict[str, Any] = {"model": {"dim": 24, "patch_size": [2, 2]}, "fps": 16.0}


def tiny(seed: int = 0, **sizes: Any) -> VideoTransformer:
    torch.manual_seed(seed)
    defaults: dict[str, Any] = {
        "dim": 24,
        "num_heads": 2,
        "num_layers": 2,
        "ffn_dim": 32,
        "latent_shape": (4, 4, 4),
        "text_dim": 10,
        "text_len": 6,
        "freq_dim": 16,
    }
    network = VideoTransformer(**{**defaults, **sizes})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5)
    return network


@pytest.fixture(scope="module")
def state() -> State:
    return dict(tiny().state_dict())


def same(loaded: State, expected: State) -> bool:
    return loaded.keys() == expected.keys() and all(
        torch.equal(loaded[name], expected[name]) for name in expected
    )


# Our own file


def test_an_export_comes_back(tmp_path: Path, state: State) -> None:
    file = tmp_path / "made" / "network.safetensors"
    save_export(file, state, CONFIG)
    config, loaded = read_export(file)
    assert config == CONFIG
    assert same(loaded, state)
    assert same(load_weights(str(file)), state)
    assert read_export(str(file.parent))[0] == CONFIG
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_an_export_keeps_types_and_control(tmp_path: Path) -> None:
    state = dict(tiny(control_dim=3).to(torch.bfloat16).state_dict())
    save_export(tmp_path / "x.safetensors", state, {})
    loaded = load_weights(tmp_path / "x.safetensors")
    assert same(loaded, state)
    assert loaded["control_embedding.weight"].dtype == torch.bfloat16


def test_an_interrupted_export_leaves_the_old_file(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "network.safetensors"
    save_export(file, state, CONFIG)

    def half_written(_: State, path: Path, __: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", half_written)
    with pytest.raises(KeyboardInterrupt):
        save_export(file, state, {"other": 1})
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    assert read_export(file)[0] == CONFIG


def test_what_is_not_an_export_is_refused(tmp_path: Path, state: State) -> None:
    with pytest.raises(CheckpointError, match=r"absent does not exist; give"):
        read_export(tmp_path / "absent")
    with pytest.raises(CheckpointError, match=r"is a folder .* but holds none"):
        read_export(tmp_path)
    for name in ("a", "b"):
        save_export(tmp_path / "two" / f"{name}.safetensors", state, CONFIG)
    with pytest.raises(CheckpointError, match=r"holds several, a.safetensors, b.safetensors"):
        read_export(tmp_path / "two")
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x.pt is not a safetensors file"):
        read_export(tmp_path / "x.pt")
    save_file(state, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match=r"foreign.safetensors was not exported here"):
        read_export(tmp_path / "foreign.safetensors")
    for config in ("{", "3", "[" * 9000):
        save_file(state, tmp_path / "odd.safetensors", {"cf": config})
        with pytest.raises(CheckpointError, match=r"carries a damaged configuration"):
            read_export(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_truncated_file_is_named(tmp_path: Path, state: State, share: float, kind: str) -> None:
    file = tmp_path / f"network.{kind}"
    if kind == "pt":
        torch.save({"generator": state}, file)
    else:
        save_export(file, state, CONFIG)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=rf"network.{kind} is (truncated|damaged|empty)"):
        load_weights(file)
    with pytest.raises(CheckpointError, match=rf"network.{kind} is (truncated|empty|not a saf)"):
        read_export(file)


# Published formats


@pytest.mark.parametrize(
    "prefix",
    ["", "model.", "module.", "_orig_mod.", "base_model.model.", "model._fsdp_wrapped_module."],
)
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_prefixes_fall_away(tmp_path: Path, state: State, prefix: str, kind: str) -> None:
    file = tmp_path / f"x.{kind}"
    prefixed = {prefix + name: weight for name, weight in state.items()}
    (save_file if kind == "safetensors" else torch.save)(prefixed, file)
    assert same(load_weights(file), state)


def test_wrappers_inside_names_fall_away() -> None:
    assert bare_name("model.blocks.0._fsdp_wrapped_module.norm3.bias") == "blocks.0.norm3.bias"
    assert bare_name("module.model._orig_mod.head.modulation") == "head.modulation"


def test_a_weight_under_two_prefixes_is_refused(tmp_path: Path, state: State) -> None:
    save_file({**state, "model.head.head.bias": state["head.head.bias"] + 1}, tmp_path / "x")
    with pytest.raises(CheckpointError, match="twice"):
        load_weights(tmp_path / "x")


@pytest.mark.parametrize(
    ("there", "asked", "taken"),
    [
        (("critic", "generator"), None, "generator"),
        (("generator", "generator_ema"), None, "generator_ema"),
        (("generator", "generator_ema"), "generator", "generator"),
        (("model", "generator"), None, "generator"),
        (("critic", "generator"), "critic", "critic"),
        (("model",), None, "model"),
        (("state_dict",), None, "state_dict"),
    ],
)
def test_a_network_is_chosen(
    tmp_path: Path, there: tuple[str, ...], asked: str | None, taken: str
) -> None:
    states = {name: tiny(i, num_layers=1).state_dict() for i, name in enumerate(there)}
    torch.save({**states, "step": 7}, tmp_path / "x.pt")
    assert same(load_weights(tmp_path / "x.pt", container=asked), dict(states[taken]))


def test_a_network_that_is_not_there_is_refused(tmp_path: Path, state: State) -> None:
    file = tmp_path / "x.pt"
    torch.save({"critic": state, "discriminator": state, "step": 7}, file)
    with pytest.raises(CheckpointError, match=r"holds critic, discriminator, but generator_ema or"):
        load_weights(file)
    with pytest.raises(CheckpointError, match=r"but generator was looked for; say which"):
        load_weights(file, container="generator")
    for nothing in ({"step": 7}, 3, [state]):
        torch.save(nothing, file)
        with pytest.raises(CheckpointError, match="holds no named network"):
            load_weights(file)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="leave container='generator' out"):
        load_weights(tmp_path / "x.safetensors", container="generator")


def test_an_old_pickle_of_tensors_is_read(tmp_path: Path, state: State) -> None:
    torch.save({"generator": state}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert same(load_weights(tmp_path / "x.pt"), state)


class Malicious:
    """Would leave a trace if it were unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("write", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, state: State, write: str) -> None:
    file, trace = tmp_path / "x.pt", tmp_path / "trace"
    content = {"generator": state, "extra": Malicious(trace)}
    if write == "pickle":
        file.write_bytes(pickle.dumps({"extra": Malicious(trace)}, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=write == "zip")
    with pytest.raises(CheckpointError, match=r"x.pt was refused and nothing in it was run.*mkdir"):
        load_weights(file)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_export(file)
    assert not trace.exists()
    if write == "pickle":
        pickle.loads(file.read_bytes())  # the trap does work
        assert trace.exists()


# Folders and diffusers


def in_shards(state: State, folder: Path, count: int = 3) -> None:
    folder.mkdir(parents=True)
    names, where = sorted(state), {}
    for i in range(count):
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"
        save_file({name: state[name] for name in names[i::count]}, folder / file)
        where |= dict.fromkeys(names[i::count], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize("place", ["", "transformer"])
def test_shards_are_joined(tmp_path: Path, state: State, place: str) -> None:
    in_shards(state, tmp_path / "published" / place)
    assert same(load_weights(tmp_path / "published"), state)


def test_a_damaged_folder_is_refused(tmp_path: Path, state: State) -> None:
    in_shards(state, tmp_path / "x")
    (tmp_path / "x" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"x lacks the shard model-00002-of-00003"):
        load_weights(tmp_path / "x")
    for index in ("{", "{}", "[]"):
        (tmp_path / "x" / "model.safetensors.index.json").write_text(index)
        with pytest.raises(CheckpointError, match=r"index.json is damaged"):
            load_weights(tmp_path / "x")


def diffusers_twin(state: State) -> Any:
    """The model of diffusers with these weights."""
    diffusers = pytest.importorskip("diffusers")
    twin = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=10,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
    )
    load_into(twin, to_diffusers(state), "the twin")
    return twin.eval()


def test_diffusers_computes_the_same_and_its_files_come_back(tmp_path: Path, state: State) -> None:
    twin, network = diffusers_twin(state), tiny(seed=1)
    for folder, options in (("one", {}), ("shards", {"max_shard_size": "20KB"})):
        twin.save_pretrained(tmp_path / folder, **options)
        assert same(load_weights(tmp_path / folder), state)
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    load_into(network, load_weights(tmp_path / "shards"), "shards")

    x_t, text = torch.randn(2, 3, 4, 4, 6), torch.randn(2, 6, 10)
    t = torch.tensor([0.25, 0.9])
    with torch.no_grad():
        mine = network(x_t, t[:, None].expand(-1, 3), Conditioning(text)).velocity
        theirs = twin(x_t.transpose(1, 2), 1000 * t, text, return_dict=False)[0].transpose(1, 2)
    assert theirs.std() > 0.1
    assert (mine - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_image_to_video_names_map_too() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        ffn_dim=32,
        num_layers=1,
        image_dim=8,
        added_kv_proj_dim=24,
    ).state_dict()
    wan = {to_wan_name(name) for name in theirs}
    assert {to_diffusers_name(name) for name in wan} == theirs.keys()
    assert {"img_emb.proj.3.bias", "blocks.0.cross_attn.norm_k_img.weight"} <= wan


# Low-rank updates


def low_rank(state: State, rank: int = 4) -> tuple[State, State]:
    """Updates of every linear layer of the blocks, and the full matrices that they stand for."""
    generator = torch.Generator().manual_seed(3)
    updates, full = {}, {}
    for name, weight in state.items():
        if re.search(r"blocks.*(\.[qkvo]|ffn\.\d)\.weight", name):
            a = torch.randn(rank, weight.shape[1], generator=generator)
            b = torch.randn(weight.shape[0], rank, generator=generator)
            target = f"base_model.model.{name.removesuffix('.weight')}"
            updates |= {f"{target}.lora_A.weight": a, f"{target}.lora_B.weight": b}
            full[name] = b @ a
    assert len(full) == 20
    return updates, full


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (4.0, 1.0), (8.0, 2.0)])
def test_low_rank_updates_are_merged(
    tmp_path: Path, state: State, alpha: float | None, scale: float
) -> None:
    updates, full = low_rank(state)
    torch.save({"generator": {f"model.{k}": v for k, v in state.items()}}, tmp_path / "base.pt")
    torch.save({"generator_lora": updates, "critic_lora": updates, "step": 3}, tmp_path / "lora.pt")
    save_file(updates, tmp_path / "lora.safetensors")
    for file in ("lora.pt", "lora.safetensors"):
        merged = load_weights(tmp_path / "base.pt", lora=str(tmp_path / file), lora_alpha=alpha)
        for name, weight in state.items():
            expected = weight + scale * full[name] if name in full else weight
            assert torch.allclose(merged[name], expected, atol=1e-6), name


def test_low_rank_updates_are_added_in_float32(tmp_path: Path, state: State) -> None:
    updates, full = low_rank(state)
    half = {name: weight.bfloat16() for name, weight in state.items()}
    save_file(half, tmp_path / "base.safetensors")
    save_file(updates, tmp_path / "lora.safetensors")
    merged = load_weights(tmp_path / "base.safetensors", lora=tmp_path / "lora.safetensors")
    for name, update in full.items():
        assert torch.equal(merged[name], (half[name].float() + update).bfloat16())


def test_diffusers_low_rank_names_are_understood(tmp_path: Path, state: State) -> None:
    updates, full = low_rank(state)
    names = [name.removeprefix("base_model.model.") for name in updates]
    theirs = {
        f"transformer.{to_diffusers_name(name)}": updates[f"base_model.model.{name}"]
        for name in names
    }
    save_file(state, tmp_path / "base.safetensors")
    save_file(theirs, tmp_path / "lora.safetensors")
    merged = load_weights(tmp_path / "base.safetensors", lora=tmp_path / "lora.safetensors")
    assert all(torch.allclose(merged[k], state[k] + full[k], atol=1e-6) for k in full)


def test_low_rank_updates_that_do_not_belong_are_refused(tmp_path: Path, state: State) -> None:
    base, lora = tmp_path / "base.safetensors", tmp_path / "lora.safetensors"
    save_file(state, base)
    good, _ = low_rank(state)
    target = "base_model.model.blocks.0.self_attn.q"
    for change, message in (
        ({f"{target}.lora_magnitude_vector": torch.ones(23)}, "do not make its shape 24 x 24"),
        ({"blocks.9.ffn.0.lora_A.weight": torch.ones(4, 24)}, "updates nothing in these weights"),
        ({f"{target}.lora_A.weight": torch.ones(4, 23)}, "do not make its shape 24 x 24"),
        ({f"{target}.lora_A.weight": torch.ones(3, 24)}, "do not make its shape 24 x 24"),
    ):
        save_file(good | change, lora)
        with pytest.raises(CheckpointError, match=message):
            load_weights(base, lora=lora)
    save_file({f"{target}.lora_A.weight": torch.ones(4, 24)}, lora)
    with pytest.raises(CheckpointError, match="do not make its shape"):
        load_weights(base, lora=lora)
    with pytest.raises(CheckpointError, match=r"lora.safetensors holds low-rank updates"):
        load_weights(lora)
    torch.save({"critic_lora": good}, tmp_path / "lora.pt")
    with pytest.raises(CheckpointError, match="holds critic_lora, but generator_lora"):
        load_weights(base, lora=tmp_path / "lora.pt")


# Into a module


def test_weights_take_the_type_of_the_module(state: State) -> None:
    network = tiny(seed=1).to(torch.bfloat16)
    load_into(network, state, "x")
    assert same(dict(network.state_dict()), {k: v.bfloat16() for k, v in state.items()})


def test_another_size_is_told_in_words(state: State) -> None:
    network = tiny(seed=1, num_layers=3, ffn_dim=48, control_dim=3)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(network, state, "x.safetensors")
    message = str(caught.value)
    assert message.startswith("x.safetensors does not fit this model: it lacks control_embedding.")
    assert (
        "and 26 more; it has other shapes of blocks.0.ffn.0.weight (32 x 24, not 48 x 24)"
        in message
    )
    assert "2 layers, dim 24, ffn_dim 32, input channels 4, text_dim 10, this one is of" in message
    assert "3 layers, dim 24, ffn_dim 48, input channels 4, text_dim 10, control_dim 3" in message
    assert same(dict(network.state_dict()), before)


def test_missing_and_left_over_weights_are_named(state: State) -> None:
    odd = {name: weight for name, weight in state.items() if name != "head.head.bias"}
    with pytest.raises(CheckpointError, match=r"it lacks head.head.bias; it holds, unasked for, n"):
        load_into(tiny(), {**odd, "n": torch.ones(1)}, "x")


def test_the_weights_of_the_peers_load(reference: Path) -> None:
    state = load_weights(reference / "wan_tiny.safetensors")
    network = VideoTransformer(
        64, 4, 2, 128, latent_shape=(16, 8, 8), text_dim=24, text_len=8, freq_dim=32
    )
    load_into(network, state, "wan_tiny.safetensors")
    assert same(dict(network.state_dict()), load_file(reference / "wan_tiny.safetensors"))


_TWO_GIGABYTES = b"J" + struct.pack("<i", 2 * 10**9)
BOMBS = {
    "builtins.bytearray": b"cbuiltins\nbytearray\n" + _TWO_GIGABYTES + b"\x85R",
    "__builtin__.bytearray": b"c__builtin__\nbytearray\n" + _TWO_GIGABYTES + b"\x85R",
    "_codecs.encode": b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": (
        b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n)R"
    ),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_takes_no_memory_that_its_file_does_not_have(
    tmp_path: Path, state: State, name: str, old: bool
) -> None:
    """PyTorch itself calls these, also where it reads weights only."""
    whole, file = tmp_path / "whole.pt", tmp_path / "bomb.pt"
    torch.save(state, whole, _use_new_zipfile_serialization=not old)
    bomb = b"\x80\x02" + BOMBS[name] + b"."
    if old:
        file.write_bytes(bomb)
    else:
        _repacked(whole, file, bomb)
    with pytest.raises(CheckpointError, match=f"nothing in it was run: .* it names {name};"):
        load_weights(file)


def _repacked(
    whole: Path, file: Path, description: bytes, compression: int = zipfile.ZIP_STORED
) -> None:
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w", compression) as target:
        for one in source.infolist():
            mine = one.filename.endswith("data.pkl")
            target.writestr(one.filename, description if mine else source.read(one))


def test_a_description_is_measured_before_it_is_unpacked(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "whole.pt")
    _repacked(tmp_path / "whole.pt", tmp_path / "x.pt", bytes(2**28 + 1), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.pt").stat().st_size < 2**20
    with pytest.raises(pickle.UnpicklingError, match=r"has 268435457 bytes"):
        load_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["whole/data.pkl", "whole/other"])
def test_an_archive_that_two_readers_see_differently_is_refused(
    tmp_path: Path, state: State, name: str
) -> None:
    """Of a name that is there twice, each may take another entry."""
    torch.save(state, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt", "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        file.writestr(name, b"\x80\x02N.")
    if name.endswith("other"):  # an entry more that both see, which does no harm
        assert set(load_tensors(tmp_path / "whole.pt")) == set(state)
    else:
        with pytest.raises(
            pickle.UnpicklingError, match=r"tables of contents differ|lies in it twice"
        ):
            load_tensors(tmp_path / "whole.pt")
