"""The arrays that the peers' own code computed, reproduced; skipped where they are not at hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cf.memory.base import Memory
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.masks import BlockCausal, TeacherForcing
from cf.models.transformer import VideoTransformer
from cf.rollout.blockwise import Rollout
from cf.types import Conditioning

TIMES = [1, 0.9375, 0.8333333134651184, 0.625]
"""From float32 tables, which the peers keep even in float64."""
F64: dict[str, Any] = {"atol": 1e-6, "rtol": 0}
F32: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-4}


def load(reference: Path, dtype: torch.dtype) -> tuple[VideoTransformer, Conditioning]:
    sizes = json.loads((reference / "wan_tiny.json").read_text())
    network = VideoTransformer(
        **{name: sizes[name] for name in ("dim", "num_heads", "num_layers", "ffn_dim")},
        **{name: sizes[name] for name in ("text_dim", "text_len", "freq_dim", "eps")},
        latent_shape=(sizes["in_dim"], sizes["latent_height"], sizes["latent_width"]),
        patch_size=sizes["patch_size"][1:],
    )
    network.load_state_dict(load_file(reference / "wan_tiny.safetensors"), strict=True)
    prompt = load_file(reference / "inputs.safetensors")["prompt"][None]
    return network.to(dtype), Conditioning(prompt.to(dtype))


def roll(reference: Path, memory: Memory, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """Ten chunks, and the velocities of all network calls, the commits included."""
    network, cond = load(reference, dtype)
    inputs = load_file(reference / "inputs.safetensors")
    calls: list[Tensor] = []
    network.register_forward_hook(lambda _, __, out: calls.append(out.velocity))

    def noise(start: int, step: int) -> Tensor:
        if step == 0:
            return inputs["noise"][:, start : start + 3]
        return inputs["renoise"][start // 3, step - 1]

    rollout = Rollout(memory, timesteps=TIMES)
    return rollout(network, noise, cond, frames=30).past, calls


@pytest.mark.parametrize(
    ("name", "memory", "dtype", "tolerance"),
    [
        ("self_forcing.full", Full(), torch.float64, F64),
        ("self_forcing.window6", Sliding(0, 6), torch.float64, F64),
        ("longlive.sink3_window12", Sliding(3, 9), torch.float64, F64),
        ("infinity_rope.sink1_window6", Sliding(1, 5, "relative"), torch.float32, F32),
        ("infinity_rope.sink1_window6", Sliding(1, 5, "relative", True), torch.float32, F32),
    ],
)
def test_rollouts(
    reference: Path, name: str, memory: Memory, dtype: torch.dtype, tolerance: dict[str, Any]
) -> None:
    expected = load_file(reference / "expected.safetensors")
    video, calls = roll(reference, memory, dtype)
    torch.testing.assert_close(video, expected[name].to(dtype), **tolerance)
    for chunk in (0, 3) if isinstance(memory, Full) else ():
        flows = torch.stack(calls[5 * chunk : 5 * chunk + 4])
        torch.testing.assert_close(flows, expected[f"{name}.flows_chunk{chunk}"], **tolerance)


@pytest.mark.parametrize("window", [None, 6])
def test_block_causal_training_forward(reference: Path, window: int | None) -> None:
    network, cond = load(reference, torch.float32)
    expected = load_file(reference / "expected.safetensors")
    mask = BlockCausal(3, window_frames=window)
    x, t = expected["train.x"].transpose(1, 2), expected["train.t"] / 1000
    out = network(x, t, cond, mask=mask).velocity.transpose(1, 2)
    name = "train.block_causal" if window is None else f"train.block_causal_window{window}"
    torch.testing.assert_close(out, expected[name], **F32)


def test_teacher_forcing_training_forward(reference: Path) -> None:
    network, cond = load(reference, torch.float32)
    expected = load_file(reference / "expected.safetensors")
    clean, x = (expected[f"train.{name}"].transpose(1, 2) for name in ("clean", "x"))
    t = torch.cat((torch.zeros_like(expected["train.t"]), expected["train.t"] / 1000), 1)
    out = network(torch.cat((clean, x), 1), t, cond, mask=TeacherForcing(3)).velocity
    torch.testing.assert_close(out[:, 9:].transpose(1, 2), expected["train.teacher_forcing"], **F32)


def test_bidirectional_forward(reference: Path) -> None:
    network, cond = load(reference, torch.float32)
    expected = load_file(reference / "expected.safetensors")
    t = (expected["bidirectional.t"] / 1000)[:, None].expand(1, 9)
    out = network(expected["bidirectional.x"].transpose(1, 2), t, cond).velocity
    torch.testing.assert_close(out.transpose(1, 2), expected["bidirectional.out"], **F32)


def test_every_expected_array_is_compared(reference: Path) -> None:
    """A new array in the folder must not go unnoticed."""
    assert set(load_file(reference / "expected.safetensors")) == {
        *("self_forcing.full", "self_forcing.window6", "longlive.sink3_window12"),
        *("self_forcing.full.flows_chunk0", "self_forcing.full.flows_chunk3"),
        *("infinity_rope.sink1_window6", "bidirectional.x", "bidirectional.t"),
        *("bidirectional.out", "train.x", "train.t", "train.clean", "train.block_causal"),
        *("train.teacher_forcing", "train.block_causal_window6"),
    }
