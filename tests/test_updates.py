"""Low-rank updates: every customary spelling and scale equals the formula, the rest is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import draw, model
from torch import Tensor

from cf.bench.contestants.network import Network
from cf.models.checkpoints import CheckpointError, load_into, load_weights, save_export
from cf.models.names import to_diffusers_name
from cf.models.start import fingerprint, with_weights
from cf.models.updates import lora_files

State = dict[str, Tensor]
Naming = Callable[[str, str], str]
RANK = 4
MODULES = (
    "blocks.0.self_attn.q",
    "blocks.0.cross_attn.o",
    "blocks.0.ffn.0",
    "blocks.0.ffn.2",
    "time_projection.1",
    "head.head",
    "patch_embedding",
)
BETWEEN = "blocks.0.cross_attn.o"
"""The one module whose own rank or alpha some settings say."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny model as a published file."""
    network = model(torch.float32, num_layers=1, control_dim=None)
    file = tmp_path_factory.mktemp("base") / "base.safetensors"
    save_file(dict(network.state_dict()), file)
    return file


@pytest.fixture(scope="module")
def factors(base: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Down and up of every module, of the shapes that they have for it."""
    made, state = {}, load_file(base)
    for i, module in enumerate(MODULES):
        weight = state[f"{module}.weight"]
        down = draw(RANK, *weight.shape[1:], seed=i).float()
        made[module] = down, draw(len(weight), RANK, seed=50 + i).float()
    down, up = made["patch_embedding"]
    made["patch_embedding"] = down, up[:, :, None, None, None]
    return made


def merged(
    base: Path, factors: dict[str, tuple[Tensor, Tensor]], scale: float | dict[str, float]
) -> State:
    """The formula: W + scale * B A."""
    state = load_file(base)
    for module, (down, up) in factors.items():
        s = scale.get(module, scale[""]) if isinstance(scale, dict) else scale
        full = (up.flatten(1).double() @ down.flatten(1).double()) * s
        name = f"{module}.weight"
        state[name] = (state[name].double() + full.view_as(state[name])).float()
    return state


def check(loaded: Any, expected: State) -> None:
    assert loaded.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.allclose(loaded[name], weight, rtol=1e-6, atol=1e-6), name


def spelt(prefix: str, down: str, up: str, of: Callable[[str], str] = str) -> Naming:
    parts = {"down": down, "up": up, "alpha": "alpha", "bias": "diff_b"}
    return lambda module, part: f"{prefix}{of(module)}.{parts[part]}"


def flat(module: str) -> str:
    return module.replace(".", "_")


def processor(module: str, part: str) -> str:
    """Diffusers' old names of attention; other modules as usual."""
    name = to_diffusers_name(module)
    if ".attn" not in name or part == "alpha":
        return spelt("transformer.", "lora.down.weight", "lora.up.weight", to_diffusers_name)(
            module, part
        )
    place, own = name.removesuffix(".0").rsplit(".", 1)
    return f"{place}.processor.{own}_lora.{part}.weight"


PEFT = "base_model.model."
NAMINGS: dict[str, Naming] = {
    "peft": spelt(PEFT, "lora_A.weight", "lora_B.weight"),
    "peft adapter": spelt(PEFT, "lora_A.default.weight", "lora_B.default.weight"),
    "peft parameters": spelt(PEFT, "lora_A", "lora_B"),
    "peft on diffusers": spelt(PEFT, "lora_A.weight", "lora_B.weight", to_diffusers_name),
    "bare": spelt("", "lora_A.weight", "lora_B.weight"),
    "diffusers": spelt("transformer.", "lora_A.weight", "lora_B.weight", to_diffusers_name),
    "diffusers old": spelt("unet.", "lora.down.weight", "lora.up.weight", to_diffusers_name),
    "diffusers processors": processor,
    "comfyui": spelt("diffusion_model.", "lora_down.weight", "lora_up.weight"),
    "diffsynth": spelt("pipe.dit.", "lora_A.default.weight", "lora_B.default.weight"),
    "student": spelt("generator.model.", "lora_A.weight", "lora_B.weight"),
    **{
        f"under {prefix}": spelt(f"{prefix}.", "lora_A.weight", "lora_B.weight", of)
        for prefix, of in (
            *(("lora", str), ("wan", to_diffusers_name), ("backbone", str)),
            ("critic.any-name", to_diffusers_name),
        )
    },
    "kohya": spelt("lora_unet_", "lora_down.weight", "lora_up.weight", flat),
    "kohya of VideoX-Fun": spelt("lora_unet__", "lora_down.weight", "lora_up.weight", flat),
    "an adapter of any name": spelt(PEFT, "lora_A.mine (2).weight", "lora_B.mine (2).weight"),
    "a pipeline": spelt("pipe.transformer.", "lora_A.weight", "lora_B.weight", to_diffusers_name),
    "lycoris": spelt("lycoris_", "lora_down.weight", "lora_up.weight", flat),
    "kohya on diffusers": spelt(
        "lora_unet_", "lora_down.weight", "lora_up.weight", lambda m: flat(to_diffusers_name(m))
    ),
}


def written(
    folder: Path,
    factors: dict[str, tuple[Tensor, Tensor]],
    naming: Naming,
    alpha: float | None = None,
    said: dict[str, str] | None = None,
) -> Path:
    """A file of updates."""
    state = {}
    for module, (down, up) in factors.items():
        state |= {naming(module, "down"): down, naming(module, "up"): up}
        if alpha is not None:
            state[naming(module, "alpha")] = torch.tensor(alpha)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "adapter_model.safetensors", said)
    return folder / "adapter_model.safetensors"


