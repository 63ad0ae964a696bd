"""The rollout as a stream and as a training step: laws against independent loops, and a golden."""

import itertools
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import make_golden
import pytest
import torch
from safetensors.torch import load_file
from tiny import MEMORIES, SHAPE, conditioning, draw, latents, memory, model, one
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cf.memory.base import Memory
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.transformer import VideoTransformer
from cf.rollout.blockwise import Rollout
from cf.rollout.given import read_at_once
from cf.rollout.rolling import Rolling
from cf.rollout.state import START, Noise, RolloutState
from cf.seeding import SeededNoise
from cf.types import Conditioning, Context, Latents, LayerKV, Past

EXACT: dict[str, Any] = {"atol": 1e-9, "rtol": 0}
NAMES = [file.stem for file in MEMORIES]
DIFFERING = {
    "kept": SlowFast(1, 3, 5, threshold=0.5, novelty="kept", interval=1),
    "previous, tokens": SlowFast(3, 4, 6, threshold=0.4, descriptor="tokens", interval=1),
    "overflow, pooled": SlowFast(
        2, 2, 6, threshold=0.7, decide="overflow", store="pooled", interval=1
    ),
    "shared, block": SlowFast(1, 6, 4, threshold=0.55, store="block", per_layer=False, interval=1),
}
"""Memories whose samples decide differently for the inputs below."""
POLICIES: dict[str, Memory] = {**{name: memory(name) for name in NAMES}, **DIFFERING}


def again() -> set[str]:
    """Names of memories of which one of the same kind comes before, with other sizes."""
    kinds: dict[Any, str] = {}
    for name in NAMES:
        made = POLICIES[name]
        kinds.setdefault((type(made), getattr(made, "positions", None)), name)
    return {*NAMES} - {*kinds.values()}


every = pytest.mark.parametrize(
    "policy",
    [
        pytest.param(policy, id=name, marks=[pytest.mark.exhaustive] * (name in again()))
        for name, policy in POLICIES.items()
    ],
)


def noise(network: VideoTransformer, rollout: Rollout, *samples: int) -> Noise:
    return rollout.noise(network, 0, samples)


def blocks(stream: Iterator[tuple[Latents, RolloutState]], count: int) -> Latents:
    return torch.cat([x0 for x0, _ in itertools.islice(stream, count)], 1)


def first(x: Latents, count: int) -> Latents:
    """Blocks of 3 frames, of which the first `count`."""
    return x[:, : 3 * count]


# Streams


@pytest.mark.parametrize(
    ("mode", "cut"),
    [
        pytest.param(torch.no_grad, 5, marks=pytest.mark.exhaustive),
        (torch.inference_mode, 1),
        (torch.inference_mode, 6),
    ],
)
@every
def test_a_stream_cut_and_resumed_is_one_stream(
    policy: Memory, mode: Callable[[], Any], cut: int
) -> None:
    """Also from a fork, of which the original goes on as if nothing had been."""
    network, rollout = model(), Rollout(policy, num_steps=1)
    cond, eps = conditioning(2, 27), noise(network, rollout, 0, 1)
    with mode():
        whole = blocks(rollout.stream(network, eps, cond), 9)
        running = rollout.stream(network, eps, cond)
        before = [next(running) for _ in range(cut)]
        fork = before[-1][1].fork()
        fresh = noise(network, rollout, 0, 1)
        for stream in (rollout.stream(network, fresh, cond, fork), running):
            after = blocks(stream, 9 - cut)
            assert torch.equal(torch.cat([x0 for x0, _ in before] + [after], 1), whole)


@every
def test_inference_storage_gives_the_same_bits(policy: Memory) -> None:
    network, rollout = model(torch.float32), Rollout(policy, num_steps=2)
    cond, eps = conditioning(2, 27, dtype=torch.float32), noise(network, rollout, 0, 1)
    with torch.no_grad():
        values = blocks(rollout.stream(network, eps, cond), 9)
    with torch.inference_mode():
        consumed = blocks(rollout.stream(network, eps, cond), 9)
    assert torch.equal(values, consumed)


