"""Files of weights that are no plain transformer: read right, or named with a remedy that works."""

import codecs
import json
import os
import pickle
import random
import sys
import tarfile
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
from commands import give
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file, safe_open, save_file
from tiny import draw, model, to_diffusers
from torch import Tensor

from cf.models.checkpoints import (
    CheckpointError,
    load_into,
    load_weights,
    read_export,
    save_export,
)
from cf.models.start import _digest, fingerprint, is_same
from cf.paths import CONFIG_DIR

State = dict[str, Tensor]


def network(**sizes: Any) -> Any:
    return model(torch.float32, num_layers=1, **{"control_dim": None, **sizes})


@pytest.fixture(scope="module")
def state() -> State:
    return dict(network().state_dict())


def same(loaded: Any, expected: State) -> bool:
    return loaded.keys() == expected.keys() and all(
        torch.equal(loaded[name], expected[name]) for name in expected
    )


# Quantised weights

SPELLINGS = ("scale_weight", "weight_scale", "weight_scale_inv", "scale", "weight._scale")


def tiled(weight: Tensor, rows: int, columns: int) -> Tensor:
    """A scale for every tile."""
    counts = -(-weight.shape[0] // rows), -(-weight.shape[1] // columns)
    return 0.5 + draw(*counts, seed=2).float().abs()


def over(scale: Tensor, weight: Tensor, rows: int, columns: int) -> Tensor:
    full = torch.empty_like(weight, dtype=torch.float32)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            full[i, j] = scale[i // rows, j // columns]
    return full


@pytest.mark.parametrize(
    ("spelling", "shape"),
    [
        *((spelling, "one") for spelling in SPELLINGS),
        *(("scale_weight", shape) for shape in ("row", "column", "tile 16", "tile 8 x 1")),
    ],
)
@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
def test_quantised_weights_are_multiplied_by_their_scales(
    tmp_path: Path, state: State, spelling: str, kind: torch.dtype, shape: str
) -> None:
    stored, expected = {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}, dict(state)
    for name, weight in state.items():
        module = name.removesuffix(".weight")
        if name.startswith("blocks.") and weight.ndim == 2:
            small = (weight * 10).to(kind)
            tile = {"tile 16": (16, 16), "tile 8 x 1": (8, 1)}.get(shape)
            if tile:
                scale = tiled(weight, *tile)
                expected[name] = small.float() * over(scale, weight, *tile)
            else:
                count = {"one": (), "row": (len(weight),), "column": (len(weight), 1)}[shape]
                scale = 0.1 + draw(*count, 1, seed=1).float().abs()[..., 0]
                full = scale[:, None] if shape == "row" else scale
                expected[name] = small.float() * full
            stored |= {name: small, f"{module}.{spelling}": scale}
            stored[f"{module}.scale_input"] = torch.ones(())
        else:
            stored[name] = weight
    save_file({f"model.diffusion_model.{k}": v for k, v in stored.items()}, tmp_path / "x")
    assert same(load_weights(tmp_path / "x"), expected)


def test_bare_8_bit_floats_are_read_as_they_are(tmp_path: Path, state: State) -> None:
    small = {name: weight.to(torch.float8_e4m3fn) for name, weight in state.items()}
    save_file(small, tmp_path / "x.safetensors")
    assert same(load_weights(tmp_path / "x.safetensors"), {k: v.float() for k, v in small.items()})


@pytest.mark.parametrize("spelling", ["w_scale", "fp8_scale", "scale_w"])
def test_scales_of_unknown_spelling_are_refused_and_not_left_out(
    tmp_path: Path, state: State, spelling: str
) -> None:
    """Also of who only reads, as `cf.weights convert` does."""
    small = {name: weight.to(torch.float8_e4m3fn) for name, weight in state.items()}
    for name in [name for name in small if name.endswith("attn.q.weight")]:
        small[name.replace("weight", spelling)] = torch.tensor(0.1)
    save_file(small, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"holds .*q\.{spelling} beside 8-bit .*q\.weight"):
        load_weights(tmp_path / "x.safetensors")


def test_tiles_of_unknown_size_are_refused_until_said(tmp_path: Path, state: State) -> None:
    name = "blocks.0.self_attn.q.weight"
    scale = tiled(state[name], 12, 12)
    small = state[name].to(torch.float8_e4m3fn)
    whole = {**state, name: small, name.replace("weight", "weight_scale_inv"): scale}
    save_file(whole, tmp_path / "x.safetensors")
    with pytest.raises(
        CheckpointError, match=r"24 x 24 with .* scales of 2 x 2, .* config.json"
    ) as e:
        load_weights(tmp_path / "x.safetensors")
    remedy = str(e.value).partition("as in ")[2].replace("128", "12")
    (tmp_path / "config.json").write_text(remedy)
    expected = small.float() * over(scale, small, 12, 12)
    assert torch.equal(load_weights(tmp_path / "x.safetensors")[name], expected)


Q = "blocks.0.self_attn.q"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({f"{Q}.weight": torch.ones(24, 24, dtype=torch.int8)}, "as int8 without a scale"),
        ({f"{Q}.weight": torch.ones(24, 12, dtype=torch.uint8)}, "as uint8 without a scale"),
        ({f"{Q}.weight.absmax": torch.ones(9)}, "bitsandbytes 4-bit"),
        ({f"{Q}.weight.quant_state.bitsandbytes__nf4": torch.ones(9)}, "bitsandbytes 4-bit"),
        ({f"{Q}.SCB": torch.ones(24)}, "bitsandbytes 8-bit"),
        ({f"{Q}.weight._data": torch.ones(24)}, "optimum-quanto"),
        ({f"{Q}.qweight": torch.ones(24)}, "GPTQ, AWQ or SVDQuant"),
        ({f"{Q}.weight_scale_2": torch.ones(())}, "NVFP4"),
        ({f"{Q}.weight_zero_point": torch.ones(())}, "with a zero point"),
        ({f"{Q}.weight_scale": torch.ones(())}, "scales without quantised weights"),
        (
            {f"{Q}.comfy_quant": torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)},
            "nvfp4",
        ),
    ],
)
def test_other_quantisations_are_named(
    tmp_path: Path, state: State, more: State, message: str
) -> None:
    save_file({**state, **more}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(tmp_path / "x.safetensors")
    assert "give the model's weights in bfloat16 or float32" in str(caught.value)


ROTATED = {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 16}


@pytest.mark.parametrize("where", ["tensor", "header"])
@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"format": "int8_tensorwise"}, True),
        ({"format": "int8_tensorwise", "convrot": False}, True),
        ({"format": "float8_e4m3fn", "full_precision_matrix_mult": True}, True),
        (ROTATED, False),
        ({**ROTATED, "format": "float8_e4m3fn"}, False),
        ({"format": "mxfp8"}, False),
        ({"format": "nvfp4"}, False),
        ("float8", False),
    ],
)
def test_what_comfyui_says_of_a_layer_is_heeded_wherever_it_stands(
    tmp_path: Path, state: State, where: str, said: Any, read: bool
) -> None:
    """Rotated weights look like any others with scales, and only the words beside them tell."""
    kind = torch.int8 if "int8" in str(said) else torch.float8_e4m3fn
    small, scale = (state[f"{Q}.weight"] * 10).to(kind), torch.tensor(0.5)
    own = {**state, f"{Q}.weight": small, f"{Q}.weight_scale": scale}
    names = {f"model.diffusion_model.{name}": x for name, x in own.items()}
    layer, text = f"model.diffusion_model.{Q}", json.dumps(said)
    told = {f"{layer}.comfy_quant": torch.tensor(list(text.encode()), dtype=torch.uint8)}
    layers = {"layers": {layer: said, "text_encoders.a": ROTATED}}
    header = {"_quantization_metadata": json.dumps(layers)}
    file = tmp_path / "x.safetensors"
    if where == "tensor":
        save_file({**names, **told}, file)
    else:
        save_file(names, file, header)
    if read:
        assert same(load_weights(file), {**state, f"{Q}.weight": small.float() * scale})
    else:
        with pytest.raises(CheckpointError, match=r"is quantised as .*, which is not read here"):
            load_weights(file)