@pytest.mark.parametrize("name", NAMINGS)
@pytest.mark.parametrize("alpha", [None, 2.0])
def test_every_spelling(
    tmp_path: Path, base: Path, factors: Any, name: str, alpha: float | None
) -> None:
    file = written(tmp_path, factors, NAMINGS[name], alpha)
    check(load_weights(base, lora=file), merged(base, factors, 1 if alpha is None else 0.5))


R2 = json.dumps({"transformer.r": RANK, "transformer.lora_alpha": 8, "transformer.use_rslora": 1})
HEADERS: tuple[tuple[dict[str, str], float], ...] = (
    ({"lora_alpha": "8"}, 2),
    ({"ss_network_alpha": "2.0", "ss_network_dim": "4"}, 0.5),
    ({"lora_alpha": "8", "use_rslora": "true"}, 4),
    ({"lora_adapter_metadata": R2}, 4),
    ({"lora_adapter_metadata": R2.replace("use_rslora", "other")}, 2),
    ({"peft_config": json.dumps({"lora_alpha": 1})}, 0.25),
    ({"ss_network_alpha": "None", "ss_network_dim": "4"}, 1),
    ({"format": "pt"}, 1),
)
CONFIGS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({"lora_alpha": 8}, 2),
    ({"lora_alpha": 8, "use_rslora": True}, 4),
    ({"lora_alpha": 8, "alpha_pattern": {"cross_attn.o": 2}}, {"": 2, BETWEEN: 0.5}),
    ({"lora_alpha": 8, "alpha_pattern": {r"blocks\.\d+\.cross.*": 2}}, {"": 2, BETWEEN: 0.5}),
    ({"lora_alpha": 8, "alpha_pattern": {"^blocks.0.cross_attn.o": 2}}, {"": 2, BETWEEN: 0.5}),
    ({"lora_alpha": 8, "alpha_pattern": {"attn.o": 2}}, 2),
)


@pytest.mark.parametrize(("said", "scale"), HEADERS)
def test_scales_of_headers(
    tmp_path: Path, base: Path, factors: Any, said: dict[str, str], scale: float
) -> None:
    file = written(tmp_path, factors, NAMINGS["diffusers"], said=said)
    check(load_weights(base, lora=file), merged(base, factors, scale))
    root = math.sqrt(RANK) if scale == 4 else RANK
    given = load_weights(base, lora=file, lora_alpha=3)
    check(given, merged(base, factors, 3 / root))


@pytest.mark.parametrize("alpha", [0.0, math.nan, math.inf])
def test_a_scale_that_adds_nothing_is_refused(
    alpha: float, tmp_path: Path, base: Path, factors: Any
) -> None:
    file = written(tmp_path, factors, NAMINGS["kohya"], alpha)
    with pytest.raises(ValueError, match=rf"says alpha={alpha:g} of .*give weights\.lora_alpha"):
        load_weights(base, lora=file)