@every
def test_a_batch_is_its_samples(policy: Memory) -> None:
    network, rollout, cond = model(), Rollout(policy, num_steps=2), conditioning(3, 27)
    with torch.no_grad():
        together = rollout(network, noise(network, rollout, 0, 1, 2), cond, frames=27)
        for i in (0, 2):
            alone = rollout(network, noise(network, rollout, i), one(cond, i), frames=27).past
            torch.testing.assert_close(together.past[i : i + 1], alone, **EXACT)
    if policy in DIFFERING.values():
        valid = [layer.valid for layer in together.state.context.layers]
        assert any(v is not None and not (v == v[:1]).all() for v in valid), "all decided alike"


@pytest.mark.parametrize("name", NAMES)
def test_a_consumed_state_says_so(name: str) -> None:
    network, rollout = model(control_dim=None), Rollout(memory(name), num_steps=1)
    cond, eps = conditioning(1), noise(network, rollout, 0)
    with torch.inference_mode():
        _, state = next(rollout.stream(network, eps, cond))
        next(rollout.stream(network, eps, cond, state))
        with pytest.raises(RuntimeError, match="consumed by an update; fork"):
            next(rollout.stream(network, eps, cond, state))


def test_calling_and_streaming_agree() -> None:
    network, rollout, cond = model(), Rollout(Full()), conditioning(2, 12)
    eps = noise(network, rollout, 0, 1)
    rolled = rollout(network, eps, cond, frames=12, window_frames=6)
    streamed = blocks(rollout.stream(network, eps, cond), 4)
    assert torch.equal(torch.cat((rolled.past, rolled.window.detach()), 1), streamed)
    again = rollout(network, eps, cond, frames=6, state=rollout(network, eps, cond, frames=6).state)
    assert torch.equal(again.past, streamed[:, 6:])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("context_noise", [0.0, 0.1])
def test_remembering_what_was_generated_resumes_the_stream(
    mode: Callable[[], Any], context_noise: float
) -> None:
    network, rollout = model(), Rollout(memory("sliding"), context_noise=context_noise)
    cond, eps = conditioning(2, 18), noise(network, rollout, 0, 1)
    with mode():
        whole = blocks(rollout.stream(network, eps, cond), 6)
        state = rollout.remember(network, first(whole, 3), eps, cond)
        resumed = blocks(rollout.stream(network, eps, cond, state), 3)
    torch.testing.assert_close(resumed, whole[:, 9:], **EXACT)


@pytest.mark.parametrize("frames", [1, pytest.param(4, marks=pytest.mark.exhaustive), 5])
@every
def test_a_prompt_of_any_length_may_be_remembered(policy: Memory, frames: int) -> None:
    """Its first block is the shorter; what follows still cuts and resumes."""
    network, rollout, cond = model(), Rollout(policy, num_steps=1), conditioning(2, frames + 12)
    eps = noise(network, rollout, 0, 1)
    with torch.inference_mode():
        state = rollout.remember(network, latents(2, frames), eps, cond)
        assert state.context.start == frames
        whole = blocks(rollout.stream(network, eps, cond, state.fork()), 4)
        _, state = next(rollout.stream(network, eps, cond, state))
        assert torch.equal(blocks(rollout.stream(network, eps, cond, state), 3), whole[:, 3:])


def test_the_stream_has_no_end() -> None:
    """Positions beyond 1024 frames, where the peers' tables stop, are like any other."""
    network = model(control_dim=None, num_layers=1)
    rollout, cond = Rollout(Sliding(0, 6), num_steps=1), conditioning(1)
    eps = noise(network, rollout, 0)
    far = RolloutState(Context(start=3 * 400))
    replayed: Noise = lambda start, step: eps(start % 1200, step)  # noqa: E731
    with torch.no_grad():
        here = blocks(rollout.stream(network, replayed, cond), 6)
        there = blocks(rollout.stream(network, replayed, cond, far), 6)
    torch.testing.assert_close(here, there, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["infinity_rope", "slow_fast"])