# Names and containers


@pytest.mark.parametrize(
    "prefix",
    [
        *("student.", "net.", "pipe.dit.", "generator.model.", "ema.", "dit."),
        *("network.", "model.diffusion_model.", "module._orig_mod.", "_forward_module.a.b."),
    ],
)
@pytest.mark.parametrize("diffusers", [False, True])
def test_any_prefix_falls_away(tmp_path: Path, state: State, prefix: str, diffusers: bool) -> None:
    names = to_diffusers(state) if diffusers else state
    others = {"vae.encoder.conv1.weight": torch.ones(3), "logit_scale": torch.ones(1)}
    save_file({**{prefix + k: v for k, v in names.items()}, **others}, tmp_path / "x.safetensors")
    assert same(load_weights(tmp_path / "x.safetensors"), state)


def test_one_of_several_networks_is_asked_for(tmp_path: Path, state: State) -> None:
    both = {f"student.model.{k}": v for k, v in state.items()}
    both |= {f"teacher.{k}": v + 1 for k, v in state.items()}
    teacher = {name: weight + 1 for name, weight in state.items()}
    save_file(both, tmp_path / "x.safetensors")
    torch.save({"state_dict": both, "epoch": 3}, tmp_path / "x.pt")
    for file in ("x.safetensors", "x.pt"):
        with pytest.raises(CheckpointError, match=r"the networks student, teacher; say") as caught:
            load_weights(tmp_path / file)
        assert "container=student" in str(caught.value)
        assert same(load_weights(tmp_path / file, "student"), state)
        assert same(load_weights(tmp_path / file, "teacher"), teacher)
    better = {**both, **{f"generator.{k}": v + 2 for k, v in state.items()}}
    save_file(better, tmp_path / "x.safetensors")
    assert torch.equal(
        load_weights(tmp_path / "x.safetensors")[Q + ".bias"], state[Q + ".bias"] + 2
    )