@pytest.mark.parametrize(("config", "scale"), CONFIGS)
def test_scales_of_pefts_settings(
    tmp_path: Path, base: Path, factors: Any, config: dict[str, Any], scale: Any
) -> None:
    file = written(tmp_path, factors, NAMINGS["peft"])
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, **config}))
    for lora in (file, tmp_path):
        check(load_weights(base, lora=lora), merged(base, factors, scale))


def test_settings_are_of_the_file_that_peft_named(tmp_path: Path, base: Path, factors: Any) -> None:
    """A folder into which several LoRAs were put has the settings of one."""
    file = written(tmp_path, factors, NAMINGS["peft"])
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 8}))
    other = file.with_name("style.safetensors")
    save_file(load_file(written(tmp_path / "x", factors, NAMINGS["comfyui"])), other)
    check(load_weights(base, lora=file), merged(base, factors, 2))
    check(load_weights(base, lora=other), merged(base, factors, 1))
    file.unlink()
    check(load_weights(base, lora=other), merged(base, factors, 2))


def test_ranks_that_differ(tmp_path: Path, base: Path, factors: Any) -> None:
    down, up = factors[BETWEEN]
    other = {**factors, BETWEEN: (down[:2], up[:, :2].contiguous())}
    file = written(tmp_path, other, NAMINGS["peft"])
    config = {"r": RANK, "lora_alpha": 8, "rank_pattern": {BETWEEN: 2}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    check(load_weights(base, lora=file), merged(base, other, {"": 2, BETWEEN: 4}))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "lora_alpha": 8}))
    with pytest.raises(CheckpointError, match=r"of rank 2, but the settings with it say r=8; put"):
        load_weights(base, lora=file)


def test_values_beside_a_pickle(tmp_path: Path, base: Path, factors: Any) -> None:
    state = load_file(written(tmp_path, factors, NAMINGS["peft"]))
    for name in ("generator_lora", "adapter", "my_lora"):
        torch.save({name: state, "lora_alpha": 8, "step": 3}, tmp_path / "lora.pt")
        check(load_weights(base, lora=tmp_path / "lora.pt"), merged(base, factors, 2))
    for alpha in (np.float64(8), np.float32(8), np.int64(8), np.array(8, ">i4")[()]):
        torch.save({"generator_lora": state, "lora_alpha": alpha}, tmp_path / "lora.pt")
        check(load_weights(base, lora=tmp_path / "lora.pt"), merged(base, factors, 2))
    torch.save({"one": state, "other": state}, tmp_path / "lora.pt")
    with pytest.raises(CheckpointError, match=r"holds one, other, but .*; save the one that is"):
        load_weights(base, lora=tmp_path / "lora.pt")


# What is no pair of factors


def test_differences_and_whole_weights(tmp_path: Path, base: Path, factors: Any) -> None:
    expected = merged(base, factors, 1)
    state = load_file(written(tmp_path, factors, NAMINGS["comfyui"]))
    for key, name in (
        ("blocks.0.norm3.diff", "blocks.0.norm3.weight"),
        ("blocks.0.self_attn.norm_q.w_norm", "blocks.0.self_attn.norm_q.weight"),
        ("blocks.0.self_attn.q.diff_b", "blocks.0.self_attn.q.bias"),
        ("blocks.0.norm3.b_norm", "blocks.0.norm3.bias"),
        ("blocks.0.diff_m", "blocks.0.modulation"),
        ("head.modulation.diff", "head.modulation"),
        ("text_embedding.0.diff", "text_embedding.0.weight"),
        ("head.head.lora_up.bias", "head.head.bias"),
    ):
        state[f"diffusion_model.{key}"] = draw(*expected[name].shape, seed=9).float()
        expected[name] = expected[name] + state[f"diffusion_model.{key}"]
    for key, name in (
        ("blocks.0.cross_attn.q.weight", "blocks.0.cross_attn.q.weight"),
        ("text_embedding.2.set_weight", "text_embedding.2.weight"),
        ("text_embedding.0.modules_to_save.default.bias", "text_embedding.0.bias"),
    ):
        expected[name] = draw(*expected[name].shape, seed=8).float()
        state[f"diffusion_model.{key}"] = expected[name]
    save_file(state, tmp_path / "lora.safetensors")
    check(load_weights(base, lora=tmp_path / "lora.safetensors"), expected)