def test_a_long_stream_takes_constant_memory(name: str) -> None:
    """All of it: what is remembered, and whatever a block may leave behind."""
    network = model(torch.float32, control_dim=None, num_layers=1)
    rollout = Rollout(memory(name), num_steps=1)
    cond, eps = conditioning(1, dtype=torch.float32), noise(network, rollout, 0)
    sizes = []
    with torch.inference_mode(), Live(network) as live:
        for x0, _ in itertools.islice(rollout.stream(network, eps, cond), 400):
            assert x0.isfinite().all()
            sizes.append(live.now)
    assert len(set(sizes[50:])) == 1


@pytest.mark.parametrize("signal", ["control", "origin"])
def test_a_signal_that_ends_is_one_clear_error(signal: str) -> None:
    network, rollout = model(control_dim=3 if signal == "control" else None), Rollout(Full())
    text = conditioning(1).text
    cond = Conditioning(text, **{signal: draw(1, 7, 3 if signal == "control" else 2)})
    stream = rollout.stream(network, noise(network, rollout, 0), cond)
    assert len(list(itertools.islice(stream, 2))) == 2
    with pytest.raises(ValueError, match=rf"{signal} covers 7 latent frames but frame 8 is asked"):
        next(stream)


# Noise


def test_noise_does_not_depend_on_the_batch() -> None:
    shape = (3, *SHAPE)
    together = SeededNoise(1, (4, 9, 2), shape)(6, 1)
    for i, sample in enumerate((4, 9, 2)):
        assert torch.equal(together[i], SeededNoise(1, (sample,), shape)(6, 1)[0])


def test_noise_differs_in_seed_sample_block_and_step() -> None:
    keys = itertools.product((0, 1), repeat=4)
    drawn = [SeededNoise(seed, (s,), (1, *SHAPE))(block, step) for seed, s, block, step in keys]
    values = torch.stack(drawn).flatten(1)
    assert values.dtype == torch.float32
    similar = torch.corrcoef(values) - torch.eye(len(values))
    assert similar.abs().max() < 0.6
    assert len({tuple(row.tolist()) for row in values}) == 16


def test_noise_is_standard_normal() -> None:
    x = torch.stack([SeededNoise(0, (0,), (10, 10, 10, 10))(i, 0) for i in range(20)])
    assert abs(float(x.mean())) < 0.01
    assert abs(float(x.std()) - 1) < 0.01
    assert abs(float((x**4).mean()) - 3) < 0.1
    assert abs(float((x[:-1] * x[1:]).mean())) < 0.01


# Training