AVERAGES: tuple[tuple[str, str, str], ...] = (
    ("generator", "generator_ema", "generator"),
    ("model", "ema", "model"),
    ("model", "model_ema", "model"),
    ("state_dict", "ema_state_dict", "state_dict"),
    ("model", "ema.shadow", "model"),
    ("student", "student_ema", "student"),
)


def nested(path: str, state: State) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        state = {name: state}  # type: ignore[dict-item]
    return dict(state)


@pytest.mark.parametrize(("network", "average", "container"), AVERAGES)
def test_an_average_is_taken_before_what_it_is_of(
    tmp_path: Path, state: State, network: str, average: str, container: str
) -> None:
    mean = {name: weight + 1 for name, weight in state.items()}
    file = tmp_path / "x.pt"
    torch.save({**nested(network, state), **nested(average, mean), "step": 3}, file)
    assert same(load_weights(file), mean)
    assert same(load_weights(file, container), state)
    flat = {f"{network}.{k}": v for k, v in state.items()}
    flat |= {f"{average}.{k}": v for k, v in mean.items()}
    for write, name in ((torch.save, "y.pt"), (save_file, "y.safetensors")):
        write(flat, tmp_path / name)
        assert same(load_weights(tmp_path / name), mean)
        assert same(load_weights(tmp_path / name, container), state)
        assert same(load_weights(tmp_path / name, average), mean)


def test_an_average_is_of_the_whole_network_and_of_no_other(tmp_path: Path, state: State) -> None:
    mean = {name: weight + 1 for name, weight in state.items()}
    part = dict(list(mean.items())[:5])
    file = tmp_path / "x.pt"
    for beside in ({"ema": part}, {"critic": mean, "critic_ema": mean}, {"ema": {}, "fake": mean}):
        torch.save({"generator": state, **beside}, file)
        assert same(load_weights(file), state)
    torch.save({"model": state, "ema_0.99": mean, "ema_0.999": mean}, file)
    with pytest.raises(CheckpointError, match=r"several averages of one network, .*container=ema"):
        load_weights(file)
    save_file({**state, **{f"ema.{k}": v for k, v in mean.items()}}, tmp_path / "x.safetensors")
    assert same(load_weights(tmp_path / "x.safetensors"), mean)
    assert same(load_weights(tmp_path / "x.safetensors", "model"), state)


def undotted(state: State) -> State:
    """Names as latent diffusion's average has them."""
    return {name.replace(".", ""): weight for name, weight in state.items()}


@pytest.mark.parametrize(
    "average",
    [
        lambda s: {"ema": {"shadow_params": list(s.values()), "decay": 0.9}},
        lambda s: {"ema": [s]},
        lambda s: {"emas": [{"width": 0.05, "state": s}]},
        lambda s: {"ema": undotted(s)},
        lambda s: {"model_ema": {f"{n}.{k}": v for n in ("online", "ema") for k, v in s.items()}},
    ],
)
def test_an_average_that_is_not_read_is_told(
    tmp_path: Path, state: State, average: Callable[[State], Any]
) -> None:
    """What lies beside it is not taken in silence; asked for by name, it is."""
    mean, file = {name: weight + 1 for name, weight in state.items()}, tmp_path / "x.pt"
    torch.save({"model": state, **average(mean)}, file)
    with pytest.raises(CheckpointError, match=r"holds .*average.* container="):
        load_weights(file)
    assert same(load_weights(file, "model"), state)


def test_an_average_that_has_lost_its_dots_is_told(tmp_path: Path, state: State) -> None:
    flat = {f"model.{name}": weight for name, weight in state.items()}
    flat |= {f"model_ema.{name}": weight + 1 for name, weight in undotted(state).items()}
    for write, name in ((torch.save, "y.pt"), (save_file, "y.safetensors")):
        write(flat, tmp_path / name)
        with pytest.raises(CheckpointError, match=r"average of .*container=model for the network"):
            load_weights(tmp_path / name)
        assert same(load_weights(tmp_path / name, "model"), state)


