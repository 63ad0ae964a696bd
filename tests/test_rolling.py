"""Rolling Forcing's window of staggered noise levels: against its released loop, as a stream."""

import itertools
from typing import Any

import pytest
import torch
from tiny import conditioning, latents, model, one
from torch import Tensor

from cf.memory.anchor import Anchor
from cf.memory.base import Memory
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.base import Prepared
from cf.models.transformer import VideoTransformer
from cf.rollout.rolling import Rolling
from cf.rollout.state import Noise, RolloutState
from cf.types import Conditioning, Latents, LayerKV, Past

EXACT: dict[str, Any] = {"atol": 1e-9, "rtol": 0}
TIMES = [5 * t / (1 + 4 * t) for t in (1.0, 0.8, 0.6, 0.4, 0.2)]


def peer(
    network: VideoTransformer, eps: Noise, cond: Conditioning, count: int, size: int
) -> Tensor:
    """A video of `count` blocks, window after window, as released.

    Args:
        size: frames attended; the cache holds a block more.
    """
    times, steps = TIMES, len(TIMES)
    clean: list[tuple[LayerKV, ...]] = []
    noisy: dict[int, Tensor] = {}
    video: dict[int, Tensor] = {}

    def prepared(part: Conditioning, places: list[tuple[int, int]], start: int) -> Prepared:
        """Blocks, and the frames at which they stand."""
        layers = []
        for layer in range(2 if places else 0):
            held = [clean[block][layer] for block, _ in places]
            k, v = (torch.cat([x[i] for x in held], 1) for i in (0, 1))
            shift = [torch.tensor([at, 0, 0]) for _, at in places]
            ids = torch.cat([x.ids + by for x, by in zip(held, shift, strict=True)], 1)
            layers.append(LayerKV(k, v, ids))
        return network.prepare(Past(tuple(layers), float(start)), part)

    for window in range(count + steps - 1):
        first, last = max(0, window - steps + 1), min(count - 1, window)
        inside, start = range(first, last + 1), 3 * first
        if window < count:
            noisy[window] = eps(3 * window, 0).double()
        x = torch.cat([noisy[block] for block in inside], 1)
        step = [window - block for block in inside]
        t = (
            torch.tensor([[times[s] for s in step]], dtype=torch.float64)
            .repeat_interleave(3, 1)
            .expand(2, -1)
        )
        room = (size - 3 * len(inside) - 3) // 3
        between = list(range(max(1, first - room), first))
        anchor = [(0, start - 3 * len(between) - 3)] if first > 0 else []
        part = cond.frames(start, start + 3 * len(inside))
        read = prepared(part, anchor + [(block, 3 * block) for block in between], start)
        x0 = x - t[..., None, None, None] * network(x, t, part, read).velocity
        for i, block in enumerate(inside):
            video[block] = x0[:, 3 * i : 3 * i + 3]
            if step[i] + 1 < steps:
                to = times[step[i] + 1]
                noisy[block] = (1 - to) * video[block] + to * eps(3 * block, step[i] + 1).double()
        part = cond.frames(start, start + 3)
        seen = list(range(max(0, first + 1 - size // 3), first))
        read = prepared(part, [(block, 3 * block) for block in seen], start)
        block = network(video[first], torch.zeros(2, 3).double(), part, read).block
        clean[first:] = [block.layers]
    return torch.cat([video[block] for block in range(count)], 1)


def setting(
    policy: Memory, frames: int | None = 36, **options: Any
) -> tuple[Any, Rolling, Any, Noise]:
    network = model(**({} if frames else {"control_dim": None}))
    rollout = Rolling(policy, **options)
    return network, rollout, conditioning(2, frames), rollout.noise(network, 0, (0, 1))


def blocks(stream: Any, count: int) -> Latents:
    return torch.cat([x0 for x0, _ in itertools.islice(stream, count)], 1)


def test_the_released_loop() -> None:
    network, rollout, cond, eps = setting(Anchor(as_released=True), timesteps=TIMES)
    with torch.no_grad():
        found = rollout(network, eps, cond, frames=36).past
        expected = peer(network, eps, cond, 12, 21)
        other = setting(Anchor(), timesteps=TIMES)[1](network, eps, cond, frames=36).past
    torch.testing.assert_close(found, expected, **EXACT)
    assert (other - expected)[:, 24:].abs().max() > 1e-3, "the anchor that commits have lost"
    torch.testing.assert_close(other[:, :21], expected[:, :21], **EXACT)


def test_a_stream_ends_as_a_video_does_where_its_conditioning_ends() -> None:
    network, rollout, cond, eps = setting(Anchor())
    with torch.no_grad():
        stream = rollout.stream(network, eps, cond)
        made = blocks(stream, 12)
        assert torch.equal(made, rollout(network, eps, cond, frames=36).past)
        with pytest.raises(ValueError, match="control covers 36 latent frames but frame 38"):
            next(stream)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(
    "mode", [pytest.param(torch.no_grad, marks=pytest.mark.exhaustive), torch.inference_mode]
)
@pytest.mark.parametrize("policy", [Anchor(3, 18), Sliding(1, 20, "relative"), Full()])
def test_a_stream_cut_and_resumed_is_one_stream(policy: Memory, mode: Any, frames: int) -> None:
    """The state holds the unfinished window; a batch is its samples; noise does not run out."""
    network, rollout, cond, eps = setting(policy, None, num_steps=3, block_frames=frames)
    with mode():
        whole = blocks(rollout.stream(network, eps, cond), 9)
        for cut in (1, 4):
            running = rollout.stream(network, eps, cond)
            before = [next(running) for _ in range(cut)]
            fork = before[-1][1].fork()
            assert fork.window is not None
            assert fork.window.shape[1] == 2 * frames
            for stream in (rollout.stream(network, eps, cond, fork), running):
                after = blocks(stream, 9 - cut)
                assert torch.equal(torch.cat([x0 for x0, _ in before] + [after], 1), whole)
        single = rollout.noise(network, 0, (1,))
        alone = blocks(rollout.stream(network, single, one(cond, 1)), 9)
    torch.testing.assert_close(alone, whole[1:], **EXACT)


def test_two_network_calls_for_each_block() -> None:
    network, rollout, cond, eps = setting(Anchor(), None)
    calls: list[int] = []
    network.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape[1]))
    with torch.no_grad():
        blocks(rollout.stream(network, eps, cond), 4)
    assert calls == [3, 6, 9, 12, 15, 3] + [15, 3] * 3


def test_a_given_video_is_read_before_the_window_fills() -> None:
    network, rollout, cond, eps = setting(Anchor(), None)
    with torch.no_grad():
        state = rollout.remember(network, latents(2, 7), eps, cond)
        x0, after = next(rollout.stream(network, eps, cond, state))
        other, _ = next(rollout.stream(network, eps, cond, RolloutState()))
    assert after.context.start == 10
    assert after.window is not None
    assert (x0 - other).abs().max() > 1e-3
    assert after.recent is not None
    assert torch.equal(after.recent[:, -3:], x0)


@pytest.mark.parametrize("exit_step", [None, 0, 2])
def test_training_windows_cover_the_video_once(exit_step: int | None) -> None:
    """Every num_steps-th pass is scored: blocks leave at staggered steps, with gradient."""
    network, rollout, cond, eps = setting(Anchor(3, 18), num_steps=3)
    calls: list[Tensor] = []
    network.register_forward_hook(lambda _, inputs, out: calls.append(out.velocity))
    rolled = rollout(network, eps, cond, frames=18, window_frames=9, exit_step=exit_step)
    assert rolled.past.shape[1] == rolled.window.shape[1] == 9
    assert not rolled.past.requires_grad
    assert rolled.window.requires_grad
    with torch.no_grad():
        plain = rollout(network, eps, cond, frames=18).past
    torch.testing.assert_close(rolled.past, plain[:, :9], **EXACT)
    if exit_step is None:
        torch.testing.assert_close(rolled.window.detach(), plain[:, 9:], **EXACT)
        assert float(rolled.exit_t) == pytest.approx(rollout.times[-1])
    else:
        # Blocks 3, 4, 5 leave in the first pass from theirs on whose number fits.
        steps = [(exit_step - block) % 3 for block in (3, 4, 5)]
        assert float(rolled.exit_t) == pytest.approx(sum(rollout.times[s] for s in steps) / 3)
        same = [
            torch.allclose(
                rolled.window[:, 3 * i : 3 * i + 3], plain[:, 9 + 3 * i : 12 + 3 * i], atol=1e-9
            )
            for i in range(3)
        ]
        assert same == [step == 2 for step in steps]
    grads = torch.autograd.grad((rolled.window * latents(2, 9)).sum(), list(network.parameters()))
    assert all(bool(grad.isfinite().all()) for grad in grads)
    assert max(float(grad.abs().max()) for grad in grads) > 1e-3


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        (Sliding(3, 9), {}, "window_frames=9 is smaller than a block of 15"),
        (Full(), {"sampler": "euler"}, "sampler='euler'"),
    ],
)
def test_impossible_windows_name_the_value(policy: Memory, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rolling(policy, **options)