def plain_loop(
    network: VideoTransformer,
    eps: Noise,
    cond: Conditioning,
    keep: Callable[[int, int], bool],
    window: int,
    exit_step: int,
    differentiable: bool,
) -> Latents:
    """Three frames of past and a window, with nothing of the rollout's code or the memories'.

    Args:
        keep: whether a block that starts at the first frame sees the second.
    """
    times = [1.0, 0.9375, 0.8333333134651184, 0.625]
    raw: list[list[tuple[Tensor, Tensor]]] = []
    ids, out = [], []
    for start in range(0, 3 + window, 3):
        part, within = cond.frames(start, start + 3), start >= 3
        seen = [i for i in range(start) if keep(start, i)]

        def call(x: Latents, time: float) -> tuple[Latents, list[tuple[Tensor, Tensor]]]:
            layers = []
            for layer in range(2 if seen else 0):  # noqa: B023
                pairs = [raw[i][layer] for i in seen]  # noqa: B023
                k, v = (torch.cat([pair[j] for pair in pairs], 1) for j in (0, 1))
                places = torch.cat([ids[i] for i in seen], 1).expand(len(x), -1, -1)  # noqa: B023
                layers.append(LayerKV(k, v, places))
            past = network.prepare(Past(tuple(layers), float(start)), part)  # noqa: B023
            t = torch.full(x.shape[:2], time, dtype=x.dtype)
            prediction = network(x, t, part, past)  # noqa: B023
            return prediction.velocity, [(layer.k, layer.v) for layer in prediction.block.layers]

        x = eps(start, 0).double()
        for step in range((exit_step if within else 3) + 1):
            velocity, _ = call(x, times[step])
            x0 = x - times[step] * velocity
            if step < (exit_step if within else 3):
                to = times[step + 1]
                x = ((1 - to) * x0 + to * eps(start, step + 1).double()).detach()
        if not within:
            x0 = x0.detach()
        _, made = call(x0, 0.0)
        cut = [tuple(y if differentiable and within else y.detach() for y in kv) for kv in made]
        for frame in range(3):
            tokens = slice(4 * frame, 4 * frame + 4)
            raw.append([(k[:, tokens], v[:, tokens]) for k, v in cut])
            rows, columns = torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")
            at = torch.stack((torch.full((2, 2), start + frame), rows, columns), -1)
            ids.append(at.reshape(1, 4, 3).float())
        if within:
            out.append(x0)
    return torch.cat(out, 1)