@pytest.mark.parametrize("spelling", ["lora_magnitude_vector", "dora_scale", "columns"])
def test_magnitudes_of_dora(tmp_path: Path, base: Path, factors: Any, spelling: str) -> None:
    linear = {name: pair for name, pair in factors.items() if name != "patch_embedding"}
    state = load_file(written(tmp_path, linear, NAMINGS["peft"], alpha=8))
    expected = merged(base, linear, 2)
    for module in linear:
        name, axis = f"{module}.weight", 0 if spelling == "columns" else 1
        norms = expected[name].norm(dim=axis, keepdim=True)
        magnitude = 1 + draw(*norms.shape, seed=4).float().abs()
        expected[name] = expected[name] * magnitude / norms
        if spelling == "lora_magnitude_vector":
            state[f"{PEFT}{module}.{spelling}.weight"] = magnitude.flatten()
        else:
            state[f"{PEFT}{module}.dora_scale"] = magnitude
    save_file(state, tmp_path / "lora.safetensors")
    check(load_weights(base, lora=tmp_path / "lora.safetensors"), expected)


@pytest.mark.parametrize("config", [None, {"r": RANK, "lora_alpha": 8}])
def test_a_model_saved_under_peft(
    tmp_path: Path, base: Path, factors: Any, config: dict[str, int] | None
) -> None:
    state = load_file(written(tmp_path / "x", factors, NAMINGS["peft adapter"]))
    for name, weight in load_file(base).items():
        module, _, last = name.rpartition(".")
        inner = ".base_layer." if module in factors else "."
        state[f"{PEFT}{module}{inner}{last}"] = weight
    save_file(state, tmp_path / "whole.safetensors")
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    expected = merged(base, factors, 1 if config is None else 2)
    check(load_weights(tmp_path / "whole.safetensors"), expected)
    network = model(torch.float32, num_layers=1, control_dim=None, seed=1)
    load_into(network, load_weights(tmp_path / "whole.safetensors"), "whole")
    check(dict(network.state_dict()), expected)


# Several