@pytest.mark.parametrize(
    "average",
    [
        lambda s: {"ema": {**s, "decay": torch.tensor(0.9)}},
        lambda s: {"swa_model": {"n_averaged": torch.tensor(3), **wrapped("module.", s)}},
        lambda s: {"callbacks": {"EMA": {"ema_weights": wrapped("model.", s)}}},
    ],
)
def test_an_average_is_taken_whatever_its_keeper_notes(
    tmp_path: Path, state: State, average: Callable[[State], Any]
) -> None:
    mean, file = {name: weight + 1 for name, weight in state.items()}, tmp_path / "x.pt"
    for network in ({"model": state}, {"state_dict": wrapped("model.", state)}, state):
        torch.save({**network, **average(mean)}, file)
        assert same(load_weights(file), mean)


def wrapped(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": weight for name, weight in state.items()}


@pytest.mark.parametrize("name", ["ema_model", "model_ema", "ema_state_dict", "shadow", "wan"])
def test_the_only_network_of_a_file_needs_no_name(tmp_path: Path, state: State, name: str) -> None:
    torch.save({name: state, "generator": {}, "step": 3}, tmp_path / "x.pt")
    assert same(load_weights(tmp_path / "x.pt"), state)
    torch.save({"critic": state, "generator": {}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"holds critic, but .* say which container"):
        load_weights(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s, "args": Namespace(a=1, where=Path("x"))},
        lambda s: {"model": s, "args": SimpleNamespace(a=1)},
        lambda s: {**s, "args": Namespace(a=1), "step": 3},
        lambda s: {"module": s, "ds_version": "0.1"},
        lambda s: {"ema": s},
        lambda s: {"nets": {"generator": {"model": s}}, "optimizer": {"state": {0: {"m": s}}}},
        *(
            lambda s, one=one: {"model": s, "beside": one, "deeper": {"list": [one]}}
            for one in (
                *(np.float32(1.5), np.float64(2), np.int64(3), np.bool_(True), np.str_("a")),
                *(np.arange(3), np.random.RandomState(0).get_state(), defaultdict(int, a=1)),
                *(defaultdict(list), deque([1, 2], 3), deque(), frozenset({1})),
                *(b"x", slice(1, 2), range(3), datetime.now(), timedelta(1), Decimal(1), uuid4()),
                *(PurePosixPath("x"), Counter("aa"), OrderedDict(a=1), 1 + 2j),
            )
        ),
        lambda s: defaultdict(int, s),
        lambda s: {"model": defaultdict(None, s)},
    ],
)
def test_what_lies_beside_the_tensors_is_left(
    tmp_path: Path, state: State, wrap: Callable[[State], Any]
) -> None:
    torch.save(wrap(state), tmp_path / "x.pt")
    assert same(load_weights(tmp_path / "x.pt"), state)


def test_an_object_of_the_file_cannot_stand_in_for_a_method(tmp_path: Path, state: State) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            own = {"items": 1, "keys": 2, "get": 3, "values": 4, "update": 5}
            return OrderedDict, (), own, None, iter(state.items())

    for whole in (Hostile(), {"model": Hostile()}, {"nets": {"model": Hostile()}}):
        torch.save(whole, tmp_path / "x.pt")
        assert same(load_weights(tmp_path / "x.pt"), state)


@pytest.mark.parametrize(
    "codec", ["hex", "UTF-32", "zlib codec", "utf_7", "unicode-escape", 99 * "-" + "hex", "heéx"]
)
def test_bytes_are_spelt_by_latin_1_alone(tmp_path: Path, state: State, codec: str) -> None:
    """PyTorch calls the codec that a file names, and some make more bytes than the file has."""

    class Bomb:
        def __reduce__(self) -> Any:
            return codecs.encode, ("a" * 9, codec)

    for whole in ({"model": state, "b": b"x", "c": Bomb()}, {"c": Bomb(), "model": state}):
        torch.save(whole, tmp_path / "x.pt")
        with pytest.raises(
            CheckpointError, match=r"nothing in it was run: .* names _codecs.encode"
        ):
            load_weights(tmp_path / "x.pt")