def gradients(network: nn.Module, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    return [torch.zeros(()) if grad is None else grad for grad in found]


def assert_same_gradients(mine: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    scale = max(float(grad.abs().max()) for grad in theirs)
    assert scale > 1e-3
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance * max(scale, 1), rtol=0)


def loss_of(window: Latents) -> Tensor:
    """Every frame weighs differently."""
    return (window * latents(window.shape[0], window.shape[1], seed=9)).sum()


REFERENCES: dict[str, tuple[Memory, Callable[[int, int], bool]]] = {
    "full": (Full(), lambda start, frame: True),
    "sliding": (Sliding(1, 7), lambda start, frame: frame < 1 or frame >= start + 3 - 7),
}


@pytest.mark.parametrize("differentiable", [False, True], ids=["truncated", "differentiable"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["stored", "recomputed"])
@pytest.mark.parametrize("exit_step", [0, 2])
@pytest.mark.parametrize("kind", REFERENCES)
def test_gradients_equal_a_plain_loop(
    kind: str, exit_step: int, checkpointing: bool, differentiable: bool
) -> None:
    policy, keep = REFERENCES[kind]
    network, cond = model(), conditioning(2, 12)
    rollout = Rollout(policy)
    eps = noise(network, rollout, 0, 1)
    expected = plain_loop(network, eps, cond, keep, 9, exit_step, differentiable)
    network.activation_checkpointing = checkpointing
    rolled = rollout(
        network,
        *(eps, cond),
        frames=12,
        window_frames=9,
        exit_step=exit_step,
        differentiable_past=differentiable,
    )
    torch.testing.assert_close(rolled.window, expected, **EXACT)
    assert float(rolled.exit_t) == pytest.approx([1, 0.9375, 0.83333331, 0.625][exit_step])
    mine = gradients(network, loss_of(rolled.window))
    assert_same_gradients(mine, gradients(network, loss_of(expected)), 1e-12)


@pytest.mark.parametrize(
    "differentiable", [pytest.param(False, marks=pytest.mark.exhaustive), True]
)
@every
def test_activation_checkpointing_changes_no_gradient(policy: Memory, differentiable: bool) -> None:
    cond, found = conditioning(2, 12), []
    for checkpointing in (False, True):
        network, rollout = model(activation_checkpointing=checkpointing), Rollout(policy)
        sizes = {"frames": 12, "window_frames": 9, "exit_step": 1}
        eps = noise(network, rollout, 0, 1)
        rolled = rollout(network, eps, cond, **sizes, differentiable_past=differentiable)
        found.append(gradients(network, loss_of(rolled.window)))
    assert_same_gradients(*found, 1e-12)


@every
def test_no_gradient_flows_from_one_block_into_another(policy: Memory) -> None:
    """The last block's loss does not know whether the block before it was in the window."""
    network, rollout, cond = model(), Rollout(policy, num_steps=2), conditioning(2, 12)
    eps, found = noise(network, rollout, 0, 1), []
    for window, differentiable in ((3, False), (9, False), (9, True)):
        rolled = rollout(
            network,
            *(eps, cond),
            frames=12,
            window_frames=window,
            differentiable_past=differentiable,
        )
        found.append(gradients(network, loss_of(rolled.window[:, -3:])))
    assert_same_gradients(found[0], found[1], 1e-15)
    assert max(float((a - b).abs().max()) for a, b in zip(found[1], found[2], strict=True)) > 1e-3


def test_only_the_window_carries_gradient() -> None:
    network, rollout, cond = model(), Rollout(Full()), conditioning(1, 12)
    eps = noise(network, rollout, 0)
    for differentiable in (False, True):
        rolled = rollout(
            network,
            *(eps, cond),
            frames=12,
            window_frames=6,
            differentiable_past=differentiable,
        )
        assert rolled.past.shape[1] == rolled.window.shape[1] == 6
        assert rolled.window.requires_grad
        assert not rolled.past.requires_grad
        k = rolled.state.context.layers[0].k
        assert k.requires_grad is differentiable
    with torch.no_grad():
        quiet = rollout(network, eps, cond, frames=12, window_frames=6)
    assert not quiet.window.requires_grad
    assert torch.equal(quiet.window, rolled.window)


def test_blocks_of_the_window_leave_at_the_exit_step() -> None:
    """One call per step up to it, and one that commits; all steps before the window."""
    network, rollout, cond = model(), Rollout(Full()), conditioning(1, 9)
    seen: list[float] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(round(float(args[1][0, 0]), 4)))
    rollout(network, noise(network, rollout, 0), cond, frames=9, window_frames=6, exit_step=1)
    every_step = [1, 0.9375, 0.8333, 0.625, 0]
    assert seen == every_step + 2 * [1, 0.9375, 0]


@pytest.mark.parametrize("kind", [Rollout, Rolling])
@pytest.mark.parametrize("differentiable", [False, True])
def test_the_last_block_is_not_read_where_nobody_goes_on(
    kind: type[Rollout], differentiable: bool
) -> None:
    network, rollout, cond = model(), kind(Sliding(3, 12), num_steps=3), conditioning(1, 15)
    eps, calls, found = noise(network, rollout, 0), [], []
    network.register_forward_hook(lambda *_: calls.append(1))
    for goes_on in (True, False):
        sizes = {"frames": 12, "window_frames": 9, "exit_step": 1, "goes_on": goes_on}
        calls.clear()
        made = rollout(network, eps, cond, differentiable_past=differentiable, **sizes)
        found.append((made, len(calls), gradients(network, loss_of(made.window))))
    (whole, more, expected), (cut, fewer, given) = found
    assert more - fewer == 1
    assert torch.equal(whole.window, cut.window)
    assert torch.equal(whole.past, cut.past)
    assert all(torch.equal(a, b) for a, b in zip(expected, given, strict=True))
    assert (whole.state.context.start, cut.state.context.start) == (12, 9)


@pytest.mark.parametrize("policy", [Full(), Sliding(3, 6), Sliding(0, 9)], ids=repr)
@pytest.mark.parametrize("context_noise", [0.0, 0.25])
def test_given_frames_may_be_read_at_once(policy: Memory, context_noise: float) -> None:
    """What is remembered, what follows, and its gradient are those of a read block by block."""
    network, cond = model(), conditioning(2, 18, origin=True)
    rollout = Rollout(policy, num_steps=2, context_noise=context_noise)
    eps, given, calls, found = noise(network, rollout, 0, 1), latents(2, 12), [], []
    network.register_forward_hook(lambda *_: calls.append(1))
    for read in (rollout.remember, partial(read_at_once, rollout)):
        calls.clear()
        state = read(network, given, eps, cond)
        found.append([len(calls), state])
        made = rollout(network, eps, cond, frames=6, window_frames=6, state=state)
        found[-1] += [made.window, gradients(network, loss_of(made.window))]
    (many, expected, window, gradient), (once, state, same, slope) = found
    assert (many, once) == (4, 1)
    assert (state.context.frames, state.context.start) == (expected.context.frames, 12)
    for ours, theirs in zip(state.context.layers, expected.context.layers, strict=True):
        torch.testing.assert_close(ours[:3], theirs[:3], **EXACT)
    assert (state.recent is None) == (expected.recent is None)
    torch.testing.assert_close(same, window, **EXACT)
    assert_same_gradients(slope, gradient, 1e-9)


def test_what_no_mask_reads_is_read_block_by_block() -> None:
    network, cond = model(), conditioning(1, 12)
    for policy, frames in ((SlowFast(3, 3, 6), 9), (Full(), 7)):
        rollout = Rollout(policy, num_steps=2)
        eps = noise(network, rollout, 0)
        with torch.no_grad():
            expected = rollout.remember(network, latents(1, frames), eps, cond)
            state = read_at_once(rollout, network, latents(1, frames), eps, cond)
        assert torch.equal(state.context.layers[0].k, expected.context.layers[0].k)


@pytest.mark.parametrize("context_noise", [0.0, 0.25])
def test_the_commit_reads_the_block_at_context_noise(context_noise: float) -> None:
    network, cond = model(), conditioning(1, 3)
    rollout = Rollout(Full(), context_noise=context_noise)
    eps = noise(network, rollout, 0)
    with torch.no_grad():
        x0, state = next(rollout.stream(network, eps, cond))
        t = torch.full((1, 3), context_noise).double()
        read = (1 - context_noise) * x0 + context_noise * eps(0, 4)
        expected = network(read, t, cond).block.layers
    for mine, layer in zip(state.context.layers, expected, strict=True):
        torch.testing.assert_close(mine.k, layer.k, **EXACT)
        torch.testing.assert_close(mine.v, layer.v, **EXACT)


def test_euler_follows_the_velocity() -> None:
    network, cond = model(), conditioning(1, 3)
    rollout = Rollout(Full(), sampler="euler", timesteps=[1, 0.6, 0.2])
    eps = noise(network, rollout, 0)
    x = eps(0, 0).double()
    with torch.no_grad():
        for t, to in ((1.0, 0.6), (0.6, 0.2), (0.2, 0.0)):
            x = x + (to - t) * network(x, torch.full((1, 3), t, dtype=torch.float64), cond).velocity
        torch.testing.assert_close(blocks(rollout.stream(network, eps, cond), 1), x, **EXACT)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"frames": 10}, "frames=10 is not a multiple of block_frames=3"),
        ({"frames": -3}, "frames=-3"),
        ({"frames": 0}, "frames=0"),
        ({"frames": 9, "window_frames": 4}, "window_frames=4 is not a multiple"),
        ({"frames": 6, "window_frames": 9}, "window_frames=9 exceeds frames=6"),
        ({"frames": 6, "exit_step": 4}, "exit_step must lie in 0..3, got 4"),
        ({"frames": 6, "exit_step": -1}, "exit_step must lie in 0..3, got -1"),
    ],
)
def test_impossible_lengths_name_the_value(sizes: dict[str, int], message: str) -> None:
    network, rollout = model(), Rollout(Full())
    with pytest.raises(ValueError, match=message):
        rollout(network, noise(network, rollout, 0), conditioning(1, 12), **sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_frames": 0}, "block_frames=0 must be at least 1"),
        ({"context_noise": 1.0}, r"context_noise must lie in \[0, 1\), got 1.0"),
        ({"num_steps": 0}, "num_steps=0 must be at least 1"),
        ({"timesteps": [0.5, 0.8]}, r"timesteps must fall .* got \[0.5, 0.8\]"),
        ({"timesteps": [1.0, 0.0]}, "timesteps must fall"),
        ({"timesteps": [1.5]}, "timesteps must fall"),
        ({"timesteps": []}, "timesteps"),
        ({"block_frames": 10}, "window_frames=9 is smaller than a block of 10"),
    ],
)
def test_impossible_rollouts_name_the_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rollout(memory("sliding"), **options)