def test_several_at_their_strengths_in_any_order(
    tmp_path: Path, base: Path, factors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = str(written(tmp_path / "one", factors, NAMINGS["kohya"], alpha=2))
    twice = {name: (2 * down, up) for name, (down, up) in factors.items()}
    two = str(written(tmp_path / "two", twice, NAMINGS["peft"]))
    loras: list[Any] = [{"path": one, "strength": 0.5}, two, {"path": two, "alpha": 1}]
    several = load_weights(base, lora=loras)
    check(several, merged(base, factors, 0.25 + 2 + 0.5))
    for order in (loras[::-1], [loras[1], loras[0], loras[2]]):
        other = load_weights(base, lora=order)
        assert all(torch.equal(other[name], several[name]) for name in several)
        assert fingerprint(base, order) == fingerprint(base, loras)
    check(load_weights(base, lora=[{"path": one, "strength": 0}]), load_file(base))

    told = {
        fingerprint(base, lora, alpha)
        for lora, alpha in (
            (None, None),
            (one, None),
            (one, 1.0),
            ([one, two], None),
            ([{"path": one, "strength": 0.5}], None),
            ([{"path": one, "strength": 0.25}], None),
        )
    }
    assert len(told) == 6
    (tmp_path / "one" / "adapter_config.json").write_text('{"lora_alpha": 8}')
    assert fingerprint(base, one) not in told


def test_a_training_begins_from_several(tmp_path: Path, base: Path, factors: Any) -> None:
    one = str(written(tmp_path, factors, NAMINGS["kohya"], alpha=2))
    lora = [{"path": one, "strength": 2.0}]
    network = model(torch.float32, num_layers=1, control_dim=None, seed=1)
    told = fingerprint(base, lora)
    with_weights(network, str(base), sha256=told, lora=lora)
    check(dict(network.state_dict()), merged(base, factors, 1))
    with pytest.raises(CheckpointError, match="holds other weights than when this run began"):
        with_weights(network, str(base), sha256=told, lora=one)


def test_an_export_takes_updates_too(tmp_path: Path, base: Path, factors: Any) -> None:
    file = written(tmp_path / "lora", factors, NAMINGS["comfyui"])
    save_export(tmp_path / "network.safetensors", load_file(base), {"model": {}})
    check(load_weights(tmp_path / "network.safetensors", lora=file), merged(base, factors, 1))


def test_a_contestant_takes_several(tmp_path: Path, base: Path, factors: Any) -> None:
    one = str(written(tmp_path / "one", factors, NAMINGS["kohya"], alpha=2))
    two = str(tmp_path / "two.safetensors")
    lora = [{"path": one, "strength": 0.5}, two]
    contestant = Network(checkpoint=str(base), model={}, weights={"lora": lora})
    assert contestant.missing() == f"{two} not found"
    Path(two).write_bytes(Path(one).read_bytes())
    assert contestant.missing() == ""
    turned = Network(checkpoint=str(base), model={}, weights={"lora": lora[::-1]})
    alone = Network(checkpoint=str(base), model={}, weights={"lora": one})
    stronger = Network(checkpoint=str(base), model={}, weights={"lora": [one, two]})
    assert contestant.fingerprint() == turned.fingerprint()
    assert alone.fingerprint() == f"{fingerprint(base)}+{fingerprint(one)}"
    assert len({x.fingerprint() for x in (contestant, alone, stronger)}) == 3


@pytest.mark.parametrize(
    "lora",
    [
        5,
        {"file": "a"},
        {"path": "a", "weight": 1},
        [["a", 1]],
        {"path": 3},
        {"path": "a", "strength": "much"},
        {"path": "a", "strength": math.nan},
        {"path": "a", "alpha": True},
    ],
)
def test_what_names_no_update_is_refused(lora: Any) -> None:
    with pytest.raises(ValueError, match="lora"):
        lora_files([lora])


# What is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lora_unet_blocks_0_self_attn_k.hada_w1_a", "which is LoHa .LyCORIS. and is not read"),
        ("lora_unet_blocks_0_self_attn_k.lokr_w1", "which is LoKr .LyCORIS. and is not read"),
        ("diffusion_model.blocks.0.self_attn.k.oft_blocks", "which is OFT and is not read"),
        ("diffusion_model.blocks.0.self_attn.k.lora_mid.weight", "LoCon with a core"),
        ("lora_te1_text_model_encoder_layers_0_mlp.lora_down.weight", "it belongs to the text enc"),
        ("text_encoder.blocks.0.attn.q.lora_A.weight", "it belongs to the text encoder"),
        ("diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight", "the image branch"),
        ("diffusion_model.img_emb.proj.1.diff_b", "the image branch"),
        ("diffusion_model.blocks.7.self_attn.k.lora_A.weight", "updates nothing in these weights;"),
        ("anything", "updates nothing in these weights; give"),
        ("odd\x1b[2J\n" + 900 * "x", r"holds odd.x1b.2J.nx{100,120}\.\.\., which updates nothing"),
        (f"{PEFT}head.head.lora_A.other.weight", "holds the adapters default, other; save the one"),
        (f"{PEFT}head.head.lora_down.weight", "twice, under several names"),
        (f"{PEFT}text_embedding.0.lora_A.weight", "do not make its shape"),
        (f"{PEFT}text_embedding.0.alpha", "do not make its shape"),
        ("text_embedding.0.diff", "do not make its shape"),
    ],
)
def test_what_has_no_place_is_refused(
    tmp_path: Path, base: Path, factors: Any, name: str, message: str
) -> None:
    state = load_file(written(tmp_path, factors, NAMINGS["peft adapter"]))
    turned = torch.ones(5, 24) if name.endswith(".diff") else torch.ones(4, 4)
    save_file({**state, name: turned}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(base, lora=tmp_path / "lora.safetensors")
    assert str(tmp_path / "lora.safetensors") in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type=LOHA; merge it"),
        ({"init_lora_weights": "another"}, "changes the weights that are updated; save it"),
        ({"use_dora": True}, r"holds no norms of .*use_dora=true; save it again by PEFT"),
        ({"use_qalora": True}, "says use_qalora=True, which is no sum of B A"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"lora_alpha": None}, r"says alpha=nan of .*; give weights.lora_alpha"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the weights that are updated; save it"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=true"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"alpha_pattern": {"(a+)+b": 1}}, "hold the pattern"),
        ({"alpha_pattern": {"(": 1}}, "hold the pattern"),
        ({"rank_pattern": [1]}, "as a pattern, not a map"),
        ({"lora_alpha": "much"}, "says alpha=nan"),
        ({"r": float("inf")}, "settings with it say r=inf"),
        ({"r": "many"}, "settings with it say r=nan"),
        ([], "adapter_config.json is damaged"),
    ],
)
def test_settings_of_other_methods_are_refused(
    tmp_path: Path, base: Path, factors: Any, config: Any, message: str
) -> None:
    file = written(tmp_path, factors, NAMINGS["peft"])
    whole = {"lora_alpha": 8, **config} if isinstance(config, dict) else config
    (tmp_path / "adapter_config.json").write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match=message):
        load_weights(base, lora=file)


