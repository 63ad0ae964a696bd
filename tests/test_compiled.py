"""Compiled blocks and recorded passes: equal to blocks as they are written, and seldom made."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import conditioning, memory, model
from torch import Tensor

from cf.bench.contestants.entries import entries
from cf.bench.contestants.network import Network
from cf.bench.tasks.base import VideoSpec
from cf.memory.base import Memory
from cf.memory.full import Full
from cf.models.base import Backbone
from cf.models.blocks import Compiled, TransformerBlock
from cf.models.compiled import check_compile, compile_blocks, compiled_block
from cf.models.guided import GuidedByNetwork
from cf.models.recorded import Recorder, Replayed, Run
from cf.rollout.blockwise import Rollout


def rolled(network: Backbone, policy: Memory, blocks: int, samples: int = 1) -> Tensor:
    """Blocks of a rollout of two steps."""
    rollout, cond = Rollout(policy, num_steps=2), conditioning(samples, 3 * blocks)
    noise = rollout.noise(network, 0, range(samples))
    with torch.inference_mode():
        stream = rollout.stream(network, noise, cond)
        return torch.cat([x0 for x0, _ in itertools.islice(stream, blocks)], 1)


def counting() -> tuple[Compiled, list[Any]]:
    """Parts of a block that dynamo captures, and the graphs that it made of them."""
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        run: Callable[..., Any] = graph.forward
        return run

    torch._dynamo.reset()
    parts = (TransformerBlock.before, TransformerBlock.after)
    made = [torch.compile(p, dynamic=False, fullgraph=True, backend=backend) for p in parts]
    return Compiled(*made), graphs


@pytest.mark.whole
@pytest.mark.parametrize(
    "policy",
    [
        "sliding",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("full", "slow_fast")),
    ],
)
def test_one_compilation_serves_all_layers_and_blocks(policy: str) -> None:
    """While a memory grows and when it is full; a batch of another size makes one more."""
    network, expected = model(), model()
    parts, graphs = counting()
    for block in network.blocks:
        block.compiled = parts  # type: ignore[union-attr]
    found = rolled(network, memory(policy), 9)
    assert len(graphs) == 2
    torch.testing.assert_close(found, rolled(expected, memory(policy), 9), atol=1e-9, rtol=0)
    rolled(network, memory(policy), 3, samples=2)
    assert len(graphs) == 4


@pytest.mark.slow
def test_compiled_blocks_carry_gradient() -> None:
    """The backward pass of a graph begins threads, after which this process could not fork."""
    script = "import test_compiled; test_compiled.compare_gradients()"
    place = Path(__file__).parent
    found = {"cwd": place, "env": {**os.environ, "PYTHONPATH": str(place.parent)}}
    subprocess.run([sys.executable, "-c", script], check=True, **found)


def compare_gradients() -> None:
    """Of compiled blocks with those of blocks as they are."""
    network, expected = model(), model()
    parts, _ = counting()
    for block in network.blocks:
        block.compiled = parts  # type: ignore[union-attr]
    for one in (network, expected):
        torch.manual_seed(0)
        x, t, _ = one.fake_inputs(1, 3)
        one(x.double(), t.double(), conditioning(1, 3)).velocity.square().sum().backward()
    for a, b in zip(network.parameters(), expected.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.slow
def test_inductor_makes_the_same_video() -> None:
    """As docs/generation.md has it: 1e-4 of latents of size 1, in float32."""
    try:
        check_compile("blocks", torch.device("cpu"))
    except ValueError as error:
        pytest.skip(str(error))
    torch._dynamo.reset()
    compiled_block.cache_clear()
    network, expected = model(torch.float32), model(torch.float32)
    compile_blocks(network, "blocks")
    given = memory("sliding"), 6
    torch.testing.assert_close(rolled(network, *given), rolled(expected, *given), atol=1e-4, rtol=0)


def again(run: Run) -> Replayed:
    """A recording that runs anew, into the outputs of the first time, as a CUDA graph does."""
    made = run()

    def replay() -> None:
        for old, new in zip(made, run(), strict=True):
            old.copy_(new)

    return made, replay


@pytest.mark.parametrize(("policy", "most"), [("sliding", 2), ("infinity_rope", 2), ("full", 0)])
def test_passes_over_a_full_window_are_recorded_once(policy: str, most: int) -> None:
    """Those that denoise and those that commit, to the bits of passes that are run.

    A memory that grows is never recorded.
    """
    network, expected = model(), model()
    network.recorder = Recorder(again)
    found = rolled(network, memory(policy), 16)
    assert torch.equal(found, rolled(expected, memory(policy), 16))
    assert network.recorder.recorded == most
    assert bool(network.recorder.replayed) == bool(most)


def test_passes_of_a_network_that_guides_itself_are_told_apart() -> None:
    """A guide meets what the network meets at its first block, but nothing of it is kept."""
    network, expected = model(), model()
    network.recorder = Recorder(again, after=0, most=2)
    for _ in range(2):
        videos = [rolled(GuidedByNetwork(one, one, 2.0), Full(), 3) for one in (network, expected)]
        assert torch.equal(*videos)


def test_recordings_are_let_go_of() -> None:
    """Several streams, each with storage of its own, share a few graphs' worth of memory."""
    network, expected = model(), model()
    network.recorder = Recorder(again, after=0, most=2)
    for _ in range(2):
        assert torch.equal(rolled(network, Full(), 4), rolled(expected, Full(), 4))
    assert len(network.recorder._held) == 2


def test_training_is_not_recorded() -> None:
    network = model()
    network.recorder = Recorder(again, after=0)
    x, t, _ = network.fake_inputs(1, 3)
    for _ in range(3):
        network(x.double(), t.double(), conditioning(1, 3)).velocity.sum().backward()
    assert network.recorder.recorded == 0


def test_what_cannot_be_compiled_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    check_compile("none", torch.device("cpu"))
    with pytest.raises(ValueError, match=r"compile=graphs .* the device is cpu: give compile=blo"):
        check_compile("graphs", torch.device("cpu"))
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.raises(ValueError, match=r"there is no /nowhere/c\+\+: install one"):
        check_compile("blocks", torch.device("cpu"))


def test_a_benchmark_compiles_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """That does not say by itself how its blocks run; other contestants have none."""
    monkeypatch.setattr(Network, "terms", lambda self, asked: VideoSpec(8.0, (4, 4)))
    network = {"_target_": "cf.bench.contestants.network.Network"}
    named = {
        "told": network,
        "own": {**network, "compile": "none"},
        "still": {"_target_": "cf.bench.contestants.controls.CopyLast"},
    }
    settings = {"contestants": named, "networks": None, "commit_reads": False}
    settings |= {"compile": "blocks", "unequal": "refuse"}
    asked: Any = SimpleNamespace(terms=lambda: VideoSpec(8.0, (4, 4)), control_width=None)
    made = {one.name: one for one in entries(settings, asked)}
    assert made["told"].settings["compile"] == "blocks"
    assert made["own"].settings["compile"] == "none"
    assert "compile" not in made["still"].settings