# Peak memory


class Live(TorchDispatchMode):
    """Counts the bytes of storages that are alive, those of a network's parameters included."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()
        for parameter in network.parameters():
            self._count(parameter)

    def _count(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self._count(x)
        return out


def peak_of_a_stream(policy: Memory, count: int) -> float:
    """Peak, less weights and the activations of a forward without a past, per byte of the past.

    The past is what the last block reads: keys, values and rotated keys, the latter two with room
    for its own.
    """
    sizes = {"dim": 48, "num_heads": 4, "num_layers": 16, "ffn_dim": 48}
    network = model(torch.float32, text_dim=None, control_dim=None, **sizes)
    rollout = Rollout(policy, num_steps=1)
    eps, t = noise(network, rollout, 0), torch.ones(1, 3)
    with Live(network) as alone:
        _ = network(eps(0, 0), t, Conditioning())
    held, state = [0.0], START
    with Live(network) as live:
        for _, state in itertools.islice(rollout.stream(network, eps, Conditioning()), count):
            layers = state.context.layers
            room = 2 * 3 * state.context.tokens_per_frame / layers[0].k.shape[1]
            held.append(sum((2 + room) * layer.k.nbytes + layer.v.nbytes for layer in layers))
            del state, layers
    return (live.peak - alone.peak) / held[-2]


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(Full(), id="full", marks=pytest.mark.exhaustive),
        pytest.param(Sliding(3, 24), id="sliding"),
        pytest.param(Sliding(3, 24, "relative"), id="relative", marks=pytest.mark.exhaustive),
        pytest.param(SlowFast(3, 9, 18, interval=1), id="slow_fast"),
    ],
)
@pytest.mark.whole
def test_peak_memory_is_keys_values_and_rotated_keys(policy: Memory) -> None:
    """Old and new context never exist at once; where they do, as under no_grad, it shows.

    What is left above 1 is mostly one layer's keys and values beside the block's own: one of 16
    layers here, of 30 in production.
    """
    with torch.inference_mode():
        assert peak_of_a_stream(policy, 15) < 1.1
    with torch.no_grad():
        assert peak_of_a_stream(policy, 15) > 1.2


# Golden


def test_golden_rollouts() -> None:
    expected, found = load_file(make_golden.GOLDEN), make_golden.rollouts()
    assert set(found) == set(expected)
    for name, video in found.items():
        torch.testing.assert_close(video, expected[name], atol=1e-5, rtol=1e-5)
        others = [x for other, x in expected.items() if other != name]
        assert all((video - other).abs().max() > 0.1 for other in others)


def test_golden_is_small() -> None:
    assert make_golden.GOLDEN.stat().st_size <= 50_000


def test_random_exits_are_shared_and_even() -> None:
    drawn = [Rollout(Full(), num_steps=4).random_exit(0, step) for step in range(400)]
    assert drawn == [Rollout(Full(), num_steps=4).random_exit(0, step) for step in range(400)]
    counts = [drawn.count(step) for step in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 70