def test_a_model_in_the_place_of_an_update_is_refused(tmp_path: Path, base: Path) -> None:
    save_export(tmp_path / "network.safetensors", load_file(base), {"model": {}})
    for file in (base, tmp_path / "network.safetensors"):
        with pytest.raises(CheckpointError, match=r"holds whole weights, .* and no update of any"):
            load_weights(base, lora=file)


def test_whole_numbers_are_no_update(tmp_path: Path, base: Path, factors: Any) -> None:
    state = load_file(written(tmp_path / "x", factors, NAMINGS["peft"]))
    save_file({name: x.to(torch.int8) for name, x in state.items()}, tmp_path / "l.safetensors")
    with pytest.raises(CheckpointError, match=r"as torch\.int8, which are no numbers of an update"):
        load_weights(base, lora=tmp_path / "l.safetensors")


def test_a_folder_of_peft_with_a_pickle(tmp_path: Path, base: Path, factors: Any) -> None:
    state = load_file(written(tmp_path / "x", factors, NAMINGS["peft"]))
    (tmp_path / "peft").mkdir()
    torch.save(state, tmp_path / "peft" / "adapter_model.bin")
    (tmp_path / "peft" / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}')
    check(load_weights(base, lora=tmp_path / "peft"), merged(base, factors, 2))


@pytest.mark.parametrize("shapes", [((), (24, 4)), ((0, 24), (24, 0)), ((4, 24), (24,))])
def test_factors_of_no_rank_are_refused(tmp_path: Path, base: Path, shapes: Any) -> None:
    down, up = (torch.ones(shape) for shape in shapes)
    file = written(tmp_path, {"blocks.0.self_attn.q": (down, up)}, NAMINGS["peft"], alpha=2)
    with pytest.raises(CheckpointError, match="do not make its shape 24 x 24"):
        load_weights(base, lora=file)


def test_names_that_may_be_two_are_refused(tmp_path: Path, base: Path) -> None:
    state = load_file(base)
    state |= {name: torch.ones(4, 4) for name in ("compressor.a_b.weight", "compressor.a.b.weight")}
    save_export(tmp_path / "base.safetensors", state, {"model": {}})
    update = {"lora_unet_compressor_a_b.diff": torch.ones(4, 4)}
    save_file(update, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"may be compressor.a.b or compressor.a_b; give"):
        load_weights(tmp_path / "base.safetensors", lora=tmp_path / "lora.safetensors")


def test_reported_files(shared: Path) -> None:
    folder = shared / "reports"
    if not folder.is_dir():
        pytest.skip("no reports beside the repository")
    base = load_file(folder / "base.safetensors")
    for file, scale, of in (
        ("lora_down_up.safetensors", 1, NAMINGS["comfyui"]),
        ("lora_kohya_unet.safetensors", 0.5, NAMINGS["kohya"]),
        ("lora_AB_alpha.safetensors", 0.5, NAMINGS["diffsynth"]),
        ("peft_folder/adapter_model.safetensors", 2, NAMINGS["peft"]),
    ):
        state, lora = dict(base), load_file(folder / file)
        found = 0
        for name in base:
            module = name.removesuffix(".weight")
            down, up = of(module, "down"), of(module, "up")
            if file.startswith("lora_AB"):
                down, up = (f"diffusion_model.{module}.lora_{x}.weight" for x in "AB")
            if down in lora:
                found += 1
                state[name] = state[name] + scale * lora[up] @ lora[down]
        assert found == 20
        check(load_weights(folder / "base.safetensors", lora=folder / file), state)
