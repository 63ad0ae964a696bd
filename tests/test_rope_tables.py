"""Tables of rotary positions among weights: compared with the network's own, and left out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import model, to_diffusers
from torch import Tensor
from torch.distributed.checkpoint import format_utils

from cf.models.checkpoints import CheckpointError, load_into, load_weights
from cf.models.convert import convert
from cf.models.rope import frequencies

LONG = 300


def network(**sizes: Any) -> Any:
    return model(torch.float32, num_layers=1, **{"control_dim": None, "text_dim": 8, **sizes})


def tables(of: Any, positions: int = LONG) -> dict[str, Tensor]:
    """As diffusers, transformers, Wan's authors and others save them."""
    axis, speed = frequencies(of.rope_axes, of.rope_base, torch.device("cpu"))
    angle = torch.arange(positions).double()[:, None] * speed
    pairs = torch.complex(angle.cos(), angle.sin())
    return {
        "rope.freqs_cos": angle.cos().repeat_interleave(2, 1).float(),
        "rope.freqs_sin": angle.sin().repeat_interleave(2, 1).float(),
        "model.freqs_cos": angle.cos()[None, :, None].float(),
        "blocks.0.self_attn.rotary_emb.inv_freq": speed.float(),
        "rotary_emb.original_inv_freq": speed[axis == 1].float(),
        "freqs": pairs.to(torch.complex64),
        "freqs_cis": torch.view_as_real(pairs).float(),
        "rope.freqs": angle.float(),
        "rotary_emb.cos_cached": angle.cos().bfloat16(),
        "rotary_emb.sin_cached": angle.sin().half()[None, None],
    }


NAMES = list(tables(network()))


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    state = {name: weight.contiguous() for name, weight in state.items()}
    if path.suffix == ".pt":
        torch.save({"model": state}, path)
    else:
        save_file(state, path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
@pytest.mark.parametrize("name", NAMES)
def test_a_table_that_the_network_makes_itself_is_left_out(
    name: str, kind: str, tmp_path: Path
) -> None:
    source, target = network(), network()
    state = dict(source.state_dict())
    file = saved(tmp_path / f"x.{kind}", {**state, name: tables(source)[name]})
    load_into(target, load_weights(file), "x")
    assert all(torch.equal(weight, target.state_dict()[one]) for one, weight in state.items())


@pytest.mark.parametrize("name", [one for one in NAMES if "." in one])
def test_a_table_of_a_distributed_checkpoint_is_compared_as_well(name: str, tmp_path: Path) -> None:
    """Its tensors are read when they are asked for."""
    source = network()
    saved(tmp_path / "x.pt", {**source.state_dict(), name: tables(source)[name]})
    format_utils.torch_save_to_dcp(tmp_path / "x.pt", tmp_path / "dcp")
    load_into(network(), load_weights(tmp_path / "dcp"), "dcp")
    with pytest.raises(CheckpointError, match="differs by up to"):
        load_into(network(rope_base=500.0), load_weights(tmp_path / "dcp"), "dcp")


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_other_positions_is_refused_by_name_and_difference(
    name: str, tmp_path: Path
) -> None:
    source, other = network(), network(rope_base=9_000.0)
    file = saved(tmp_path / "x.safetensors", {**source.state_dict(), name: tables(other)[name]})
    last = name.removeprefix("model.").replace(".", r"\.")
    told = rf"other positions than this model has: {last} differs by up to [0-9.]+(e-\d+)? from"
    with pytest.raises(CheckpointError, match=rf"{told} .*rope_base=10000; configure") as met:
        load_into(network(), load_weights(file), "x")
    assert "\n" not in str(met.value)
    load_into(other, load_weights(file), "x")


def test_one_number_of_a_table_that_differs_is_found(tmp_path: Path) -> None:
    for wrong in (0.5, float("nan")):
        held = tables(network())["rope.freqs_cos"]
        held[17, 3] = wrong
        state = {**network().state_dict(), "rope.freqs_cos": held}
        with pytest.raises(CheckpointError, match=r"rope\.freqs_cos|NaN"):
            load_into(network(), state, "x")


def test_what_only_has_the_name_of_a_table_is_refused() -> None:
    for odd in (torch.ones(3), torch.ones(()), torch.ones(4, 5, 6), torch.ones(0, 16)):
        with pytest.raises(CheckpointError, match=r"freqs has the shape .*, which no table has"):
            load_into(network(), {**network().state_dict(), "freqs": odd}, "x")
    with pytest.raises(CheckpointError, match=r"holds, unasked for, rope\.other"):
        load_into(network(), {**network().state_dict(), "rope.other": torch.ones(3)}, "x")


def test_a_converted_model_has_no_tables_and_one_of_other_positions_is_refused(
    tmp_path: Path,
) -> None:
    source = network(latent_shape=(16, 4, 4), rope_axes=None)
    right = tables(source)
    names = ("rope.freqs_cos", "rope.freqs_sin")
    state = to_diffusers(dict(source.state_dict())) | {name: right[name] for name in names}
    file = saved(tmp_path / "x.safetensors", state)
    convert(str(file), str(tmp_path / "out"), "original", num_heads=2)
    made = load_file(tmp_path / "out" / "diffusion_pytorch_model.safetensors")
    assert made.keys() == source.state_dict().keys()
    state["rope.freqs_cos"] = tables(network(rope_axes=None, rope_base=500.0))["rope.freqs_cos"]
    saved(file, state)
    with pytest.raises(CheckpointError, match=r"rope\.freqs_cos differs"):
        convert(str(file), str(tmp_path / "again"), "original", num_heads=2)
    assert not (tmp_path / "again").exists()


def test_what_diffusers_saves_fits_diffusers_own_table() -> None:
    diffusers = pytest.importorskip("diffusers.models.transformers.transformer_wan")
    mine = network(rope_axes=None)
    rope = diffusers.WanRotaryPosEmbed(sum(mine.rope_axes), (1, 2, 2), 1024)
    state = {f"rope.{name}": table for name, table in rope.named_buffers()}
    assert state
    load_into(mine, {**mine.state_dict(), **state}, "x")