def test_a_whole_dict_of_another_library_is_read(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("easydict")
    module.EasyDict = type("EasyDict", (dict,), {"__module__": "easydict"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "easydict", module)
    made = module.EasyDict(state)
    made.extra = 1
    torch.save(made, tmp_path / "x.pt")
    monkeypatch.delitem(sys.modules, "easydict")
    assert same(load_weights(tmp_path / "x.pt"), state)


def test_another_protocol_of_pickles_is_named(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "x.pt", pickle_protocol=4)
    with (
        pytest.warns(UserWarning, match="pickle protocol 4"),
        pytest.raises(CheckpointError, match=r"another protocol .* without pickle_protocol"),
    ):
        load_weights(tmp_path / "x.pt")


def test_tensors_larger_than_what_is_stored_are_refused(tmp_path: Path, state: State) -> None:
    torch.save({**state, Q + ".weight": torch.ones(1).expand(2**40)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="laid out as weights are not"):
        load_weights(tmp_path / "x.pt")


# Folders


def sharded(folder: Path, state: State, ending: str, index: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names, where = sorted(state), {}
    for i in range(2):
        file = f"pytorch_model-{i + 1:05}-of-00002.{ending}"
        part = {name: state[name] for name in names[i::2]}
        (save_file if ending == "safetensors" else torch.save)(part, folder / file)
        where |= dict.fromkeys(part, file)
    if index:
        (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": where}))


@pytest.mark.parametrize(
    ("ending", "index"),
    [
        ("safetensors", "model.safetensors.index.json"),
        ("safetensors", None),
        ("bin", "pytorch_model.bin.index.json"),
        ("bin", None),
    ],
)
def test_shards_of_every_kind(tmp_path: Path, state: State, ending: str, index: str | None) -> None:
    sharded(tmp_path / "x", state, ending, index)
    assert same(load_weights(tmp_path / "x"), state)
    if index:
        assert same(load_weights(tmp_path / "x" / index), state)
        assert fingerprint(tmp_path / "x" / index) != fingerprint(tmp_path / "x")
        where = {"head.head.bias": f"../x/pytorch_model-00001-of-00002.{ending}"}
        (tmp_path / "x" / index).write_text(json.dumps({"weight_map": where}))
        with pytest.raises(CheckpointError, match="which is not beside it"):
            load_weights(tmp_path / "x")
        where = {"lost.weight": f"pytorch_model-00001-of-00002.{ending}"}
        (tmp_path / "x" / index).write_text(json.dumps({"weight_map": where}))
        with pytest.raises(CheckpointError, match=r"lacks lost.weight of"):
            load_weights(tmp_path / "x")


@pytest.mark.parametrize("kind", ["safetensors", "bin", "pt", "pth"])
@pytest.mark.parametrize("numbers", ["00001 00002", "1 2", "00000 00001"])
def test_shards_however_they_are_numbered(
    tmp_path: Path, state: State, kind: str, numbers: str
) -> None:
    write = save_file if kind == "safetensors" else torch.save
    for at, number in enumerate(numbers.split()):
        count = f"{2:0{len(number)}}"
        part = {name: state[name] for name in sorted(state)[at::2]}
        write(part, tmp_path / f"model-{number}-of-{count}.{kind}")
    assert same(load_weights(tmp_path), state)
    with pytest.raises(CheckpointError, match=rf"one of the 2 files of a model; .*, {tmp_path}$"):
        load_weights(tmp_path / f"model-{number}-of-{count}.{kind}")
    (tmp_path / f"model-{number}-of-{count}.{kind}").unlink()
    with pytest.raises(CheckpointError, match=f"lacks the shard model-.*-of-{count}"):
        load_weights(tmp_path)


@pytest.mark.parametrize("name", ["network.safetensors", "model.pt", "model.gguf"])
def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path, name: str) -> None:
    """Such as a link into a cache from which a download was cleared away."""
    for make, told in (
        (
            lambda: (tmp_path / name).symlink_to("../blobs/gone"),
            r"a link to \.\./blobs/gone, which",
        ),
        (lambda: (tmp_path / name).symlink_to(name), "links lead round in a circle"),
        (lambda: os.mkfifo(tmp_path / name), "no regular file"),
    ):
        make()
        for path in (tmp_path, tmp_path / name):
            with pytest.raises(CheckpointError, match=told):
                load_weights(path)
        (tmp_path / name).unlink()


def test_of_two_indices_that_of_safetensors_is_taken(tmp_path: Path, state: State) -> None:
    other = {name: weight + 1 for name, weight in state.items()}
    sharded(tmp_path, other, "bin", "pytorch_model.bin.index.json")
    sharded(tmp_path, state, "safetensors", "model.safetensors.index.json")
    assert same(load_weights(tmp_path), state)


@pytest.mark.parametrize("kind", ["safetensors", "bin", "pt", "pth"])
def test_the_default_variant_of_a_folder_is_taken(tmp_path: Path, state: State, kind: str) -> None:
    write = save_file if kind == "safetensors" else torch.save
    place = tmp_path / "x" / "transformer"
    place.mkdir(parents=True)
    write(to_diffusers(state), place / f"diffusion_pytorch_model.{kind}")
    half = {name: weight.half() for name, weight in to_diffusers(state).items()}
    write(half, place / f"diffusion_pytorch_model.fp16.{kind}")
    assert same(load_weights(tmp_path / "x"), state)
    (place / f"diffusion_pytorch_model.{kind}").unlink()
    assert load_weights(place)[Q + ".bias"].dtype == torch.float16


class Trap:
    """Would leave a trace if it were unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_folders_of_other_layouts_are_read_or_named(tmp_path: Path, state: State) -> None:
    from torch.distributed.checkpoint import format_utils

    torch.save({"model": state}, tmp_path / "x.pt")
    format_utils.torch_save_to_dcp(tmp_path / "x.pt", tmp_path / "dcp")
    assert same(load_weights(tmp_path / "dcp"), state)
    own = network(seed=3)
    load_into(own, load_weights(tmp_path / "dcp"), "dcp")
    assert same(own.state_dict(), state)
    index = tmp_path / "dcp" / ".metadata"
    whole = index.read_bytes()
    trace = tmp_path / "trace"
    for bad in (pickle.dumps(Trap(trace)), whole[: len(whole) // 2], b""):
        index.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"nothing in it was run .*dcp_to_torch"):
            load_weights(tmp_path / "dcp")
    assert not trace.exists()
    index.write_bytes(whole)
    data = next((tmp_path / "dcp").glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-99])
    with pytest.raises(CheckpointError, match=r"no such file beside the index"):
        load_weights(tmp_path / "dcp")
    index.unlink()
    with pytest.raises(CheckpointError, match=r"without its index .metadata"):
        load_weights(tmp_path / "dcp")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "config.json").write_text("{}")
    (tmp_path / "onnx" / "wan.onnx").write_bytes(BINARIES["onnx"])
    with pytest.raises(CheckpointError, match=r"none \(wan.onnx is ONNX, .*; give the model"):
        load_weights(tmp_path / "onnx")
    for part in ("transformer", "transformer_2"):
        (tmp_path / "a14b" / part).mkdir(parents=True)
        save_file(to_diffusers(state), tmp_path / "a14b" / part / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"two transformers, for high and for low") as caught:
        load_weights(tmp_path / "a14b")
    assert same(load_weights(str(caught.value).rpartition(" or ")[2]), state)
    for expert in ("high_noise_model", "low_noise_model"):
        (tmp_path / "two" / expert).mkdir(parents=True)
        save_file(state, tmp_path / "two" / expert / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match=r"its folders high_noise_model, low_noise_model do"):
        load_weights(tmp_path / "two")


# What is something else

TEXTS = {
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5676070424\n",
    "html": b"\n<!DOCTYPE html><html><body>Please log in</body></html>",
    "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "error": b'{"error": "Repository not found"}',
    "text": b"Invalid credentials in Authorization header",
    "empty": b"",
}
BINARIES = {
    "onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\x80" + bytes(64),
    "engine": b"ftrt" + bytes(64),
    "hdf": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "npy": b"\x93NUMPY\x01\x00" + bytes(64),
    "gz": b"\x1f\x8b\x08\x00" + bytes(64),
}
SAID = {
    "lfs": "is a git-lfs pointer in place of the file; fetch it: git -C '.*' lfs pull",
    "html": r"is a web page \(HTML\) in place of the weights; download it again",
    "xml": "is XML, as servers send with an error",
    "error": "is JSON in place of the weights: .*Repository not found.*; download it again",
    "text": "is text in place of the weights: 'Invalid credentials",
    "empty": r"is empty \(0 bytes\)",
    "onnx": "is ONNX",
    "engine": "is a TensorRT engine",
    "hdf": "is HDF5",
    "npy": "is a NumPy array",
    "gz": "is a gzip archive; unpack it",
}


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
def test_what_is_no_weights_is_named(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes({**TEXTS, **BINARIES}[kind])
    for read in (load_weights, read_export):
        with pytest.raises(CheckpointError, match=SAID[kind]) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda s: (s, 3), "it is a tuple"),
        (lambda s: [s], "it is a list"),
        (lambda s: {"a": [1], "b": list(s.values())}, "it is a dict of a, b"),
        (lambda s: {name: x.numpy() for name, x in s.items()}, "it is a dict of .* more"),
    ],
)
def test_a_pickle_without_names_of_weights_says_what_it_is(
    tmp_path: Path, state: State, wrap: Callable[[State], Any], told: str
) -> None:
    """No container can be named, so that none is asked for."""
    torch.save(wrap(state), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=rf"{told}, .*; save the network's state_dict"):
        load_weights(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_settings_in_the_place_of_weights_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"r": 4}')
    with pytest.raises(CheckpointError, match=rf"holds settings .* folder, {tmp_path}"):
        load_weights(tmp_path / name)


def test_archives_are_named(tmp_path: Path, state: State) -> None:
    save_file(state, tmp_path / "x.safetensors")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x.safetensors", "x.safetensors")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "x.safetensors", "x.safetensors")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as script:
        for part in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            script.writestr(f"script/{part}", b"")
    torch.save({"model": {"a.weight": torch.zeros(10**6)}}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for one in plain.infolist():
            packed.writestr(one.filename, plain.read(one))
    for name, message in (
        ("x.zip", "is a zip archive; unpack it"),
        ("x.tar", "is a tar archive; unpack it"),
        ("script.pt", "is TorchScript"),
        ("packed.pt", "was packed again"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_weights(tmp_path / name)


def other(**more: Any) -> State:
    """A transformer with more than ours has."""
    return {**network().state_dict(), **{k.replace("_z_", "."): v for k, v in more.items()}}


def wide() -> State:
    state = dict(network().state_dict())
    return {**state, "patch_embedding.weight": torch.ones(24, 5, 1, 2, 2)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (other(vace_blocks_z_0_z_bias=torch.ones(2)), "is a VACE model"),
        (other(blocks_z_0_z_audio_cross_attn_z_q_z_weight=torch.ones(2)), "an audio-driven model"),
        (other(casual_audio_encoder_z_a=torch.ones(2)), r"a speech-to-video model \(S2V\)"),
        (other(face_adapter_z_a=torch.ones(2)), "is Wan-Animate"),
        (other(img_emb_z_emb_pos=torch.ones(2)), r"a first-and-last-frame model \(FLF2V\)"),
        (wide(), "is a control model .*: it takes 5 channels to make 2"),
        (other(control_adapter_z_conv_z_bias=torch.ones(2)), "steered by a camera"),
        ({"encoder.conv1.weight": torch.ones(2), "decoder.conv1.bias": torch.ones(2)}, "codec"),
        (
            {"token_embedding.weight": torch.ones(2), "blocks.0.attn.q.weight": torch.ones(2)},
            "text",
        ),
        ({"shared.weight": torch.ones(2), "encoder.block.0.layer.0.q": torch.ones(2)}, "text enc"),
        ({"visual.conv1.weight": torch.ones(2)}, "an image encoder"),
        ({"double_blocks.0.img_attn.qkv.weight": torch.ones(2)}, "another architecture"),
        ({"_flat_param": torch.ones(9)}, "FSDP flattened"),
        ({"fc.weight": torch.ones(2)}, "holds no transformer of Wan's architecture"),
    ],
)
def test_other_models_are_named(tmp_path: Path, state: State, message: str) -> None:
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_weights(tmp_path / "x.safetensors")


def test_a_file_cut_or_changed_anywhere_is_told(tmp_path: Path, state: State) -> None:
    """No traceback and no crash, whatever is done to a file."""
    draw_from = random.Random(0)
    save_file(state, tmp_path / "whole.safetensors")
    torch.save({"generator": state}, tmp_path / "whole.pt")
    for i in range(60):
        kind = ("safetensors", "pt")[i % 2]
        whole = bytearray((tmp_path / f"whole.{kind}").read_bytes())
        ends = min(len(whole), 3000)
        for _ in range(draw_from.randrange(1, 5)):
            whole[draw_from.randrange(ends)] = draw_from.randrange(256)
        (tmp_path / f"x.{kind}").write_bytes(whole)
        try:
            load_into(network(), load_weights(tmp_path / f"x.{kind}"), "x")
        except CheckpointError:
            continue


# Numbers


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_what_is_not_finite_is_named_and_not_loaded(
    tmp_path: Path, state: State, value: float, kind: torch.dtype
) -> None:
    broken = {name: weight.to(kind, copy=True) for name, weight in state.items()}
    broken[Q + ".weight"].view(-1)[7] = value
    save_file(broken, tmp_path / "x.safetensors")
    mine = model(torch.float32, num_layers=1, control_dim=None, seed=1)
    before = {name: weight.clone() for name, weight in mine.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"x holds NaN or infinite numbers in {Q}.weight:"):
        load_into(mine, load_weights(tmp_path / "x.safetensors"), "x")
    assert same(mine.state_dict(), before)
    lora = {"blocks.0.ffn.0.diff": torch.full((32, 24), value).to(kind)}
    save_file(lora, tmp_path / "lora.safetensors")
    save_file(state, tmp_path / "base.safetensors")
    with pytest.raises(CheckpointError, match=r"lora.safetensors holds NaN"):
        load_weights(tmp_path / "base.safetensors", lora=tmp_path / "lora.safetensors")


# Our own files


def test_equal_exports_are_equal_bytes(tmp_path: Path, state: State) -> None:
    config = {"model": {"_target_": "x", "text": 'é "quoted" \n 狐 \x7f \x1f'}, "fps": 16.0}
    files = []
    for i in range(8):
        save_export(tmp_path / f"{i}.safetensors", state, config)
        files.append((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(set(files)) == 1
    assert read_export(tmp_path / "0.safetensors")[0] == config
    with safe_open(tmp_path / "0.safetensors", framework="pt") as stream:
        assert set(stream.metadata()) == {"cf", "format"}
    assert same(load_file(tmp_path / "0.safetensors"), state)
    before = os.umask(0o027)
    try:
        save_export(tmp_path / "mode.safetensors", state, config)
    finally:
        os.umask(before)
    assert (tmp_path / "mode.safetensors").stat().st_mode & 0o777 == 0o640


def test_hashes_of_exports_in_either_order_still_hold(tmp_path: Path, state: State) -> None:
    file, recorded = tmp_path / "old.safetensors", set()
    metadata = {"format": "pt", "cf": json.dumps({"a": "é"})}
    for _ in range(40):  # as the library wrote them, in an order of chance
        save_file(state, file, metadata)
        _digest.cache_clear()
        recorded.add(fingerprint(file))
    save_export(file, state, {"a": "é"})
    _digest.cache_clear()
    assert len(recorded) == 2
    assert all(is_same(file, sha) for sha in recorded)
    state = {**state, Q + ".bias": state[Q + ".bias"] + 1}
    save_export(file, state, {"a": "é"})
    _digest.cache_clear()
    assert not any(is_same(file, sha) for sha in recorded)


def test_a_scale_that_is_lost_is_told(tmp_path: Path, state: State) -> None:
    stored = dict(state)
    for name in ("blocks.0.ffn.0", "blocks.0.ffn.2"):
        stored[f"{name}.weight"] = state[f"{name}.weight"].to(torch.float8_e4m3fn)
    save_file(stored, tmp_path / "plain")  # cast, as some are
    assert load_weights(tmp_path / "plain")
    save_file({**stored, "blocks.0.ffn.2.scale_weight": torch.ones(1)}, tmp_path / "x")
    with pytest.raises(
        CheckpointError, match=r"holds blocks.0.ffn.0.weight in 8 bits without a sc"
    ):
        load_weights(tmp_path / "x")


def test_an_image_encoder_has_patches_too(tmp_path: Path) -> None:
    save_file({"visual.patch_embedding.weight": torch.zeros(8, 3, 2, 2)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"is an image encoder \(CLIP\)"):
        load_weights(tmp_path / "x")


def test_no_checkpoint_of_a_training_is_taken_for_a_network(tmp_path: Path, state: State) -> None:
    saved = {f"network.{name}": x for name, x in state.items()}
    saved |= {f"average.network.{name}": x for name, x in state.items()}
    file = tmp_path / "step=00000002.ckpt"
    torch.save({"pytorch-lightning_version": "2.6", "state_dict": saved}, file)
    with pytest.raises(
        CheckpointError, match=r"from which a training goes on, .*; give that run's"
    ):
        load_weights(file)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a network that draws pixels, and a checkpoint to go on from."""
    with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
        cfg = compose("fit", ["memory=sliding", "model.num_layers=1", "hydra.runtime.output_dir=o"])
    parts = {
        name: OmegaConf.to_container(cfg[name], resolve=True)
        for name in ("model", "codec", "text", "rollout")
    }
    state = instantiate(cfg.model, _convert_="all").state_dict()
    folder = tmp_path / "run"
    save_export(folder / "network.safetensors", state, {**parts, "fps": 8, "size": [32, 32]})
    (folder / "checkpoints").mkdir()
    training = {f"{role}.{k}": v for role in ("student", "critic") for k, v in state.items()}
    saved = {"pytorch-lightning_version": "2.6", "state_dict": training}
    torch.save(saved, folder / "checkpoints" / "step=00000002.ckpt")
    return folder


@pytest.mark.whole
def test_a_training_checkpoint_names_its_network(run: Path, refused: Callable[..., str]) -> None:
    checkpoint = f"checkpoint='{run}/checkpoints/step=00000002.ckpt'"
    told = refused("cf.generate", checkpoint, "hydra.run.dir=none")
    assert "a checkpoint from which a training goes on" in told
    export = told.rpartition("give ")[2].strip()
    assert export == str(run / "network.safetensors")
    for read in (load_weights, read_export):
        with pytest.raises(CheckpointError, match=rf"give {export}"):
            read(run / "checkpoints" / "step=00000002.ckpt")
    (ours,) = (run / "checkpoints").iterdir()
    assert same(load_weights(ours, "student"), load_file(export))

    lora = run / "lora.safetensors"
    save_file({"head.head.diff_b": torch.full((192,), 5.0)}, lora)
    parts = (f"checkpoint={export}", "seconds=0.1")
    give("cf.generate", *parts, "hydra.run.dir=plain")
    several = f"weights.lora=[{{path: '{lora}', strength: 0.5}}]"
    give("cf.generate", *parts, several, "hydra.run.dir=made")
    assert Path("made/video_0.mp4").read_bytes() != Path("plain/video_0.mp4").read_bytes()
    assert "absent does not exist" in refused("cf.generate", *parts, "weights.lora=absent")
